//! A network namespace and what is plugged into it.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::{Result, Trouble, ip, output};
use super::ledger::Ledger;

/// A namespace; it goes away with this value.
pub struct Namespace {
    /// The name `ip netns` knows.
    pub name: String,
}

impl Namespace {
    /// Makes a namespace that answers no more ARP than a router should and takes packets whichever way they come.
    ///
    /// # Errors
    /// When the kernel refuses, for example for want of root.
    pub fn new(ledger: &Ledger, role: &str) -> Result<Namespace> {
        let name = format!("{}-{role}", ledger.prefix);
        ledger.namespace(&name)?;
        ip(&format!("netns add {name}"))?;
        let namespace = Namespace { name };
        for (key, value) in [
            ("net.ipv4.conf.all.rp_filter", 0),
            ("net.ipv4.conf.default.rp_filter", 0),
            ("net.ipv4.conf.all.arp_ignore", 1),
            ("net.ipv4.conf.all.arp_announce", 2),
            ("net.ipv6.conf.all.accept_dad", 0),
            ("net.ipv6.conf.default.accept_dad", 0),
        ] {
            namespace.sysctl(key, value)?;
        }
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `ip` on this namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn ip(&self, words: &str) -> Result<()> {
        ip(&format!("-n {} {words}", self.name))
    }

    /// Adds an address such as `10.2.0.1/24` to an interface, usable at once.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn address(&self, address: &str, interface: &str) -> Result<()> {
        let usable = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface} {usable}"))
    }

    /// A command that will run in here.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Does something in here, on a thread of its own. Sockets that are opened so stay in here wherever they are used.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or what was done fails.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let place = File::open(format!("/run/netns/{}", self.name))?;
        let enter = || {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(std::io::Error::from)?;
            what()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|_| Err(Trouble("a thread in a namespace panicked".to_owned())))
    }

    /// Sets a sysctl.
    ///
    /// # Errors
    /// When the kernel has no such setting or refuses the value.
    pub fn sysctl(&self, key: &str, value: i32) -> Result<()> {
        output(self.command("sysctl").args(["-qw", &format!("{key}={value}")])).map(|_| ())
    }

    /// Lays a cable to another namespace, without offloads: packets leave with their checksums complete.
    ///
    /// # Errors
    /// When `ip` or `ethtool` fails.
    pub fn cable(&self, here: &str, other: &Namespace, there: &str) -> Result<()> {
        self.ip(&format!("link add {here} type veth peer name {there} netns {}", other.name))?;
        for (end, interface) in [(self, here), (other, there)] {
            let off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"];
            output(end.command("ethtool").args(["-K", interface]).args(off))?;
            end.ip(&format!("link set {interface} up"))?;
        }
        Ok(())
    }

    /// Lays a cable whose end here is a DPDK port: this kernel must not answer what the daemon handles.
    ///
    /// # Errors
    /// When a command fails.
    pub fn port(&self, here: &str, other: &Namespace, there: &str) -> Result<()> {
        self.cable(here, other, there)?;
        self.close(here)
    }

    /// Keeps this kernel from what comes in by an interface.
    pub(super) fn close(&self, here: &str) -> Result<()> {
        self.sysctl(&format!("net.ipv6.conf.{here}.disable_ipv6"), 1)?;
        // No route leads back through this interface, so a strict filter drops all its IPv4 packets.
        self.sysctl(&format!("net.ipv4.conf.{here}.rp_filter"), 1)?;
        self.ip(&format!("link set {here} arp off"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What cannot be removed now is still in the ledger.
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

//! A network namespace and its links.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::command::{Error, Result, ip, output};
use super::resources::Resources;

/// A namespace; it is removed when this is dropped.
pub struct Namespace {
    /// Its name for `ip netns`.
    pub name: String,
    offloads: bool,
}

impl Namespace {
    /// Creates a namespace that answers ARP as a router should and accepts packets from any interface.
    ///
    /// # Errors
    /// If a command fails, for example without root.
    pub fn new(resources: &Resources, role: &str) -> Result<Namespace> {
        let name = format!("{}-{role}", resources.prefix);
        resources.namespace(&name)?;
        ip(&format!("netns add {name}"))?;
        let namespace = Namespace { name, offloads: resources.offloads };
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
    /// If it fails.
    pub fn ip(&self, words: &str) -> Result<()> {
        ip(&format!("-n {} {words}", self.name))
    }

    /// Adds an address such as `10.2.0.1/24` to an interface, without duplicate address detection.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn address(&self, address: &str, interface: &str) -> Result<()> {
        let usable = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("address add {address} dev {interface} {usable}"))
    }

    /// Returns a command that runs in this namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs a closure in this namespace, on a thread of its own. Sockets opened there belong to the namespace wherever they are used.
    ///
    /// # Errors
    /// If the namespace cannot be entered, or the closure fails.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let place = File::open(format!("/run/netns/{}", self.name))?;
        let enter = || {
            move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(std::io::Error::from)?;
            what()
        };
        std::thread::scope(|scope| scope.spawn(enter).join())
            .unwrap_or_else(|_| Err(Error("a thread in a namespace panicked".to_owned())))
    }

    /// Sets a sysctl.
    ///
    /// # Errors
    /// If the kernel has no such setting or rejects the value.
    pub fn sysctl(&self, key: &str, value: i32) -> Result<()> {
        output(self.command("sysctl").args(["-qw", &format!("{key}={value}")])).map(|_| ())
    }

    /// Connects it to another namespace by a veth pair, without offloads unless the network has them, so that packets leave
    /// with complete checksums. Veths have all offloads by default, except GRO, which NICs have.
    ///
    /// # Errors
    /// If `ip` or `ethtool` fails.
    pub fn connect(&self, here: &str, other: &Namespace, there: &str) -> Result<()> {
        self.ip(&format!("link add {here} type veth peer name {there} netns {}", other.name))?;
        for (end, interface) in [(self, here), (other, there)] {
            if self.offloads {
                output(end.command("ethtool").args(["-K", interface, "gro", "on"]))?;
            } else {
                end.switch_offloads_off(interface)?;
            }
            end.ip(&format!("link set {interface} up"))?;
        }
        Ok(())
    }

    pub(super) fn switch_offloads_off(&self, interface: &str) -> Result<()> {
        let off = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"];
        output(self.command("ethtool").args(["-K", interface]).args(off)).map(|_| ())
    }

    /// Connects it to another namespace by a veth pair whose end here is a DPDK port: this kernel must not process its packets,
    /// unless `polluxd` takes care of that.
    ///
    /// # Errors
    /// If a command fails.
    pub fn port(&self, here: &str, other: &Namespace, there: &str) -> Result<()> {
        self.connect(here, other, there)?;
        if self.offloads { Ok(()) } else { self.isolate(here) }
    }

    /// Stops this kernel from processing packets of an interface.
    pub(super) fn isolate(&self, here: &str) -> Result<()> {
        self.sysctl(&format!("net.ipv6.conf.{here}.disable_ipv6"), 1)?;
        // No route leads back through this interface, so a strict filter drops all its IPv4 packets.
        self.sysctl(&format!("net.ipv4.conf.{here}.rp_filter"), 1)?;
        self.ip(&format!("link set {here} arp off"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // If this fails, the namespace is still listed for `clean`.
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

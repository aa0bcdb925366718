//! A small test network in namespaces: a client, a balancer, a switch and real servers.
//!
//! ```text
//! client 10.1.0.1 ---- fore [balancer] back ---- switch ---- web1 10.2.0.11, web2 10.2.0.12, ...
//!        10.2.0.1 -------------------------------'
//! ```
//! Replies of NAT services return through the balancer, those of DR and tunnel services go directly to the client.
//! IPv6 addresses are in `fd00:1::` and `fd00:2::`, with the same last number.

pub mod capture;
pub mod client;
pub mod command;
pub mod daemon;
pub mod guest;
pub mod metal;
pub mod namespace;
pub mod process;
pub mod raw;
pub mod resources;
pub mod rules;
pub mod sctp;
pub mod server;
pub mod vlan;
pub mod wait;

use std::path::Path;
use std::process::Command;

use client::Client;
use command::Result;
use daemon::{Daemon, Device};
use guest::{Guest, Model};
use namespace::Namespace;
use process::Process;
use resources::Resources;
use server::Server;
use vlan::Vlan;

/// The balancer's interfaces.
const PORTS: [&str; 2] = ["fore", "back"];
/// Names for the interfaces of a second test network.
const OTHER_PORTS: [&str; 2] = ["fore2", "back2"];

/// The test network; dropping it removes everything in it.
pub struct Bed {
    /// Sends requests.
    pub client: Client,
    /// Real servers.
    pub servers: Vec<Server>,
    /// The namespace in which `polluxd` runs.
    pub balancer: Namespace,
    switch: Namespace,
    resources: Resources,
}

impl Bed {
    /// Builds the network with servers `web1` to `webN`.
    ///
    /// # Errors
    /// If a command fails, for example without root; everything built so far is removed.
    pub fn new(servers: usize) -> Result<Bed> {
        Bed::build(servers, Resources::open()?)
    }

    /// As [`Bed::new`], with the default offloads of all interfaces: unfinished checksums, merged frames.
    ///
    /// # Errors
    /// As [`Bed::new`].
    pub fn with_offloads(servers: usize) -> Result<Bed> {
        let mut resources = Resources::open()?;
        resources.offloads = true;
        Bed::build(servers, resources)
    }

    /// Makes the peers of the balancer's interfaces send complete checksums, and no merged frames.
    ///
    /// # Errors
    /// If `ethtool` fails.
    pub fn finish_checksums(&self) -> Result<()> {
        self.client.namespace.switch_offloads_off("net0")?;
        self.switch.switch_offloads_off("balancer")
    }

    fn build(servers: usize, resources: Resources) -> Result<Bed> {
        let switch = Namespace::new(&resources, "switch")?;
        switch.ip("link add br0 up type bridge stp_state 0 forward_delay 0")?;
        let balancer = Namespace::new(&resources, "balancer")?;
        balancer.port("back", &switch, "balancer")?;
        switch.ip("link set balancer up master br0")?;
        let client = Client::new(&resources, &balancer, &switch)?;
        let servers =
            (1..=servers).map(|number| Server::new(&resources, &switch, number)).collect::<Result<_>>()?;
        for vip in rules::VIPS {
            balancer.address(vip, "lo")?;
        }
        Ok(Bed { client, servers, balancer, switch, resources })
    }

    /// Starts `polluxd` with this configuration and assigns addresses to its TAP twins.
    ///
    /// # Errors
    /// If it is not built or does not become ready; the message contains its log.
    pub fn daemon(&self, config: &str, workers: usize) -> Result<Daemon> {
        self.daemon_with(config, workers, &[])
    }

    /// As [`Bed::daemon`], with more options of `polluxd`.
    ///
    /// # Errors
    /// As [`Bed::daemon`].
    pub fn daemon_with(&self, config: &str, workers: usize, options: &[&str]) -> Result<Daemon> {
        Daemon::start(&self.resources, &self.balancer, config, (workers, options), (Device::Packet, &PORTS))
    }

    /// As [`Bed::daemon_with`], with `--interface` in this mode.
    ///
    /// # Errors
    /// As [`Bed::daemon`].
    pub fn daemon_on_interfaces(
        &self,
        mode: &'static str,
        config: &str,
        (workers, options): (usize, &[&str]),
    ) -> Result<Daemon> {
        let device = Device::Interface(mode);
        Daemon::start(&self.resources, &self.balancer, config, (workers, options), (device, &PORTS))
    }

    /// As [`Bed::daemon`], with one worker on TAPs that are bridged to the interfaces.
    ///
    /// # Errors
    /// As [`Bed::daemon`], and if the bridges cannot be created; a second daemon on TAPs needs a new network.
    pub fn daemon_on_taps(&self, config: &str, options: &[&str]) -> Result<Daemon> {
        let daemon =
            Daemon::start(&self.resources, &self.balancer, config, (1, options), (Device::Tap, &PORTS))?;
        self.bridge_taps()?;
        Ok(daemon)
    }

    /// Bridges the interfaces to their TAPs.
    fn bridge_taps(&self) -> Result<()> {
        for (port, number) in PORTS.iter().zip(1..) {
            let (bridge, tap) = (format!("{port}-br"), daemon::tap(port));
            self.balancer.ip(&format!("link add {bridge} type bridge stp_state 0 forward_delay 0"))?;
            self.balancer.isolate(&bridge)?;
            // The bridge must not consume frames to the port's address.
            self.balancer.ip(&format!("link set {tap} address 02:00:00:00:99:0{number}"))?;
            for member in [*port, &tap] {
                self.balancer.ip(&format!("link set {member} up master {bridge}"))?;
            }
            self.balancer.ip(&format!("link set {bridge} up"))?;
        }
        Ok(())
    }

    /// Boots a guest on TAPs that are bridged to the interfaces. `packages` is the root directory of its packages.
    ///
    /// # Errors
    /// If it does not boot; the message contains its console.
    pub fn guest(&self, model: Model, packages: &Path) -> Result<Guest> {
        let queues = if model.multi_queue() { "multi_queue" } else { "" };
        let taps = PORTS.map(daemon::tap);
        for tap in &taps {
            self.balancer.ip(&format!("tuntap add dev {tap} mode tap {queues}"))?;
        }
        self.bridge_taps()?;
        Guest::boot(&self.resources, &self.balancer, model, packages, taps.each_ref().map(String::as_str))
    }

    /// Sets the MTU of all interfaces between the client and the servers, in a network with TAPs.
    ///
    /// # Errors
    /// If an interface cannot have it.
    pub fn set_mtu(&self, mtu: u16) -> Result<()> {
        let taps = PORTS.map(daemon::tap);
        let ours =
            PORTS.into_iter().chain(taps.iter().map(String::as_str)).map(|name| (&self.balancer, name));
        let clients = ["net0", "net1"].map(|name| (&self.client.namespace, name));
        let servers = self
            .servers
            .iter()
            .flat_map(|server| [(&server.namespace, "eth0"), (&self.switch, server.name.as_str())]);
        let switch = ["client", "balancer"].map(|name| (&self.switch, name));
        let mut all = ours.chain(clients).chain(servers).chain(switch);
        all.try_for_each(|(namespace, name)| namespace.ip(&format!("link set {name} mtu {mtu}")))
    }

    /// Adds an interface `vlanID` to a server, whose frames have this tag at the switch.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn vlan(&self, server: &Server, id: u16) -> Result<Vlan> {
        Vlan::new(&self.switch, &server.namespace, id)
    }

    /// As [`Bed::daemon`], on the interfaces of two networks. Those of the other network are moved to this balancer and come
    /// last.
    ///
    /// # Errors
    /// As [`Bed::daemon`], and if an interface cannot be moved.
    pub fn daemon_on_both(&self, other: &Bed, config: &str, workers: usize) -> Result<Daemon> {
        for (port, name) in PORTS.iter().zip(OTHER_PORTS) {
            other.balancer.ip(&format!("link set {port} netns {} name {name}", self.balancer.name))?;
            self.balancer.isolate(name)?;
            self.balancer.ip(&format!("link set {name} up"))?;
        }
        let ports = [PORTS[0], PORTS[1], OTHER_PORTS[0], OTHER_PORTS[1]];
        Daemon::start(&self.resources, &self.balancer, config, (workers, &[]), (Device::Packet, &ports))
    }

    /// Starts a program in the background; its output goes to a log of this network.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn process(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::start(&self.resources, name, command)
    }

    /// Disconnects a server, as if its cable were unplugged.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn unplug(&self, server: &Server) -> Result<()> {
        self.switch.ip(&format!("link set {} down", server.name))
    }

    /// Returns the directory of this network's files.
    pub fn directory(&self) -> &Path {
        self.resources.directory()
    }

    /// Leaves everything running; [`resources::clean`] removes it later.
    pub fn keep(self, daemon: Daemon) {
        std::mem::forget((self, daemon));
    }
}

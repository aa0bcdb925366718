//! A small world in network namespaces: a client, a balancer, a switch and real servers.
//!
//! ```text
//! client 10.1.0.1 ---- fore [balancer] back ---- switch ---- web1 10.2.0.11, web2 10.2.0.12, ...
//!        10.2.0.1 -------------------------------'
//! ```
//! Replies of NAT services go back through the balancer, those of DR and tunnel services straight to the client.
//! IPv6 addresses are `fd00:1::` and `fd00:2::` with the same last number.

pub mod client;
pub mod command;
pub mod daemon;
pub mod ledger;
pub mod namespace;
pub mod process;
pub mod raw;
pub mod rules;
pub mod sctp;
pub mod server;
pub mod wait;
pub mod witness;

use std::path::Path;
use std::process::Command;

use client::Client;
use command::Result;
use daemon::{Daemon, Device};
use ledger::Ledger;
use namespace::Namespace;
use process::Process;
use server::Server;

/// The balancer's interfaces.
const PORTS: [&str; 2] = ["fore", "back"];
/// Those of another world beside them.
const OTHER_PORTS: [&str; 2] = ["fore2", "back2"];

/// The world; everything in it goes away when it is dropped.
pub struct Bed {
    /// Who sends requests.
    pub client: Client,
    /// Who answers them.
    pub servers: Vec<Server>,
    /// Where `polluxd` runs.
    pub balancer: Namespace,
    switch: Namespace,
    ledger: Ledger,
}

impl Bed {
    /// Builds the world with servers `web1` to `webN`.
    ///
    /// # Errors
    /// When a command fails, for example for want of root; what was built until then is taken down again.
    pub fn new(servers: usize) -> Result<Bed> {
        let ledger = Ledger::open()?;
        let switch = Namespace::new(&ledger, "switch")?;
        switch.ip("link add br0 up type bridge stp_state 0 forward_delay 0")?;
        let balancer = Namespace::new(&ledger, "balancer")?;
        balancer.port("back", &switch, "balancer")?;
        switch.ip("link set balancer up master br0")?;
        let client = Client::new(&ledger, &balancer, &switch)?;
        let servers =
            (1..=servers).map(|number| Server::new(&ledger, &switch, number)).collect::<Result<_>>()?;
        for vip in rules::VIPS {
            balancer.address(vip, "lo")?;
        }
        Ok(Bed { client, servers, balancer, switch, ledger })
    }

    /// Starts `polluxd` with this configuration and gives its twins their addresses.
    ///
    /// # Errors
    /// When it is not built or does not become ready; its log is part of the message.
    pub fn daemon(&self, config: &str, workers: usize) -> Result<Daemon> {
        self.daemon_with(config, workers, &[])
    }

    /// The same, with more options of `polluxd`.
    ///
    /// # Errors
    /// As [`Bed::daemon`].
    pub fn daemon_with(&self, config: &str, workers: usize, options: &[&str]) -> Result<Daemon> {
        Daemon::start(&self.ledger, &self.balancer, config, (workers, options), (Device::Packet, &PORTS))
    }

    /// The same with one worker on TAPs, which are bridged to the ports.
    ///
    /// # Errors
    /// As [`Bed::daemon`], and when the bridges cannot be made; a second daemon on TAPs needs a new world.
    pub fn daemon_on_taps(&self, config: &str, options: &[&str]) -> Result<Daemon> {
        let daemon =
            Daemon::start(&self.ledger, &self.balancer, config, (1, options), (Device::Tap, &PORTS))?;
        for (port, number) in PORTS.iter().zip(1..) {
            let (bridge, tap) = (format!("{port}-br"), daemon::tap(port));
            self.balancer.ip(&format!("link add {bridge} type bridge stp_state 0 forward_delay 0"))?;
            self.balancer.close(&bridge)?;
            // What is for the port's address must not be the bridge's own.
            self.balancer.ip(&format!("link set {tap} address 02:00:00:00:99:0{number}"))?;
            for member in [*port, &tap] {
                self.balancer.ip(&format!("link set {member} up master {bridge}"))?;
            }
            self.balancer.ip(&format!("link set {bridge} up"))?;
        }
        Ok(daemon)
    }

    /// The same on the ports of two worlds: those of the other, whose balancer's namespace then has none, come after
    /// ours.
    ///
    /// # Errors
    /// As [`Bed::daemon`], and when a port cannot be moved.
    pub fn daemon_of_both(&self, other: &Bed, config: &str, workers: usize) -> Result<Daemon> {
        for (port, name) in PORTS.iter().zip(OTHER_PORTS) {
            other.balancer.ip(&format!("link set {port} netns {} name {name}", self.balancer.name))?;
            self.balancer.close(name)?;
            self.balancer.ip(&format!("link set {name} up"))?;
        }
        let ports = [PORTS[0], PORTS[1], OTHER_PORTS[0], OTHER_PORTS[1]];
        Daemon::start(&self.ledger, &self.balancer, config, (workers, &[]), (Device::Packet, &ports))
    }

    /// Starts a program beside us; its output goes to a log of this world.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn process(&self, name: &str, command: &mut Command) -> Result<Process> {
        Process::start(&self.ledger, name, command)
    }

    /// Cuts a server off, as if its cable was pulled.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn unplug(&self, server: &Server) -> Result<()> {
        self.switch.ip(&format!("link set {} down", server.name))
    }

    /// Where the files of this world are.
    pub fn directory(&self) -> &Path {
        self.ledger.directory()
    }

    /// Leaves everything running; [`ledger::clean`] takes it down later.
    pub fn keep(self, daemon: Daemon) {
        std::mem::forget((self, daemon));
    }
}

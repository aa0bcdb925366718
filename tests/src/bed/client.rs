//! Who sends requests: real `curl` and `ping` in a namespace of their own.

use std::process::Command;

use super::command::{Result, output};
use super::ledger::Ledger;
use super::namespace::Namespace;

/// A client with two legs: one to the balancer, one to the servers' network, by which DR and tunnel replies come.
pub struct Client {
    /// Where it lives.
    pub namespace: Namespace,
}

impl Client {
    pub(super) fn new(ledger: &Ledger, balancer: &Namespace, switch: &Namespace) -> Result<Client> {
        let namespace = Namespace::new(ledger, "client")?;
        balancer.port("fore", &namespace, "leg0")?;
        namespace.cable("leg1", switch, "client")?;
        switch.ip("link set client up master br0")?;
        // The second address of a leg is for services whose replies do not pass the balancer.
        for address in ["10.1.0.2/24", "10.1.0.1/24", "fd00:1::2/64", "fd00:1::1/64"] {
            namespace.address(address, "leg0")?;
        }
        namespace.address("10.2.0.1/24", "leg1")?;
        namespace.address("fd00:2::1/64", "leg1")?;
        for last in 1..=4 {
            let source = if last == 1 { 1 } else { 2 };
            namespace.ip(&format!("route add 10.9.9.{last} via 10.1.0.254 src 10.1.0.{source}"))?;
            namespace.ip(&format!("-6 route add fd00:9::{last} via fd00:1::254 src fd00:1::{source}"))?;
        }
        Ok(Client { namespace })
    }

    /// `curl` as all requests use it: no proxy, and an answer within seconds.
    pub fn curl(&self) -> Command {
        let mut curl = self.namespace.command("curl");
        curl.args(["--noproxy", "*", "--silent", "--show-error", "--fail", "--globoff", "--max-time", "10"]);
        curl
    }

    /// Fetches a page, over a new connection.
    ///
    /// # Errors
    /// When there is no good answer in time.
    pub fn get(&self, url: &str) -> Result<String> {
        Ok(output(self.curl().arg(url))?.trim().to_owned())
    }

    /// Sends one ping.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn ping(&self, address: &str) -> Result<()> {
        output(self.namespace.command("ping").args(["-c", "1", "-W", "3", address])).map(|_| ())
    }
}

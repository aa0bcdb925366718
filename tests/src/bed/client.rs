//! The client: real `curl` and `ping` in a namespace.

use std::process::{Child, Command};

use super::command::{Result, output};
use super::namespace::Namespace;
use super::resources::Resources;

/// A client with two interfaces: one to the balancer, one to the servers' network for DR and tunnel replies.
pub struct Client {
    /// Its namespace.
    pub namespace: Namespace,
}

impl Client {
    pub(super) fn new(resources: &Resources, balancer: &Namespace, switch: &Namespace) -> Result<Client> {
        let namespace = Namespace::new(resources, "client")?;
        balancer.port("fore", &namespace, "net0")?;
        namespace.connect("net1", switch, "client")?;
        switch.ip("link set client up master br0")?;
        // The second address of an interface is for services whose replies bypass the balancer.
        for address in ["10.1.0.2/24", "10.1.0.1/24", "fd00:1::2/64", "fd00:1::1/64"] {
            namespace.address(address, "net0")?;
        }
        namespace.address("10.2.0.1/24", "net1")?;
        namespace.address("fd00:2::1/64", "net1")?;
        for last in 1..=4 {
            let source = if last == 1 { 1 } else { 2 };
            namespace.ip(&format!("route add 10.9.9.{last} via 10.1.0.254 src 10.1.0.{source}"))?;
            namespace.ip(&format!("-6 route add fd00:9::{last} via fd00:1::254 src fd00:1::{source}"))?;
        }
        Ok(Client { namespace })
    }

    /// Starts a download of the big file of this service that takes a few seconds.
    ///
    /// # Errors
    /// If `curl` cannot be started.
    pub fn slow_download(&self, url: &str) -> Result<Child> {
        let mut curl = self.curl();
        curl.args(["--limit-rate", "3M", "--output", "/dev/null"]).arg(format!("{url}big"));
        Ok(curl.spawn()?)
    }

    /// Returns a `curl` command with the common options: no proxy, a time limit.
    pub fn curl(&self) -> Command {
        let mut curl = self.namespace.command("curl");
        curl.args(["--noproxy", "*", "--silent", "--show-error", "--fail", "--globoff", "--max-time", "10"]);
        curl
    }

    /// Fetches a page over a new connection.
    ///
    /// # Errors
    /// If there is no successful response in time.
    pub fn get(&self, url: &str) -> Result<String> {
        Ok(output(self.curl().arg(url))?.trim().to_owned())
    }

    /// Sends one ping.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn ping(&self, address: &str) -> Result<()> {
        output(self.namespace.command("ping").args(["-c", "1", "-W", "3", address])).map(|_| ())
    }
}

//! Virtual addresses of the test network, and configurations for them.

use std::fmt::Write;

/// All virtual addresses, assigned to the balancer's loopback so that it replies to pings: for NAT, DR, tunnels, and tunnels
/// of the other address family.
pub const VIPS: [&str; 8] = [
    "10.9.9.1/32",
    "10.9.9.2/32",
    "10.9.9.3/32",
    "10.9.9.4/32",
    "fd00:9::1/128",
    "fd00:9::2/128",
    "fd00:9::3/128",
    "fd00:9::4/128",
];

/// A virtual service of the test network.
#[derive(Clone, Copy)]
pub struct Rule {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The virtual address.
    pub vip: &'static str,
    /// L4 port of the service and of the servers.
    pub l4_port: u16,
    /// `nat`, `dr` or `tunnel`.
    pub method: &'static str,
    /// Prefix of the servers' addresses.
    pub network: &'static str,
}

const V4: &str = "10.2.0.";
const V6: &str = "fd00:2::";

/// HTTP with each method over IPv4 and IPv6.
pub const HTTP: [Rule; 6] = [
    http("10.9.9.1", "nat", V4),
    http("10.9.9.2", "dr", V4),
    http("10.9.9.3", "tunnel", V4),
    http("fd00:9::1", "nat", V6),
    http("fd00:9::2", "dr", V6),
    http("fd00:9::3", "tunnel", V6),
];

/// IPv4 in IPv6 and IPv6 in IPv4.
pub const MIXED: [Rule; 2] = [http("10.9.9.4", "tunnel", V6), http("fd00:9::4", "tunnel", V4)];

/// UDP echo.
pub const ECHO: Rule = Rule { protocol: "udp", vip: "10.9.9.1", l4_port: 7, method: "nat", network: V4 };

const fn http(vip: &'static str, method: &'static str, network: &'static str) -> Rule {
    Rule { protocol: "tcp", vip, l4_port: 80, method, network }
}

impl Rule {
    /// Returns the URL of the service.
    pub fn url(&self) -> String {
        if self.vip.contains(':') {
            format!("http://[{}]/", self.vip)
        } else {
            format!("http://{}/", self.vip)
        }
    }

    /// Returns the service as on the command line of `pollux`: `10.9.9.1:80`.
    pub fn endpoint(&self) -> String {
        endpoint(self.vip, self.l4_port)
    }

    /// Returns a server's endpoint as on the command line of `pollux`.
    pub fn server(&self, number: usize) -> String {
        endpoint(&format!("{}{}", self.network, 10 + number), self.l4_port)
    }
}

fn endpoint(address: &str, l4_port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{l4_port}") } else { format!("{address}:{l4_port}") }
}

/// Returns a configuration with these services, each round robin over servers 1 to `servers`.
pub fn config(rules: &[Rule], servers: usize) -> String {
    let mut text = String::from("[start]\nconnections_ipv4 = 65536\nconnections_ipv6 = 65536\n");
    for rule in rules {
        let Rule { protocol, vip, l4_port, method, network } = rule;
        let _ = write!(
            text,
            "\n[[services]]\nprotocol = \"{protocol}\"\naddress = \"{vip}\"\nl4_port = {l4_port}\nscheduler = \"rr\"\n"
        );
        for number in 1..=servers {
            let address = format!("{network}{}", 10 + number);
            let _ = write!(
                text,
                "[[services.destinations]]\naddress = \"{address}\"\nl4_port = {l4_port}\nmethod = \"{method}\"\n"
            );
        }
    }
    text
}

/// Returns a service with these lines over servers 1 to `servers`, each with the lines `destination`. The default scheduler
/// is round robin.
pub fn service(head: &str, destination: &str, servers: usize) -> String {
    let scheduler = if head.contains("scheduler") { "" } else { "scheduler = \"rr\"\n" };
    let mut text = format!("\n[[services]]\n{scheduler}{head}\n");
    for number in 1..=servers {
        let _ = write!(text, "[[services.destinations]]\naddress = \"{V4}{}\"\n{destination}\n", 10 + number);
    }
    text
}

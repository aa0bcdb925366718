//! The virtual addresses of a bed and configurations for them.

use std::fmt::Write;

/// Every virtual address, held by the balancer's loopback so that it answers pings: NAT, DR, tunnel, and a tunnel of the
/// other address family.
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

/// A service of a bed, balanced over some of its servers.
#[derive(Clone, Copy)]
pub struct Rule {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The virtual address.
    pub vip: &'static str,
    /// The virtual L4 port and the servers'.
    pub l4_port: u16,
    /// `nat`, `dr` or `tunnel`.
    pub method: &'static str,
    /// What the servers' addresses start with.
    pub network: &'static str,
}

const V4: &str = "10.2.0.";
const V6: &str = "fd00:2::";

/// HTTP by each method over IPv4 and IPv6.
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
    /// Where a client finds it.
    pub fn url(&self) -> String {
        if self.vip.contains(':') {
            format!("http://[{}]/", self.vip)
        } else {
            format!("http://{}/", self.vip)
        }
    }

    /// The service as `pollux` writes it on its command line: `10.9.9.1:80`.
    pub fn endpoint(&self) -> String {
        endpoint(self.vip, self.l4_port)
    }

    /// A server's endpoint as `pollux` writes it.
    pub fn server(&self, number: usize) -> String {
        endpoint(&format!("{}{}", self.network, 10 + number), self.l4_port)
    }
}

fn endpoint(address: &str, l4_port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{l4_port}") } else { format!("{address}:{l4_port}") }
}

/// A configuration file with these services, each over servers 1 to `servers` in turn.
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

/// A service with these lines for its key and attributes over servers 1 to `servers`, each with these lines; in turn
/// if nothing else is said.
pub fn service(head: &str, destination: &str, servers: usize) -> String {
    let turn = if head.contains("scheduler") { "" } else { "scheduler = \"rr\"\n" };
    let mut text = format!("\n[[services]]\n{turn}{head}\n");
    for number in 1..=servers {
        let _ = write!(text, "[[services.destinations]]\naddress = \"{V4}{}\"\n{destination}\n", 10 + number);
    }
    text
}

//! Network state of the data plane: links, addresses, routes, rules and neighbours, as plain data.
//!
//! The netlink mirror produces it from the kernel's tables. For benchmarks and replay it can be given in the
//! configuration file, as static network configuration.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::mac::{BadMac, Mac};

use crate::model::Family;

/// The main routing table, always consulted last.
pub const MAIN: u32 = 254;
/// The local routing table, consulted before all rules.
pub const LOCAL: u32 = 255;

/// Links, addresses, routes, rules and neighbours. From the mirror, lists are sorted and without duplicates, so that
/// equal states compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkState {
    /// Links: TAP twins of DPDK ports and VLAN sub-interfaces on them. Other interfaces are not listed.
    pub links: Vec<Link>,
    /// Addresses of this machine, on any interface, including `lo`.
    pub addresses: Vec<Address>,
    /// Routes of the main and local routing tables, and of tables that rules refer to.
    pub routes: Vec<Route>,
    /// Policy routing rules; tables [`LOCAL`] and [`MAIN`] need none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Neighbours (ARP and ND entries) on these links.
    pub neighbours: Vec<Neighbour>,
}

/// A link: a DPDK port, or one VLAN of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Name of the interface.
    pub name: String,
    /// Name of the DPDK port.
    pub port: String,
    /// VLAN ID of its frames, 1 to 4094; absent for untagged frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Whether the link is up; default true. Frames that arrive on a link that is down are dropped.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub up: bool,
    /// MAC address of the link.
    pub mac: Mac,
    /// MAC addresses of interfaces on top of the link, such as a macvlan or a bridge; default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_macs: Vec<Mac>,
    /// MTU in bytes: the largest IP packet.
    pub mtu: u32,
}

/// A local address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Prefix length of its subnet.
    pub prefix_len: u8,
    /// Interface with the address; not necessarily one of `links`.
    pub link: String,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Destination prefix; a default route is `0.0.0.0/0` or `::/0`.
    pub destination: IpNet,
    /// Route type.
    #[serde(default)]
    pub kind: RouteKind,
    /// Next hop, possibly of the other address family; absent if the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Egress interface; not necessarily one of `links`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// MTU of this route in bytes; default that of the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Metric; of two routes to the same destination, the lower metric wins. Default 0.
    #[serde(default)]
    pub metric: u32,
    /// Number of the routing table; default 254 (main).
    #[serde(default = "main_table", skip_serializing_if = "is_main_table")]
    pub table: u32,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn main_table() -> u32 {
    MAIN
}

fn is_main_table(table: &u32) -> bool {
    *table == MAIN
}

/// A policy routing rule: for packets that match all its conditions, its table is consulted before the main table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Priority; rules with lower numbers are consulted first. Default 0.
    #[serde(default)]
    pub priority: u32,
    /// `ipv4` or `ipv6`; implied by `from` or `to`, otherwise default `ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Source prefix; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// Destination prefix; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpNet>,
    /// Firewall mark; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// Number of the routing table.
    pub table: u32,
}

impl Rule {
    /// Returns true if the rule is for IPv6 packets.
    pub fn is_ipv6(&self) -> bool {
        match (self.from.or(self.to), self.family) {
            (Some(net), _) => matches!(net, IpNet::V6(_)),
            (None, family) => family == Some(Family::Ipv6),
        }
    }
}

/// Route type: what happens to a packet.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// It is forwarded.
    #[default]
    Unicast,
    /// It is delivered to this machine.
    Local,
    /// It is rejected with ICMP "unreachable".
    Unreachable,
    /// It is dropped silently.
    Blackhole,
    /// It is rejected with ICMP "administratively prohibited".
    Prohibit,
}

/// A neighbour: an ARP or ND entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Name of the link.
    pub link: String,
    /// IP address of the neighbour.
    pub address: IpAddr,
    /// MAC address of the neighbour.
    pub mac: Mac,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        links = [
            { name = "p0", port = "net_tap0", mac = "02:00:00:00:00:01", mtu = 1500 },
            { name = "p0.7", port = "net_tap0", vlan = 7, mac = "02:00:00:00:00:01", mtu = 1496 },
        ]
        addresses = [{ address = "2001:db8::1", prefix_len = 64, link = "p0" }]
        routes = [
            { destination = "0.0.0.0/0", via = "fe80::1", link = "p0" },
            { destination = "10.9.9.0/24", kind = "local", link = "lo", metric = 5 },
            { destination = "0.0.0.0/0", via = "10.0.0.9", link = "p0", table = 55 },
        ]
        rules = [{ priority = 100, from = "10.9.9.0/24", table = 55 }, { fwmark = 7, family = "ipv6", table = 77 }]
        neighbours = [{ link = "p0", address = "10.0.0.2", mac = "02:00:00:00:00:02" }]
    "#;

    #[test]
    fn a_static_network_configuration_survives_toml_and_json() {
        let network_state: NetworkState = toml::from_str(FILE).unwrap();
        assert_eq!(network_state.links[1].vlan, Some(7));
        assert_eq!(network_state.routes[0].kind, RouteKind::Unicast);
        assert_eq!(network_state.routes[1].kind, RouteKind::Local);
        assert_eq!((network_state.routes[1].table, network_state.routes[2].table), (MAIN, 55));
        assert_eq!([network_state.rules[0].is_ipv6(), network_state.rules[1].is_ipv6()], [false, true]);
        assert_eq!(
            toml::from_str::<NetworkState>(&toml::to_string(&network_state).unwrap()).unwrap(),
            network_state
        );
        assert_eq!(
            serde_json::from_str::<NetworkState>(&serde_json::to_string(&network_state).unwrap()).unwrap(),
            network_state
        );
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(toml::from_str::<NetworkState>("neighbors = []").is_err());
    }

    #[test]
    fn the_schema_has_the_pattern_of_mac_addresses() {
        let schema = serde_json::to_string(&schemars::schema_for!(NetworkState)).unwrap();
        assert!(schema.contains("[0-9A-Fa-f]{2}"), "{schema}");
    }
}

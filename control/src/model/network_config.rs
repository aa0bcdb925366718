//! What the data plane needs to know of the kernel: links, addresses, routes and neighbours, as plain data.
//!
//! The netlink mirror produces these facts on a live machine. Benchmarks and replay have no kernel to ask, so the same
//! types can be written in a configuration file and are then called *static facts*.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::mac::{BadMac, Mac};

use crate::model::Family;

/// The table of routes that is looked into last, and always.
pub const MAIN: u32 = 254;
/// The table of what is this machine's own; it comes before all rules.
pub const LOCAL: u32 = 255;

/// One consistent picture of the kernel's tables. Every list is sorted and free of duplicates when it comes from the
/// mirror, so two pictures are equal exactly when they say the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// The twins of DPDK ports and the VLAN sub-interfaces on them; no other interface is a link to us.
    pub links: Vec<Link>,
    /// The addresses of this machine, on whatever interface: an address on `lo` is as local as one on a twin.
    pub addresses: Vec<Address>,
    /// The main and the local routing table, and those that rules name.
    pub routes: Vec<Route>,
    /// Rules of policy routing in the order in which they are asked; [`LOCAL`] and [`MAIN`] need none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Who has which hardware address, on our links only.
    pub neighbours: Vec<Neighbour>,
}

/// A way out of the machine: a DPDK port, with or without a VLAN tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The name of the kernel's interface.
    pub name: String,
    /// The name of the DPDK port whose twin the interface is, or sits on.
    pub port: String,
    /// The 802.1Q tag frames of this link carry; none for the twin itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The hardware address frames of this link are sent from and received at.
    pub mac: Mac,
    /// The largest IP packet, in bytes, that fits.
    pub mtu: u32,
}

/// An address this machine answers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address itself.
    pub address: IpAddr,
    /// How many leading bits the subnet's addresses share.
    pub prefix_len: u8,
    /// The interface that holds it; not necessarily one of [`NetworkConfig::links`].
    pub link: String,
}

/// A route of one of the routing tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The addresses it is for; a default route is `0.0.0.0/0` or `::/0`.
    pub destination: IpNet,
    /// What happens to a packet that takes it.
    #[serde(default)]
    pub kind: RouteKind,
    /// The router to send to, which may be of the other address family; none when the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// The interface to leave by; not necessarily one of [`NetworkConfig::links`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// A packet size, in bytes, set for this route alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The source address the kernel prefers on this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Of two routes to the same destination the one with the lower metric wins.
    #[serde(default)]
    pub metric: u32,
    /// The number of its table; [`MAIN`] by default.
    #[serde(default = "main_table", skip_serializing_if = "is_main_table")]
    pub table: u32,
}

fn main_table() -> u32 {
    MAIN
}

fn is_main_table(table: &u32) -> bool {
    *table == MAIN
}

/// A rule of policy routing: a packet that fits all it names looks into its table before the main one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Rules with lower numbers are asked first.
    #[serde(default)]
    pub priority: u32,
    /// `ipv4` or `ipv6` packets; addresses say it too, and a rule without any is for `ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Where the packet comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNet>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpNet>,
    /// Its mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// The number of the table.
    pub table: u32,
}

impl Rule {
    /// The family of its packets.
    pub fn is_ipv6(&self) -> bool {
        match (self.from.or(self.to), self.family) {
            (Some(net), _) => matches!(net, IpNet::V6(_)),
            (None, family) => family == Some(Family::Ipv6),
        }
    }
}

/// What happens to a packet that takes a route.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// It is sent on.
    #[default]
    Unicast,
    /// It is for this machine.
    Local,
    /// It is refused with ICMP "unreachable".
    Unreachable,
    /// It is dropped without a word.
    Blackhole,
    /// It is refused with ICMP "administratively prohibited".
    Prohibit,
}

/// A hardware address the kernel has learnt or was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// The link it is on.
    pub link: String,
    /// The neighbour's IP address.
    pub address: IpAddr,
    /// The neighbour's hardware address.
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
    fn static_facts_survive_toml_and_json() {
        let network_config: NetworkConfig = toml::from_str(FILE).unwrap();
        assert_eq!(network_config.links[1].vlan, Some(7));
        assert_eq!(network_config.routes[0].kind, RouteKind::Unicast);
        assert_eq!(network_config.routes[1].kind, RouteKind::Local);
        assert_eq!((network_config.routes[1].table, network_config.routes[2].table), (MAIN, 55));
        assert_eq!([network_config.rules[0].is_ipv6(), network_config.rules[1].is_ipv6()], [false, true]);
        assert_eq!(
            toml::from_str::<NetworkConfig>(&toml::to_string(&network_config).unwrap()).unwrap(),
            network_config
        );
        assert_eq!(
            serde_json::from_str::<NetworkConfig>(&serde_json::to_string(&network_config).unwrap()).unwrap(),
            network_config
        );
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        assert!(toml::from_str::<NetworkConfig>("neighbors = []").is_err());
    }

    #[test]
    fn the_schema_knows_how_a_mac_looks() {
        let schema = serde_json::to_string(&schemars::schema_for!(NetworkConfig)).unwrap();
        assert!(schema.contains("[0-9A-Fa-f]{2}"), "{schema}");
    }
}

//! Firewall mark rules.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Family;

/// A firewall mark rule, like `iptables -t mangle -j MARK`. All rules are evaluated in order; each rule whose
/// conditions all match sets the mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FwmarkRule {
    /// DPDK name of the ingress port; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// VLAN of the frame, 1 to 4094; 0 matches untagged frames. Default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// `ipv4` or `ipv6`; implied by `source` or `destination`. Default both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Source address or prefix; default any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "net")]
    pub source: Option<IpNet>,
    /// Destination address or prefix; default any.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "net")]
    pub destination: Option<IpNet>,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `esp`, `ah`, or a protocol number; default any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// L4 source ports, each a number or a range: `1024-65535`. Default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_l4_ports: Vec<String>,
    /// L4 destination ports, each a number or a range. Default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub l4_ports: Vec<String>,
    /// Mark to set.
    pub fwmark: u32,
    /// Bits of the mark that this rule sets; other bits keep their value. Default all bits.
    #[serde(default = "all_bits", skip_serializing_if = "is_all_bits")]
    pub mask: u32,
}

impl Default for FwmarkRule {
    fn default() -> FwmarkRule {
        FwmarkRule {
            port: None,
            vlan: None,
            family: None,
            source: None,
            destination: None,
            protocol: None,
            source_l4_ports: Vec::new(),
            l4_ports: Vec::new(),
            fwmark: 0,
            mask: all_bits(),
        }
    }
}

/// Reads a prefix, or an address as a prefix of full length.
fn net<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpNet>, D::Error> {
    let text = String::deserialize(from)?;
    let net = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    let why = || format!("{text:?} is not an IP address or prefix; write it as 10.9.9.1 or 10.9.9.0/24");
    net.map(Some).map_err(|_| serde::de::Error::custom(why()))
}

fn all_bits() -> u32 {
    u32::MAX
}

fn is_all_bits(mask: &u32) -> bool {
    *mask == u32::MAX
}

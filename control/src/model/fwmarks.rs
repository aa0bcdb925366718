//! Rules that mark packets.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Family;

/// A rule that marks packets, in the spirit of `iptables -t mangle -j MARK`: rules are gone through in turn, and every
/// one that fits a packet in all it names sets its mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FwmarkRule {
    /// Name of the DPDK port it came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The VLAN it came in by; 0 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// `ipv4` or `ipv6` packets only; addresses say it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Where it comes from: an address or a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "net")]
    pub source: Option<IpNet>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "net")]
    pub destination: Option<IpNet>,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `esp`, `ah` or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// L4 source ports, each one number or a range: `1024-65535`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_l4_ports: Vec<String>,
    /// L4 destination ports likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub l4_ports: Vec<String>,
    /// The mark.
    pub fwmark: u32,
    /// Bits of the mark that the rule sets; the others stay. All by default.
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

/// A prefix, or an address, which is a prefix of all its bits.
fn net<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpNet>, D::Error> {
    let text = String::deserialize(from)?;
    let net = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    let why = || format!("{text:?} is no address and no prefix; write 10.9.9.1 or 10.9.9.0/24");
    net.map(Some).map_err(|_| serde::de::Error::custom(why()))
}

fn all_bits() -> u32 {
    u32::MAX
}

fn is_all_bits(mask: &u32) -> bool {
    *mask == u32::MAX
}

//! Firewall marks: rules assign a number to packets, and fwmark services match it; as `iptables -t mangle` does.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::flow::Key;

/// A rule: packets that match all its conditions get its mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwmarkRule {
    /// Number of the ingress port.
    pub port: Option<u16>,
    /// Ingress VLAN; 0 for untagged.
    pub vlan: Option<u16>,
    /// Source prefix.
    pub source: Option<IpNet>,
    /// Destination prefix.
    pub destination: Option<IpNet>,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// L4 source port ranges; empty for any port.
    pub source_l4_ports: Vec<RangeInclusive<u16>>,
    /// L4 destination port ranges; empty for any port.
    pub l4_ports: Vec<RangeInclusive<u16>>,
    /// Bits to set.
    pub fwmark: u32,
    /// Bits to keep of the mark of earlier rules.
    pub keep: u32,
    /// IPv6 packets only, or IPv4 packets only; `None` for both.
    pub ipv6: Option<bool>,
}

/// The properties of a packet that rules match and its key does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Number of the ingress port.
    pub port: u16,
    /// Ingress VLAN; 0 for untagged.
    pub vlan: u16,
    /// Protocol in the IP header. The key may have the protocol of a quoted or encapsulated packet.
    pub protocol: u8,
}

/// The mark of a packet after all rules, applied in order.
pub fn fwmark(rules: &[FwmarkRule], key: &Key, ingress: Ingress) -> u32 {
    rules
        .iter()
        .filter(|rule| rule.matches(key, ingress))
        .fold(0, |fwmark, rule| (fwmark & rule.keep) | rule.fwmark)
}

impl FwmarkRule {
    fn matches(&self, key: &Key, ingress: Ingress) -> bool {
        let ports = key.ports();
        let within = |net: &Option<IpNet>, address: IpAddr| net.is_none_or(|net| net.contains(&address));
        let among = |ranges: &[RangeInclusive<u16>], l4_port| {
            ranges.is_empty() || ranges.iter().any(|range| range.contains(&l4_port))
        };
        self.port.is_none_or(|port| port == ingress.port)
            && self.vlan.is_none_or(|vlan| vlan == ingress.vlan)
            && self.protocol.is_none_or(|protocol| protocol == ingress.protocol)
            && self.ipv6.is_none_or(|ipv6| ipv6 == matches!(key, Key::V6(_)))
            && within(&self.source, key.src_address())
            && within(&self.destination, key.dst_address())
            && among(&self.source_l4_ports, ports.src())
            && among(&self.l4_ports, ports.dst())
    }
}

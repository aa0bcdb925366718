//! Marks: numbers that rules give to packets, for services that are named by a number; like `iptables -t mangle`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::flow::Key;

/// A rule: packets that fit everything it names get its mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FwmarkRule {
    /// Number of the port it came in by.
    pub port: Option<u16>,
    /// The VLAN it came in by; 0 is none.
    pub vlan: Option<u16>,
    /// Where it comes from.
    pub source: Option<IpNet>,
    /// Where it goes.
    pub destination: Option<IpNet>,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// Its L4 source port is in one of these; empty means any.
    pub source_l4_ports: Vec<RangeInclusive<u16>>,
    /// Its L4 destination port is in one of these; empty means any.
    pub l4_ports: Vec<RangeInclusive<u16>>,
    /// Bits to set.
    pub fwmark: u32,
    /// Bits to keep of a mark that an earlier rule gave.
    pub keep: u32,
    /// Whether it is for IPv6 packets or for IPv4 ones; both when absent.
    pub ipv6: Option<bool>,
}

/// What of a packet is not in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Number of the port.
    pub port: u16,
    /// The VLAN; 0 is none.
    pub vlan: u16,
    /// Protocol of the IP header, where the key's is that of what it carries or quotes.
    pub protocol: u8,
}

/// The mark of a packet: all rules in turn.
pub fn fwmark(rules: &[FwmarkRule], key: &Key, ingress: Ingress) -> u32 {
    rules
        .iter()
        .filter(|rule| rule.fits(key, ingress))
        .fold(0, |fwmark, rule| (fwmark & rule.keep) | rule.fwmark)
}

impl FwmarkRule {
    fn fits(&self, key: &Key, ingress: Ingress) -> bool {
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

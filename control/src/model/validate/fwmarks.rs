//! Firewall mark rules: protocol names, port ranges and matching address families.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use pollux_dataplane::wire::protocol;

use crate::model::input_error::InputErrors;
use crate::model::{Family, FwmarkRule};

/// Protocols with a name; others are written as numbers.
const PROTOCOLS: [(&str, u8); 7] = [
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("sctp", protocol::SCTP),
    ("icmp", protocol::ICMP),
    ("icmpv6", protocol::ICMPV6),
    ("esp", protocol::ESP),
    ("ah", protocol::AH),
];
/// Protocols whose header begins with two ports.
const WITH_PORTS: [u8; 3] = [protocol::TCP, protocol::UDP, protocol::SCTP];

/// Parses a protocol name or number.
pub fn protocol(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| decimal(text).and_then(|number| u8::try_from(number).ok()))
}

/// Parses a port or a range of ports: `80`, `1024-65535`.
pub fn l4_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (decimal(first)?, decimal(last)?);
    (first <= last).then_some(first..=last)
}

/// Parses digits only; `parse` alone would accept a sign.
fn decimal(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Returns whether a rule is for IPv6 (true) or IPv4 (false), from its family or its addresses; `None` for both.
pub fn ipv6(rule: &FwmarkRule) -> Option<bool> {
    let of_net = |net: &IpNet| matches!(net, IpNet::V6(_));
    let of_family = |family: Family| family == Family::Ipv6;
    rule.family.map(of_family).or(rule.source.as_ref().map(of_net)).or(rule.destination.as_ref().map(of_net))
}

/// Checks all rules.
pub fn fwmarks(rules: &[FwmarkRule], errors: &mut InputErrors) {
    for (index, rule) in rules.iter().enumerate() {
        fwmark(&format!("fwmarks[{index}]"), rule, errors);
    }
}

fn fwmark(location: &str, rule: &FwmarkRule, errors: &mut InputErrors) {
    if let Some(vlan) = rule.vlan.filter(|vlan| *vlan > 4094) {
        errors.add(
            format!("{location}.vlan"),
            format!("{vlan} is above 4094"),
            "use a VLAN ID from 1 to 4094, or 0 for untagged frames",
        );
    }
    if rule.mask == 0 {
        errors.add(
            format!("{location}.mask"),
            "0 sets no bit of the mark",
            "leave it out to set the whole mark, or remove the rule",
        );
    } else if rule.fwmark & !rule.mask != 0 {
        errors.add(
            format!("{location}.fwmark"),
            format!("{:#x} has bits outside the mask {:#x}", rule.fwmark, rule.mask),
            "clear those bits, or widen the mask",
        );
    }
    families(location, rule, errors);
    numbers(location, rule, errors);
}

fn families(location: &str, rule: &FwmarkRule, errors: &mut InputErrors) {
    let Some(ipv6) = ipv6(rule) else { return };
    for (name, net) in [("source", &rule.source), ("destination", &rule.destination)] {
        if net.as_ref().is_some_and(|net| matches!(net, IpNet::V6(_)) != ipv6) {
            errors.add(
                format!("{location}.{name}"),
                format!(
                    "{} does not match the rest of the rule, which is for {}",
                    net.as_ref().map(IpNet::to_string).unwrap_or_default(),
                    word(ipv6)
                ),
                "write one rule per address family",
            );
        }
    }
}

fn word(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}

fn numbers(location: &str, rule: &FwmarkRule, errors: &mut InputErrors) {
    let number = rule.protocol.as_deref().map(protocol);
    if let (Some(written), Some(None)) = (&rule.protocol, number) {
        let names: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
        errors.add(
            format!("{location}.protocol"),
            format!("{written:?} is not a protocol"),
            format!("use one of {}, or a number from 0 to 255", names.join(", ")),
        );
    }
    for (name, ranges) in [("source_l4_ports", &rule.source_l4_ports), ("l4_ports", &rule.l4_ports)] {
        for (index, written) in ranges.iter().enumerate().filter(|(_, written)| l4_ports(written).is_none()) {
            errors.add(
                format!("{location}.{name}[{index}]"),
                format!("{written:?} is not a port or a port range"),
                "use a number from 0 to 65535, or a range such as 1024-65535",
            );
        }
        if !ranges.is_empty() && !number.flatten().is_none_or(|number| WITH_PORTS.contains(&number)) {
            errors.add(
                format!("{location}.{name}"),
                format!("packets of protocol {} have no ports", rule.protocol.as_deref().unwrap_or_default()),
                "leave it out, or use protocol tcp, udp or sctp",
            );
        }
    }
}

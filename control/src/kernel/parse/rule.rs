//! Conversion of policy routing rules that select a table by source, destination or fwmark.

use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::prefix;
use crate::model::Family;
use crate::model::network::{LOCAL, MAIN, Rule};

/// The default table, consulted after the main table.
const DEFAULT: u32 = 253;

/// Returns `None` for rules that are not used: the standard rules of every machine, rules with other conditions
/// (interface, type of service, ports), and rules without a table.
pub(in crate::kernel) fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let family = match header.family {
        AddressFamily::Inet => Family::Ipv4,
        AddressFamily::Inet6 => Family::Ipv6,
        _ => return None,
    };
    if header.action != RuleAction::ToTable || header.tos != 0 || header.flags.contains(RuleFlags::Invert) {
        return None;
    }
    let table = u32::from(header.table);
    let mut rule = Rule { priority: 0, family: Some(family), from: None, to: None, fwmark: None, table };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => rule.from = prefix(*address, header.src_len),
            RuleAttribute::Destination(address) => rule.to = prefix(*address, header.dst_len),
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::FwMark(fwmark) => rule.fwmark = Some(*fwmark),
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::FwMask(u32::MAX) | RuleAttribute::Protocol(_) => {}
            // The kernel's value for "not set".
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::SuppressIfGroup(u32::MAX) => {}
            RuleAttribute::L3MDev(false) => {}
            _ => return None,
        }
    }
    // Mark 0 with mask 0 matches every packet.
    rule.fwmark = rule.fwmark.filter(|fwmark| *fwmark != 0);
    (![LOCAL, MAIN, DEFAULT].contains(&rule.table)).then_some(rule)
}

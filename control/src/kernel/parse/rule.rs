//! Rules of policy routing: those that send packets to a table for where they come from, where they go or their mark.

use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::prefix;
use crate::model::Family;
use crate::model::network_config::{LOCAL, MAIN, Rule};

/// The table that is asked after the main one.
const DEFAULT: u32 = 253;

/// None for what does not lead forwarded packets of ours elsewhere: the rules every machine has, those that look at
/// anything else of a packet (interface, type of service, ports), and those that do not name a table.
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
            // "Off" in the words of the kernel.
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::SuppressIfGroup(u32::MAX) => {}
            RuleAttribute::L3MDev(false) => {}
            _ => return None,
        }
    }
    // A mark of 0 without bits to look at is no mark.
    rule.fwmark = rule.fwmark.filter(|fwmark| *fwmark != 0);
    (![LOCAL, MAIN, DEFAULT].contains(&rule.table)).then_some(rule)
}

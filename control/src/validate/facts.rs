//! Static facts: what the kernel guarantees of its own tables must be checked when a person writes them.

use std::collections::HashSet;
use std::net::IpAddr;

use super::ports::{interface, mtu};
use crate::fault::Faults;
use crate::kernel::facts::{Facts, LOCAL, Link, MAIN, Mac, Route, RouteKind, Rule};

pub(super) fn facts(facts: &Facts, faults: &mut Faults) {
    let mut names = HashSet::new();
    let mut tags = HashSet::new();
    for (index, new) in facts.links.iter().enumerate() {
        let place = format!("facts.links[{index}]");
        link(&place, new, faults);
        if !names.insert(new.name.as_str()) {
            faults.add(
                format!("{place}.name"),
                format!("{:?} is there already", new.name),
                "give each link its own name",
            );
        }
        if !tags.insert((new.port.as_str(), new.vlan)) {
            faults.add(
                &place,
                format!("port {:?} has a link with this VLAN tag, or without one, already", new.port),
                "give each link of a port another vlan",
            );
        }
    }
    for (index, address) in facts.addresses.iter().enumerate() {
        prefix(&format!("facts.addresses[{index}]"), address.address, address.prefix_len, faults);
    }
    for (index, new) in facts.routes.iter().enumerate() {
        route(&format!("facts.routes[{index}]"), new, faults);
    }
    for (index, new) in facts.rules.iter().enumerate() {
        rule(&format!("facts.rules[{index}]"), new, faults);
    }
    for (index, neighbour) in facts.neighbours.iter().enumerate() {
        let place = format!("facts.neighbours[{index}]");
        unicast(&format!("{place}.mac"), neighbour.mac, faults);
        if !names.contains(neighbour.link.as_str()) {
            faults.add(
                format!("{place}.link"),
                format!("{:?} is none of facts.links", neighbour.link),
                "use the name of one of them, or add it",
            );
        }
    }
}

fn link(place: &str, link: &Link, faults: &mut Faults) {
    interface(&format!("{place}.name"), &link.name, faults);
    if let Some(vlan) = link.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
        faults.add(
            format!("{place}.vlan"),
            format!("{vlan} is outside 1 to 4094"),
            "use the network's tag, or leave it out for frames without one",
        );
    }
    unicast(&format!("{place}.mac"), link.mac, faults);
    mtu(&format!("{place}.mtu"), link.mtu, faults);
}

fn prefix(place: &str, address: IpAddr, prefix_len: u8, faults: &mut Faults) {
    let most = if address.is_ipv4() { 32 } else { 128 };
    if prefix_len > most {
        faults.add(
            format!("{place}.prefix_len"),
            format!("{prefix_len} is above {most}"),
            "use the length of the subnet's prefix",
        );
    }
}

fn route(place: &str, route: &Route, faults: &mut Faults) {
    if route.kind == RouteKind::Unicast && route.link.is_none() {
        faults.add(
            place,
            format!("{} leads nowhere: it has no link", route.destination),
            "name the link packets leave by",
        );
    }
    if let Some(bytes) = route.mtu {
        mtu(&format!("{place}.mtu"), bytes, faults);
    }
}

fn rule(place: &str, rule: &Rule, faults: &mut Faults) {
    let ipv6 = rule.is_ipv6();
    let other = |net: Option<ipnet::IpNet>| net.is_some_and(|net| matches!(net, ipnet::IpNet::V6(_)) != ipv6);
    let family_differs = rule.family.is_some_and(|family| (family == crate::model::Family::Ipv6) != ipv6);
    if other(rule.from) || other(rule.to) || family_differs {
        faults.add(place, "is of both families", "use a rule for each");
    }
    if [MAIN, LOCAL].contains(&rule.table) {
        faults.add(
            format!("{place}.table"),
            format!("{} is asked without a rule", rule.table),
            "use a table of its own, or leave the rule out",
        );
    }
}

fn unicast(place: &str, mac: Mac, faults: &mut Faults) {
    if mac.0[0] & 1 == 1 || mac == Mac::default() {
        faults.add(place, format!("{mac} is no station's address"), "use the address of one interface");
    }
}

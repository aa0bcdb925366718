//! Static facts: what the kernel guarantees of its own tables must be checked when a person writes them.

use std::collections::HashSet;
use std::net::IpAddr;

use super::ports::{interface, mtu};
use crate::model::input_error::InputErrors;
use crate::model::network_config::{LOCAL, Link, MAIN, Mac, NetworkConfig, Route, RouteKind, Rule};

pub(super) fn network_config(network_config: &NetworkConfig, errors: &mut InputErrors) {
    let mut names = HashSet::new();
    let mut tags = HashSet::new();
    for (index, new) in network_config.links.iter().enumerate() {
        let place = format!("network.links[{index}]");
        link(&place, new, errors);
        if !names.insert(new.name.as_str()) {
            errors.add(
                format!("{place}.name"),
                format!("{:?} is there already", new.name),
                "give each link its own name",
            );
        }
        if !tags.insert((new.port.as_str(), new.vlan)) {
            errors.add(
                &place,
                format!("port {:?} has a link with this VLAN tag, or without one, already", new.port),
                "give each link of a port another vlan",
            );
        }
    }
    for (index, address) in network_config.addresses.iter().enumerate() {
        prefix(&format!("network.addresses[{index}]"), address.address, address.prefix_len, errors);
    }
    for (index, new) in network_config.routes.iter().enumerate() {
        route(&format!("network.routes[{index}]"), new, errors);
    }
    for (index, new) in network_config.rules.iter().enumerate() {
        rule(&format!("network.rules[{index}]"), new, errors);
    }
    for (index, neighbour) in network_config.neighbours.iter().enumerate() {
        let place = format!("network.neighbours[{index}]");
        unicast(&format!("{place}.mac"), neighbour.mac, errors);
        if !names.contains(neighbour.link.as_str()) {
            errors.add(
                format!("{place}.link"),
                format!("{:?} is none of network_config.links", neighbour.link),
                "use the name of one of them, or add it",
            );
        }
    }
}

fn link(place: &str, link: &Link, errors: &mut InputErrors) {
    interface(&format!("{place}.name"), &link.name, errors);
    if let Some(vlan) = link.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
        errors.add(
            format!("{place}.vlan"),
            format!("{vlan} is outside 1 to 4094"),
            "use the network's tag, or leave it out for frames without one",
        );
    }
    unicast(&format!("{place}.mac"), link.mac, errors);
    mtu(&format!("{place}.mtu"), link.mtu, errors);
}

fn prefix(place: &str, address: IpAddr, prefix_len: u8, errors: &mut InputErrors) {
    let most = if address.is_ipv4() { 32 } else { 128 };
    if prefix_len > most {
        errors.add(
            format!("{place}.prefix_len"),
            format!("{prefix_len} is above {most}"),
            "use the length of the subnet's prefix",
        );
    }
}

fn route(place: &str, route: &Route, errors: &mut InputErrors) {
    if route.kind == RouteKind::Unicast && route.link.is_none() {
        errors.add(
            place,
            format!("{} leads nowhere: it has no link", route.destination),
            "name the link packets leave by",
        );
    }
    if let Some(bytes) = route.mtu {
        mtu(&format!("{place}.mtu"), bytes, errors);
    }
}

fn rule(place: &str, rule: &Rule, errors: &mut InputErrors) {
    let ipv6 = rule.is_ipv6();
    let other = |net: Option<ipnet::IpNet>| net.is_some_and(|net| matches!(net, ipnet::IpNet::V6(_)) != ipv6);
    let family_differs = rule.family.is_some_and(|family| (family == crate::model::Family::Ipv6) != ipv6);
    if other(rule.from) || other(rule.to) || family_differs {
        errors.add(place, "is of both families", "use a rule for each");
    }
    if [MAIN, LOCAL].contains(&rule.table) {
        errors.add(
            format!("{place}.table"),
            format!("{} is asked without a rule", rule.table),
            "use a table of its own, or leave the rule out",
        );
    }
}

fn unicast(place: &str, mac: Mac, errors: &mut InputErrors) {
    if mac.0[0] & 1 == 1 || mac == Mac::default() {
        errors.add(place, format!("{mac} is no station's address"), "use the address of one interface");
    }
}

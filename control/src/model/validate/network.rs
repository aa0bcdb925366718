//! Static network configuration: checks the properties that the kernel's own tables always have.

use std::collections::HashSet;
use std::net::IpAddr;

use super::ports::{interface, mtu};
use crate::model::Family;
use crate::model::input_error::InputErrors;
use crate::model::network::{LOCAL, Link, MAIN, Mac, NetworkState, Route, RouteKind, Rule};

pub(super) fn network_state(network_state: &NetworkState, errors: &mut InputErrors) {
    let mut names = HashSet::new();
    let mut tags = HashSet::new();
    for (index, new) in network_state.links.iter().enumerate() {
        let location = format!("network.links[{index}]");
        link(&location, new, errors);
        if !names.insert(new.name.as_str()) {
            errors.add(
                format!("{location}.name"),
                format!("{:?} is already the name of another link", new.name),
                "give each link its own name",
            );
        }
        if !tags.insert((new.port.as_str(), new.vlan)) {
            errors.add(
                &location,
                match new.vlan {
                    Some(vlan) => format!("port {:?} already has a link with VLAN {vlan}", new.port),
                    None => format!("port {:?} already has a link without a VLAN", new.port),
                },
                "give each link of a port its own vlan",
            );
        }
    }
    for (index, address) in network_state.addresses.iter().enumerate() {
        prefix(&format!("network.addresses[{index}]"), address.address, address.prefix_len, errors);
    }
    for (index, new) in network_state.routes.iter().enumerate() {
        route(&format!("network.routes[{index}]"), new, errors);
    }
    for (index, new) in network_state.rules.iter().enumerate() {
        rule(&format!("network.rules[{index}]"), new, errors);
    }
    for (index, neighbour) in network_state.neighbours.iter().enumerate() {
        let location = format!("network.neighbours[{index}]");
        unicast(&format!("{location}.mac"), neighbour.mac, errors);
        if !names.contains(neighbour.link.as_str()) {
            errors.add(
                format!("{location}.link"),
                format!("{:?} is not in network.links", neighbour.link),
                "use the name of a link, or add the link",
            );
        }
    }
}

fn link(location: &str, link: &Link, errors: &mut InputErrors) {
    interface(&format!("{location}.name"), &link.name, errors);
    if let Some(vlan) = link.vlan {
        let hint = "use a VLAN ID in this range, or leave it out for untagged frames";
        errors.range(format!("{location}.vlan"), vlan, "", 1..=4094, hint);
    }
    unicast(&format!("{location}.mac"), link.mac, errors);
    for (index, mac) in link.other_macs.iter().enumerate() {
        unicast(&format!("{location}.other_macs[{index}]"), *mac, errors);
    }
    mtu(&format!("{location}.mtu"), link.mtu, errors);
}

fn prefix(location: &str, address: IpAddr, prefix_len: u8, errors: &mut InputErrors) {
    let max = if address.is_ipv4() { 32 } else { 128 };
    if prefix_len > max {
        errors.add(
            format!("{location}.prefix_len"),
            format!("{prefix_len} is above {max}"),
            format!("use the prefix length of the subnet, 0 to {max}"),
        );
    }
}

fn route(location: &str, route: &Route, errors: &mut InputErrors) {
    if route.kind == RouteKind::Unicast && route.link.is_none() {
        errors.add(
            location,
            format!("the route to {} has no link", route.destination),
            "set link to the egress interface",
        );
    }
    if let Some(bytes) = route.mtu {
        mtu(&format!("{location}.mtu"), bytes, errors);
    }
}

fn rule(location: &str, rule: &Rule, errors: &mut InputErrors) {
    let ipv6 = rule.is_ipv6();
    let other = |net: Option<ipnet::IpNet>| net.is_some_and(|net| matches!(net, ipnet::IpNet::V6(_)) != ipv6);
    let family_differs = rule.family.is_some_and(|family| (family == Family::Ipv6) != ipv6);
    if other(rule.from) || other(rule.to) || family_differs {
        let parts = [
            rule.from.map(|from| format!("from {from}")),
            rule.to.map(|to| format!("to {to}")),
            rule.family
                .map(|family| format!("family {}", if family == Family::Ipv6 { "ipv6" } else { "ipv4" })),
        ];
        let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        errors.add(location, format!("{parts}: mixes IPv4 and IPv6"), "write one rule per address family");
    }
    if [MAIN, LOCAL].contains(&rule.table) {
        errors.add(
            format!("{location}.table"),
            format!("table {} is always consulted, without a rule", rule.table),
            "use another table, or remove the rule",
        );
    }
}

fn unicast(location: &str, mac: Mac, errors: &mut InputErrors) {
    if mac.0[0] & 1 == 1 || mac == Mac::default() {
        errors.add(
            location,
            format!("{mac} is not a unicast MAC address"),
            "use the MAC address of one interface",
        );
    }
}

//! Compiles the network state: names of links and ports become numbers.

use std::net::IpAddr;

use super::unknown_port;
use crate::api::error::Failure;
use crate::model::network::{self, NetworkState, RouteKind};
use hashbrown::HashMap;
use ipnet::IpNet;
use pollux_dataplane::config::{HopId, Link, LinkId, Network, Route, RouteTable, Rule};
use pollux_dataplane::wire::ether;

/// Compiles `network_state`; `generation` must differ from all earlier ones.
pub fn compile(
    network_state: &NetworkState,
    ports: &HashMap<String, u16>,
    generation: u32,
) -> Result<Network, Failure> {
    let mut network = Network { generation, ..Network::default() };
    let mut links: HashMap<&str, LinkId> = HashMap::new();
    for (index, link) in network_state.links.iter().enumerate() {
        let port = *ports
            .get(&link.port)
            .ok_or_else(|| unknown_port(format!("network.links[{index}].port"), &link.port, ports, ""))?;
        links.insert(&link.name, LinkId(network.links.len() as u16));
        network.links.push(compile_link(link, port, network_state));
    }
    network.local = network_state.addresses.iter().map(|address| address.address).collect();
    let mut tables: Vec<u32> = network_state.rules.iter().map(|rule| rule.table).collect();
    tables.sort_unstable();
    tables.dedup();
    let mut main = RouteTable::default();
    network.tables.resize_with(tables.len(), RouteTable::default);
    let mut routes: Vec<&network::Route> = network_state.routes.iter().collect();
    routes.sort_by_key(|route| (route.kind != RouteKind::Local, route.metric));
    for route in routes {
        let table = match (route.table, tables.binary_search(&route.table)) {
            (network::MAIN | network::LOCAL, _) => &mut main,
            (_, Ok(at)) => &mut network.tables[at],
            // No rule refers to this table.
            (_, Err(_)) => continue,
        };
        add_route(table, route, &links);
    }
    (network.routes4, network.routes6) = (main.routes4, main.routes6);
    let router = |route: &network::Route| Some((*links.get(route.link.as_deref()?)?, route.via?));
    network.routers = network_state.routes.iter().filter_map(router).collect();
    network.rules = rules(network_state, &tables);
    for neighbour in &network_state.neighbours {
        let Some(&link) = links.get(neighbour.link.as_str()) else { continue };
        let id = HopId(network.hops.len() as u32);
        let kind = if neighbour.address.is_ipv4() { ether::IPV4 } else { ether::IPV6 };
        let hop = Network::hop(&network.links[usize::from(link.0)], neighbour.mac.0)(kind);
        network.hops.push(hop);
        network.neighbours.insert((link, neighbour.address), id);
    }
    Ok(network)
}

fn compile_link(link: &network::Link, port: u16, network_state: &NetworkState) -> Link {
    let own = || network_state.addresses.iter().filter(|a| a.link == link.name).map(|a| a.address);
    let ipv6 = |address| match address {
        IpAddr::V6(v6) => Some(v6),
        IpAddr::V4(_) => None,
    };
    Link {
        port,
        vlan: link.vlan,
        up: link.up,
        mac: link.mac.0,
        other_macs: link.other_macs.iter().map(|mac| mac.0).collect(),
        mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
        ipv4: own().find_map(|address| match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }),
        // Used as a source address beyond the link, so a link-local address is the last choice.
        ipv6: own().filter_map(ipv6).min_by_key(std::net::Ipv6Addr::is_unicast_link_local),
    }
}

/// Returns the rules by priority.
fn rules(network_state: &NetworkState, tables: &[u32]) -> Vec<Rule> {
    let mut rules: Vec<&network::Rule> = network_state.rules.iter().collect();
    rules.sort_by_key(|rule| rule.priority);
    let compiled = rules.into_iter().filter_map(|rule| {
        let table = tables.binary_search(&rule.table).ok()?;
        Some(Rule { ipv6: rule.is_ipv6(), from: rule.from, to: rule.to, fwmark: rule.fwmark, table })
    });
    compiled.collect()
}

/// Adds a route. The first route to a destination wins; the caller adds local routes first, then by metric.
fn add_route(table: &mut RouteTable, route: &network::Route, links: &HashMap<&str, LinkId>) {
    let compiled = match (route.kind, route.link.as_deref().and_then(|name| links.get(name))) {
        (RouteKind::Local, _) => Route::Local,
        (RouteKind::Unicast, Some(&link)) => Route::Send {
            link,
            via: route.via,
            mtu: route.mtu.map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX)),
            source: route.source,
        },
        (RouteKind::Unicast, None) => Route::Kernel,
        (RouteKind::Unreachable | RouteKind::Blackhole | RouteKind::Prohibit, _) => Route::Refuse,
    };
    match route.destination {
        IpNet::V4(net) => {
            table.routes4.entry(net.trunc()).or_insert(compiled);
        }
        IpNet::V6(net) => {
            table.routes6.entry(net.trunc()).or_insert(compiled);
        }
    }
}

//! The kernel's tables as we remember them, keyed so that one change costs one look-up and not a new dump.
//!
//! Some changes cannot be followed one by one: the kernel drops IPv4 routes without a word when an interface goes down
//! or an address goes away, and it orders several routes with one key in its own way. Those changes mark a table as
//! stale, and the mirror reads it again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;

use super::netlink::Twin;
use super::parse::{self, AddressRow, Hop, Interface, RouteKey};
use super::rtnetlink::Message;
use crate::model::network_config::{Address, LOCAL, Link, MAIN, Mac, Neighbour, NetworkConfig, Route, Rule};

/// What a message did to the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nothing the data plane could notice.
    None,
    /// The tables are right and differ from before.
    Changed,
    /// The routes must be read again.
    StaleRoutes,
}

/// Links, addresses, routes, rules and neighbours of one network namespace, by interface index as the kernel has them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    links: BTreeMap<u32, Interface>,
    addresses: BTreeSet<AddressRow>,
    routes: BTreeMap<RouteKey, Vec<Hop>>,
    /// By priority; those of one priority in the order in which they came.
    rules: Vec<Rule>,
    neighbours: BTreeMap<(u32, IpAddr), Mac>,
}

impl Tables {
    /// Takes in what the kernel says has happened.
    pub(super) fn apply(&mut self, message: &Message) -> Effect {
        match &message.body {
            RouteNetlinkMessage::NewLink(m) => self.new_link(m),
            RouteNetlinkMessage::DelLink(m) => self.del_link(m),
            RouteNetlinkMessage::NewAddress(m) => {
                parse::address(m).map_or(Effect::None, |row| changed(self.addresses.insert(row)))
            }
            RouteNetlinkMessage::DelAddress(m) => match parse::address(m) {
                // Routes that prefer this source go with it, unannounced.
                Some(row) if self.addresses.remove(&row) => Effect::StaleRoutes,
                _ => Effect::None,
            },
            RouteNetlinkMessage::NewNeighbour(m) => match parse::neighbour(m) {
                Some((key, Some(mac))) => changed(self.neighbours.insert(key, mac) != Some(mac)),
                Some((key, None)) => changed(self.neighbours.remove(&key).is_some()),
                None => Effect::None,
            },
            RouteNetlinkMessage::DelNeighbour(m) => parse::neighbour(m)
                .map_or(Effect::None, |(key, _)| changed(self.neighbours.remove(&key).is_some())),
            RouteNetlinkMessage::NewRoute(m) => self.new_route(m, message.flags & NLM_F_REPLACE != 0),
            RouteNetlinkMessage::DelRoute(m) => self.del_route(m),
            RouteNetlinkMessage::NewRule(m) => parse::rule(m).map_or(Effect::None, |r| self.new_rule(r)),
            RouteNetlinkMessage::DelRule(m) => parse::rule(m).map_or(Effect::None, |r| self.del_rule(&r)),
            _ => Effect::None,
        }
    }

    /// Takes in a row of a dump; the rows of routes come in the order in which they count.
    pub(super) fn load(&mut self, row: &RouteNetlinkMessage) {
        match row {
            RouteNetlinkMessage::NewRoute(m) => {
                if let Some((key, hop)) = parse::route(m) {
                    self.routes.entry(key).or_default().push(hop);
                }
            }
            other => {
                self.apply(&Message { flags: 0, body: other.clone() });
            }
        }
    }

    /// Forgets all routes, since they are about to be read again.
    pub(super) fn clear_routes(&mut self) {
        self.routes.clear();
    }

    fn new_link(&mut self, message: &LinkMessage) -> Effect {
        let Some(link) = parse::interface(message) else { return Effect::None };
        let state = link.state;
        match self.links.insert(message.header.index, link) {
            Some(old) if old.state != state => Effect::StaleRoutes,
            old => changed(old.as_ref() != self.links.get(&message.header.index)),
        }
    }

    fn del_link(&mut self, message: &LinkMessage) -> Effect {
        let index = message.header.index;
        if parse::interface(message).is_none() || self.links.remove(&index).is_none() {
            return Effect::None;
        }
        self.addresses.retain(|row| row.interface != index);
        self.neighbours.retain(|(interface, _), _| *interface != index);
        Effect::StaleRoutes
    }

    /// One route per key can be followed; with more, only the kernel knows which comes first.
    fn new_route(&mut self, message: &RouteMessage, replaces: bool) -> Effect {
        let Some((key, hop)) = parse::route(message) else { return Effect::None };
        match self.routes.get_mut(&key).map(Vec::as_mut_slice) {
            None => {
                self.routes.insert(key, vec![hop]);
                Effect::Changed
            }
            Some([old]) if *old == hop && !hop.of_many => Effect::None,
            Some([old]) if replaces && !hop.of_many && !old.of_many => {
                *old = hop;
                Effect::Changed
            }
            Some(_) => Effect::StaleRoutes,
        }
    }

    fn del_route(&mut self, message: &RouteMessage) -> Effect {
        let Some((key, hop)) = parse::route(message) else { return Effect::None };
        match self.routes.get(&key).map(Vec::as_slice) {
            Some([only]) if *only == hop && !hop.of_many => {
                self.routes.remove(&key);
                Effect::Changed
            }
            _ => Effect::StaleRoutes,
        }
    }

    /// The kernel has no two equal rules; one that is told twice was in the dump and in the news.
    fn new_rule(&mut self, rule: Rule) -> Effect {
        if self.rules.contains(&rule) {
            return Effect::None;
        }
        let at = self.rules.partition_point(|old| old.priority <= rule.priority);
        self.rules.insert(at, rule);
        Effect::Changed
    }

    fn del_rule(&mut self, rule: &Rule) -> Effect {
        let at = self.rules.iter().position(|old| old == rule);
        at.map_or(Effect::None, |at| {
            self.rules.remove(at);
            Effect::Changed
        })
    }

    /// Whether packets may look into a table.
    fn is_asked(&self, table: u32) -> bool {
        [MAIN, LOCAL].contains(&table) || self.rules.iter().any(|rule| rule.table == table)
    }

    /// The tables in the words of the data plane, sorted.
    pub(super) fn network_config(&self, twins: &[Twin]) -> NetworkConfig {
        let ours: BTreeMap<u32, Link> =
            self.links.iter().filter_map(|(i, l)| Some((*i, self.link(l, twins)?))).collect();
        let mut network_config = NetworkConfig {
            links: ours.values().cloned().collect(),
            addresses: self.addresses.iter().filter_map(|row| self.address(row)).collect(),
            rules: self.rules.clone(),
            ..NetworkConfig::default()
        };
        let asked = self.routes.iter().filter(|(key, _)| self.is_asked(key.table));
        network_config.routes = asked.filter_map(|(key, hops)| self.route(key, hops.first()?)).collect();
        for ((interface, address), mac) in &self.neighbours {
            if let Some(link) = ours.get(interface) {
                network_config.neighbours.push(Neighbour {
                    link: link.name.clone(),
                    address: *address,
                    mac: *mac,
                });
            }
        }
        network_config.links.sort();
        network_config.addresses.sort();
        network_config.routes.sort();
        network_config.routes.dedup();
        network_config.neighbours.sort();
        network_config
    }

    /// A twin, or a VLAN sub-interface on one, as a link; any other interface is none.
    fn link(&self, interface: &Interface, twins: &[Twin]) -> Option<Link> {
        let (base, vlan) = match interface.tagged {
            None => (interface, None),
            Some((below, tag)) => (self.links.get(&below)?, Some(tag)),
        };
        let twin = twins.iter().find(|t| t.ifname == base.name && base.tagged.is_none())?;
        if vlan.is_some() && twin.vlan.is_some() {
            // Two tags, one in the other, are not carried.
            return None;
        }
        Some(Link {
            name: interface.name.clone(),
            port: twin.port.clone(),
            vlan: twin.vlan.or(vlan),
            mac: interface.mac?,
            mtu: interface.mtu,
        })
    }

    fn address(&self, row: &AddressRow) -> Option<Address> {
        let link = self.links.get(&row.interface)?.name.clone();
        Some(Address { address: row.address, prefix_len: row.prefix_len, link })
    }

    fn route(&self, key: &RouteKey, hop: &Hop) -> Option<Route> {
        // A route by an interface we have not heard of yet would look like one without an interface.
        let link = match hop.interface {
            None => None,
            Some(index) => Some(self.links.get(&index)?.name.clone()),
        };
        Some(Route {
            destination: key.destination,
            kind: hop.kind,
            via: hop.via,
            link,
            mtu: hop.mtu,
            source: hop.source,
            metric: key.metric,
            // What the local table says is told by the kind of a route.
            table: if key.table == LOCAL { MAIN } else { key.table },
        })
    }
}

fn changed(yes: bool) -> Effect {
    if yes { Effect::Changed } else { Effect::None }
}

#[cfg(test)]
mod tests;

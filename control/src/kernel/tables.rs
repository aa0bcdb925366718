//! A copy of the kernel's tables, keyed so that a change costs one lookup instead of a dump.
//!
//! Some changes cannot be followed individually: the kernel removes IPv4 routes without a message when an interface
//! goes down or an address is removed, and the order of several routes with the same key is not in the messages. After
//! such changes the mirror reads the routes again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteMessage;

use super::netlink::Twin;
use super::parse::{self, AddressRow, Interface, RouteEntry, RouteKey};
use super::rtnetlink::Message;
use crate::model::network::{Address, LOCAL, Link, MAIN, Mac, Neighbour, NetworkState, Route, Rule};

/// Effect of a message on the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nothing relevant changed.
    None,
    /// The tables changed and are up to date.
    Changed,
    /// The routes must be read again.
    StaleRoutes,
}

/// Links, addresses, routes, rules and neighbours of one network namespace, by interface index as the kernel has them.
#[derive(Debug, Default)]
pub(super) struct Tables {
    links: BTreeMap<u32, Interface>,
    addresses: BTreeSet<AddressRow>,
    routes: BTreeMap<RouteKey, Vec<RouteEntry>>,
    /// Rules by priority, then in the order of arrival.
    rules: Vec<Rule>,
    neighbours: BTreeMap<(u32, IpAddr), Mac>,
}

impl Tables {
    /// Applies a change.
    pub(super) fn apply(&mut self, message: &Message) -> Effect {
        match &message.body {
            RouteNetlinkMessage::NewLink(m) => self.new_link(m),
            RouteNetlinkMessage::DelLink(m) => self.del_link(m),
            RouteNetlinkMessage::NewAddress(m) => {
                parse::address(m).map_or(Effect::None, |row| changed(self.addresses.insert(row)))
            }
            RouteNetlinkMessage::DelAddress(m) => match parse::address(m) {
                // Routes with this preferred source are removed too, without a message.
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

    /// Adds a row of a dump; routes arrive in order of preference.
    pub(super) fn load(&mut self, row: &RouteNetlinkMessage) {
        match row {
            RouteNetlinkMessage::NewRoute(m) => {
                if let Some((key, entry)) = parse::route(m) {
                    self.routes.entry(key).or_default().push(entry);
                }
            }
            other => {
                self.apply(&Message { flags: 0, body: other.clone() });
            }
        }
    }

    /// Removes all routes, before they are read again.
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

    /// With one route per key, changes can be followed; with more, only the kernel knows their order.
    fn new_route(&mut self, message: &RouteMessage, replaces: bool) -> Effect {
        let Some((key, entry)) = parse::route(message) else { return Effect::None };
        match self.routes.get_mut(&key).map(Vec::as_mut_slice) {
            None => {
                self.routes.insert(key, vec![entry]);
                Effect::Changed
            }
            Some([old]) if *old == entry && !entry.multipath => Effect::None,
            Some([old]) if replaces && !entry.multipath && !old.multipath => {
                *old = entry;
                Effect::Changed
            }
            Some(_) => Effect::StaleRoutes,
        }
    }

    fn del_route(&mut self, message: &RouteMessage) -> Effect {
        let Some((key, entry)) = parse::route(message) else { return Effect::None };
        match self.routes.get(&key).map(Vec::as_slice) {
            Some([only]) if *only == entry && !entry.multipath => {
                self.routes.remove(&key);
                Effect::Changed
            }
            _ => Effect::StaleRoutes,
        }
    }

    /// The kernel has no duplicate rules; a rule that is reported twice was in a dump and in a message.
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

    /// Returns true if lookups may use this table.
    fn is_used(&self, table: u32) -> bool {
        [MAIN, LOCAL].contains(&table) || self.rules.iter().any(|rule| rule.table == table)
    }

    /// Returns the network state, sorted.
    pub(super) fn network_state(&self, twins: &[Twin]) -> NetworkState {
        let ours: BTreeMap<u32, Link> =
            self.links.iter().filter_map(|(i, l)| Some((*i, self.link(*i, l, twins)?))).collect();
        let mut network_state = NetworkState {
            links: ours.values().cloned().collect(),
            addresses: self.addresses.iter().filter_map(|row| self.address(row)).collect(),
            rules: self.rules.clone(),
            ..NetworkState::default()
        };
        let used = self.routes.iter().filter(|(key, _)| self.is_used(key.table));
        network_state.routes = used.filter_map(|(key, hops)| self.route(key, hops.first()?)).collect();
        for ((interface, address), mac) in &self.neighbours {
            if let Some(link) = ours.get(interface) {
                network_state.neighbours.push(Neighbour {
                    link: link.name.clone(),
                    address: *address,
                    mac: *mac,
                });
            }
        }
        network_state.links.sort();
        network_state.addresses.sort();
        network_state.routes.sort();
        network_state.routes.dedup();
        network_state.neighbours.sort();
        network_state
    }

    /// Converts a twin, or a VLAN sub-interface on one; other interfaces are not links.
    fn link(&self, index: u32, interface: &Interface, twins: &[Twin]) -> Option<Link> {
        let (base, vlan) = match interface.tagged {
            None => (interface, None),
            Some((below, tag)) => (self.links.get(&below)?, Some(tag)),
        };
        let twin = twins.iter().find(|t| t.ifname == base.name && base.tagged.is_none())?;
        if vlan.is_some() && twin.vlan.is_some() {
            // Double tagging is not supported.
            return None;
        }
        Some(Link {
            name: interface.name.clone(),
            port: twin.port.clone(),
            vlan: twin.vlan.or(vlan),
            up: interface.state.0,
            mac: interface.mac?,
            other_macs: self.macs_on_top(index, interface),
            mtu: interface.mtu,
        })
    }

    /// MAC addresses of the macvlans, bridges and bonds on top of an interface that are up, without its own. Their frames
    /// arrive on it, without another tag.
    fn macs_on_top(&self, index: u32, interface: &Interface) -> Vec<Mac> {
        let (mut on_top, mut macs) = (vec![index], BTreeSet::new());
        let mut next = 0;
        while let Some(&below) = on_top.get(next) {
            next += 1;
            let master = self.links.get(&below).and_then(|interface| interface.master);
            for (index, above) in &self.links {
                let is_above = above.macvlan_on == Some(below) || master == Some(*index);
                if is_above && above.state.0 && !on_top.contains(index) {
                    on_top.push(*index);
                    macs.extend(above.mac.filter(|mac| Some(*mac) != interface.mac));
                }
            }
        }
        macs.into_iter().collect()
    }

    fn address(&self, row: &AddressRow) -> Option<Address> {
        let link = self.links.get(&row.interface)?.name.clone();
        Some(Address { address: row.address, prefix_len: row.prefix_len, link })
    }

    fn route(&self, key: &RouteKey, entry: &RouteEntry) -> Option<Route> {
        // Without this, a route over an interface that is not known yet would look like one without an interface.
        let link = match entry.interface {
            None => None,
            Some(index) => Some(self.links.get(&index)?.name.clone()),
        };
        Some(Route {
            destination: key.destination,
            kind: entry.kind,
            via: entry.via,
            link,
            mtu: entry.mtu,
            source: entry.source,
            metric: key.metric,
            // Routes of the local table have kind `local`.
            table: if key.table == LOCAL { MAIN } else { key.table },
        })
    }
}

fn changed(is_changed: bool) -> Effect {
    if is_changed { Effect::Changed } else { Effect::None }
}

#[cfg(test)]
mod tests;

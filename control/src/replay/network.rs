//! Changes of the recorded machine's network by commands of `ip`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fwmarks::{network, number};
use super::topology::route;
use crate::model::Family;
use crate::model::network::{Address, LOCAL, MAIN, Mac, Neighbour, NetworkState, Route, RouteKind, Rule};

/// A change made by a command of `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkChange {
    /// Adds a route.
    AddRoute {
        /// The route.
        route: Route,
        /// Replaces an existing route to the same destination.
        replace: bool,
    },
    /// Removes the route to a destination.
    RemoveRoute(IpNet, u32),
    /// Flushes a table; `None` is the route cache with its path MTUs.
    FlushRoutes(Option<u32>),
    /// Adds a rule.
    AddRule(Rule),
    /// Removes a rule.
    RemoveRule(Rule),
    /// Adds an address and the route to its network.
    AddAddress(Address),
    /// Removes both.
    RemoveAddress(Address),
    /// Sets a link's MTU.
    SetMtu(String, u32),
    /// Adds or changes a neighbour.
    SetNeighbour(Neighbour),
    /// Removes a neighbour.
    RemoveNeighbour(String, IpAddr),
}

type Words<'a> = std::vec::IntoIter<&'a str>;

impl NetworkChange {
    /// Parses a command; `None` if it is not supported.
    pub fn parse(words: &[String]) -> Option<NetworkChange> {
        let mut words = words.iter().map(String::as_str).collect::<Vec<_>>().into_iter();
        if words.next() != Some("ip") {
            return None;
        }
        let mut family = Family::Ipv4;
        let mut object = words.next()?;
        while let "-4" | "-6" = object {
            family = if object == "-6" { Family::Ipv6 } else { Family::Ipv4 };
            object = words.next()?;
        }
        let verb = words.next()?;
        match object {
            "route" | "r" | "ro" => route_change(family, verb, words),
            "rule" | "ru" => rule_change(family, verb, words),
            "addr" | "address" | "a" => address_change(verb, words),
            "link" | "l" => mtu_change(verb, words),
            "neigh" | "neighbour" | "n" => neighbour_change(verb, words),
            _ => None,
        }
    }

    /// Applies the change.
    ///
    /// # Errors
    /// The message of `ip`, which ends with status 2.
    pub fn apply(self, network_state: &mut NetworkState) -> Result<(), &'static str> {
        const EXISTS: Result<(), &str> = Err("RTNETLINK answers: File exists");
        const MISSING: Result<(), &str> = Err("RTNETLINK answers: No such process");
        const NO_FILE: Result<(), &str> = Err("RTNETLINK answers: No such file or directory");
        match self {
            NetworkChange::AddRoute { route, replace } => {
                let exists = |old: &Route| same_route(old, &route);
                if !replace && network_state.routes.iter().any(exists) {
                    return EXISTS;
                }
                network_state.routes.retain(|old| !exists(old));
                network_state.routes.push(route);
            }
            NetworkChange::RemoveRoute(destination, table) => {
                let is_it = |old: &Route| old.destination == destination && old.table == table;
                match network_state.routes.iter().position(is_it) {
                    Some(at) => drop(network_state.routes.remove(at)),
                    None => return MISSING,
                }
            }
            NetworkChange::FlushRoutes(table) => network_state.routes.retain(|old| Some(old.table) != table),
            NetworkChange::AddRule(rule) if network_state.rules.contains(&rule) => return EXISTS,
            NetworkChange::AddRule(rule) => add_rule(network_state, rule),
            NetworkChange::RemoveRule(rule) => {
                match network_state.rules.iter().position(|old| matches_rule(&rule, old)) {
                    Some(at) => drop(network_state.rules.remove(at)),
                    None => return NO_FILE,
                }
            }
            NetworkChange::AddAddress(address) => {
                network_state.routes.push(route_to(&address).ok_or("RTNETLINK answers: Invalid argument")?);
                network_state.addresses.push(address);
            }
            NetworkChange::RemoveAddress(address) => {
                network_state.addresses.retain(|old| *old != address);
                network_state.routes.retain(|old| Some(old) != route_to(&address).as_ref());
            }
            NetworkChange::SetMtu(name, mtu) => {
                network_state
                    .links
                    .iter_mut()
                    .filter(|link| link.name == name)
                    .for_each(|link| link.mtu = mtu);
            }
            NetworkChange::SetNeighbour(new) => {
                network_state.neighbours.retain(|old| (&old.link, old.address) != (&new.link, new.address));
                network_state.neighbours.push(new);
            }
            NetworkChange::RemoveNeighbour(link, address) => {
                network_state.neighbours.retain(|old| old.link != link || old.address != address);
            }
        }
        Ok(())
    }
}

fn same_route(a: &Route, b: &Route) -> bool {
    (a.destination, a.table, a.metric) == (b.destination, b.table, b.metric)
}

/// A rule without a priority is evaluated before the existing ones.
fn add_rule(network_state: &mut NetworkState, mut rule: Rule) {
    if rule.priority == 0 {
        let first = network_state.rules.iter().map(|old| old.priority).min();
        rule.priority = first.unwrap_or(32766).saturating_sub(1);
    }
    network_state.rules.push(rule);
    network_state.rules.sort_by_key(|rule| rule.priority);
}

/// Returns true if `wanted`, which may have no priority, matches this rule.
fn matches_rule(wanted: &Rule, rule: &Rule) -> bool {
    let priority = if wanted.priority == 0 { rule.priority } else { wanted.priority };
    Rule { priority, ..wanted.clone() } == *rule
}

fn route_to(address: &Address) -> Option<Route> {
    let net = IpNet::new(address.address, address.prefix_len).ok()?;
    Some(route(net.trunc(), None, &address.link))
}

fn default(family: Family) -> IpNet {
    match family {
        Family::Ipv4 => IpNet::V4(Default::default()),
        Family::Ipv6 => IpNet::V6(Default::default()),
    }
}

fn table(word: &str) -> Option<u32> {
    match word {
        "main" => Some(MAIN),
        "local" => Some(LOCAL),
        number => number.parse().ok(),
    }
}

fn route_change(family: Family, verb: &str, mut words: Words<'_>) -> Option<NetworkChange> {
    if matches!(verb, "flush" | "f") {
        return match words.as_slice() {
            ["cache"] => Some(NetworkChange::FlushRoutes(None)),
            ["table", name] => Some(NetworkChange::FlushRoutes(Some(table(name)?))),
            _ => None,
        };
    }
    let mut first = words.next()?;
    let kind = match first {
        "local" => RouteKind::Local,
        "unreachable" => RouteKind::Unreachable,
        "blackhole" => RouteKind::Blackhole,
        "prohibit" => RouteKind::Prohibit,
        _ => RouteKind::Unicast,
    };
    if kind != RouteKind::Unicast || first == "unicast" {
        first = words.next()?;
    }
    let destination = if first == "default" { default(family) } else { network(first)? };
    let mut new = Route { kind, link: None, ..route(destination, None, "") };
    while let Some(word) = words.next() {
        match word {
            "via" => new.via = Some(words.next()?.parse().ok()?),
            "dev" => new.link = Some(words.next()?.to_owned()),
            "table" => new.table = table(words.next()?)?,
            "mtu" => {
                let value = words.next()?;
                let value = if value == "lock" { words.next()? } else { value };
                new.mtu = Some(value.parse().ok()?);
            }
            "metric" => new.metric = words.next()?.parse().ok()?,
            "src" => new.source = Some(words.next()?.parse().ok()?),
            "proto" | "scope" => drop(words.next()?),
            "onlink" => {}
            _ => return None,
        }
    }
    match verb {
        "add" | "a" | "replace" | "change" => {
            // The gateway determines the link.
            if new.link.is_none() {
                new.link = Some(super::topology::link_to(new.via?)?.to_owned());
            }
            Some(NetworkChange::AddRoute { route: new, replace: verb == "replace" || verb == "change" })
        }
        "del" | "delete" | "d" => Some(NetworkChange::RemoveRoute(destination, new.table)),
        _ => None,
    }
}

fn rule_change(family: Family, verb: &str, mut words: Words<'_>) -> Option<NetworkChange> {
    let mut rule = Rule { family: Some(family), ..Rule::default() };
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word {
            "from" | "to" if value == "all" => {}
            "from" => rule.from = Some(network(value)?),
            "to" => rule.to = Some(network(value)?),
            "fwmark" => rule.fwmark = Some(number(value)?),
            "lookup" | "table" => rule.table = table(value)?,
            "pref" | "priority" | "prio" | "preference" => rule.priority = value.parse().ok()?,
            _ => return None,
        }
    }
    match verb {
        "add" | "a" => Some(NetworkChange::AddRule(rule)),
        "del" | "delete" | "d" => Some(NetworkChange::RemoveRule(rule)),
        _ => None,
    }
}

fn address_change(verb: &str, mut words: Words<'_>) -> Option<NetworkChange> {
    let text = words.next()?;
    let (address, prefix_len) = match text.split_once('/') {
        Some((address, length)) => (address.parse().ok()?, length.parse().ok()?),
        None => {
            let address: IpAddr = text.parse().ok()?;
            (address, if address.is_ipv4() { 32 } else { 128 })
        }
    };
    let mut link = None;
    while let Some(word) = words.next() {
        match word {
            "dev" => link = Some(words.next()?.to_owned()),
            "nodad" => {}
            _ => return None,
        }
    }
    let address = Address { address, prefix_len, link: link? };
    match verb {
        "add" | "a" | "replace" => Some(NetworkChange::AddAddress(address)),
        "del" | "delete" | "d" => Some(NetworkChange::RemoveAddress(address)),
        _ => None,
    }
}

fn mtu_change(verb: &str, words: Words<'_>) -> Option<NetworkChange> {
    match (verb, words.as_slice()) {
        ("set", ["dev", name, "mtu", mtu] | [name, "mtu", mtu]) => {
            Some(NetworkChange::SetMtu((*name).to_owned(), mtu.parse().ok()?))
        }
        _ => None,
    }
}

fn neighbour_change(verb: &str, mut words: Words<'_>) -> Option<NetworkChange> {
    let address = words.next()?.parse().ok()?;
    let (mut link, mut mac) = (None, None::<Mac>);
    while let Some(word) = words.next() {
        match word {
            "dev" => link = Some(words.next()?.to_owned()),
            "lladdr" => mac = Some(words.next()?.parse().ok()?),
            "nud" => drop(words.next()?),
            _ => return None,
        }
    }
    let link = link?;
    match verb {
        "add" | "replace" | "change" => {
            Some(NetworkChange::SetNeighbour(Neighbour { link, address, mac: mac? }))
        }
        "del" | "delete" => Some(NetworkChange::RemoveNeighbour(link, address)),
        _ => None,
    }
}

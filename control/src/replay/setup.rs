//! What a case sets up and changes besides its services: sysctls, and routes of the recorded machine.

use ipnet::IpNet;

use super::topology::route;
use crate::kernel::facts::{Facts, Route, RouteKind};
use crate::model::Settings;

/// Sets one sysctl; false when we have none of that name.
pub fn sysctl(settings: &mut Settings, name: &str, value: &str) -> bool {
    let (Some(name), Ok(number)) = (name.strip_prefix("net.ipv4.vs."), value.trim().parse::<i32>()) else {
        return false;
    };
    match name {
        "conn_reuse_mode" => settings.conn_reuse_mode = number,
        "expire_nodest_conn" => settings.expire_nodest_conn = number,
        "sloppy_tcp" => settings.sloppy_tcp = number,
        "nat_icmp_send" => settings.nat_icmp_send = number,
        "pmtu_disc" => settings.pmtu_disc = number,
        _ => return false,
    }
    true
}

/// A change of the routing table, from a command of `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// Adds it, or replaces the one to the same destination.
    Set(Route),
    /// Removes the one to this destination.
    Remove(IpNet),
}

impl RouteChange {
    /// Reads `ip [-6] route add|replace NET via ROUTER dev DEV [mtu N]` and `ip [-6] route del NET`.
    pub fn read(command: &str) -> Option<RouteChange> {
        let mut words = command.strip_prefix("ip ")?.split_whitespace().filter(|w| *w != "-6");
        if words.next() != Some("route") {
            return None;
        }
        let verb = words.next()?;
        let destination = words.next()?.parse().ok()?;
        match verb {
            "del" if words.next().is_none() => Some(RouteChange::Remove(destination)),
            "add" | "replace" => RouteChange::rest(destination, words).map(RouteChange::Set),
            _ => None,
        }
    }

    fn rest<'a>(destination: IpNet, mut words: impl Iterator<Item = &'a str>) -> Option<Route> {
        let (mut via, mut link, mut mtu) = (None, None, None);
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word {
                "via" => via = Some(value.parse().ok()?),
                "dev" => link = Some(port(value)?),
                "mtu" => mtu = Some(value.parse().ok()?),
                _ => return None,
            }
        }
        Some(Route { mtu, ..route(destination, via, link?) })
    }

    /// Carries it out.
    pub fn apply(self, facts: &mut Facts) {
        let destination = match &self {
            RouteChange::Set(route) => route.destination,
            RouteChange::Remove(destination) => *destination,
        };
        facts.routes.retain(|r| r.destination != destination || r.kind != RouteKind::Unicast);
        if let RouteChange::Set(route) = self {
            facts.routes.push(route);
        }
    }
}

/// The recorded machine's interfaces, by the names of our ports.
fn port(device: &str) -> Option<&'static str> {
    match device {
        "vec0" => Some("client"),
        "vec1" => Some("server"),
        _ => None,
    }
}

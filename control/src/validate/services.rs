//! Services and destinations: keys, families, addresses, ports, weights and how many fit.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::fault::Faults;
use crate::kernel::facts::Facts;
use crate::model::{Config, Destination, Family, Method, Service};

/// The largest weight; schedulers multiply weights and counts as signed 32-bit numbers, as IPVS does.
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

pub(super) fn services(config: &Config, faults: &mut Faults) {
    let mut seen = HashMap::new();
    for (index, new) in config.services.iter().enumerate() {
        let place = format!("services[{index}]");
        if let Some(first) = seen.insert(new.key(), index) {
            faults.add(
                &place,
                format!("{} is the service of services[{first}] again", new.key()),
                "remove one, or give it another address, l4_port or protocol",
            );
        }
        capacity_of_family(config, new, &place, faults);
        service(&place, new, config.facts.as_ref(), faults);
    }
    let destinations = config.services.iter().map(|s| s.destinations.len()).sum();
    fits("services", config.services.len(), config.start.services, faults);
    fits("destinations", destinations, config.start.destinations, faults);
}

fn fits(what: &str, wanted: usize, allowed: u32, faults: &mut Faults) {
    if wanted > allowed as usize {
        let problem = format!("there are {wanted} {what} and start.{what} allows {allowed}");
        faults.add("services", problem, format!("raise start.{what} and restart polluxd"));
    }
}

fn capacity_of_family(config: &Config, service: &Service, place: &str, faults: &mut Faults) {
    let (family, name, capacity) = match service.key.family() {
        Family::Ipv4 => ("IPv4", "connections_ipv4", config.start.connections_ipv4),
        Family::Ipv6 => ("IPv6", "connections_ipv6", config.start.connections_ipv6),
    };
    if capacity == 0 {
        faults.add(
            format!("{place}.address"),
            format!("is {family} and start.{name} is 0"),
            format!("set start.{name} to the connections you expect"),
        );
    }
}

/// Checks one service and its destinations. `facts` are the static ones, if any: they say which addresses are local.
pub fn service(place: &str, service: &Service, facts: Option<&Facts>, faults: &mut Faults) {
    if service.key.l4_port() == 0 {
        faults.add(
            format!("{place}.l4_port"),
            "0 means every port, which needs persistence, and persistence is not there yet",
            "name one port; use a service for each",
        );
    }
    let mut seen = HashMap::new();
    for (index, new) in service.destinations.iter().enumerate() {
        let place = format!("{place}.destinations[{index}]");
        if let Some(first) = seen.insert(new.key(), index) {
            faults.add(
                &place,
                format!("{} is the destination of destinations[{first}] again", new.key()),
                "remove one; to give a server a larger share, raise its weight",
            );
        }
        destination(&place, service, new, facts, faults);
    }
}

/// Checks one destination of a service.
pub fn destination(
    place: &str,
    service: &Service,
    new: &Destination,
    facts: Option<&Facts>,
    faults: &mut Faults,
) {
    if new.weight > MAX_WEIGHT {
        faults.add(
            format!("{place}.weight"),
            format!("{} is above {MAX_WEIGHT}", new.weight),
            "use a smaller number or scale all weights down",
        );
    }
    l4_port(place, service, new, faults);
    let local = || facts.is_some_and(|f| f.addresses.iter().any(|a| a.address == new.address));
    if let Some(kind) = not_unicast(new.address).filter(|_| !local()) {
        faults.add(
            format!("{place}.address"),
            format!("{} is {kind}", new.address),
            "use the server's own unicast address, for IPv6 one that is not link-local",
        );
    }
    if new.address.is_ipv4() != (service.key.family() == Family::Ipv4) && new.method != Method::Tunnel {
        faults.add(
            format!("{place}.address"),
            format!("{} and the service {} are of different families", new.address, service.key),
            "use an address of the service's family, or method tunnel",
        );
    }
}

fn l4_port(place: &str, service: &Service, new: &Destination, faults: &mut Faults) {
    let place = format!("{place}.l4_port");
    if new.l4_port == 0 {
        faults.add(place, "0 is no port a server can listen on", "use the server's port");
    } else if new.method != Method::Nat && new.l4_port != service.key.l4_port() {
        faults.add(
            place,
            format!(
                "{} is not the service's {}, and only nat can change it",
                new.l4_port,
                service.key.l4_port()
            ),
            format!("use {}, or method nat", service.key.l4_port()),
        );
    }
}

/// What an address is, if no single server can have it.
fn not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("of 0.0.0.0/8, this network"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V4(_) => None,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address in disguise"),
        IpAddr::V6(_) => None,
    }
}

//! Services: keys, persistence, one-packet scheduling and how many fit.

use hashbrown::HashMap;

use super::destinations::destination;
use crate::model::input_error::InputErrors;
use crate::model::modules;
use crate::model::network_config::NetworkConfig;
use crate::model::{Config, Engine, Family, Persistence, Protocol, Scheduler, Service, ServiceKey};

/// The longest persistence time-out: 31 days.
pub const MAX_PERSISTENCE: u32 = 31 * 24 * 3600;
/// Places in the lookup table of `mh`; each destination needs one.
pub const MH_SLOTS: usize = 4093;

pub(super) fn services(config: &Config, errors: &mut InputErrors) {
    let mut seen = HashMap::new();
    for (index, new) in config.services.iter().enumerate() {
        let place = format!("services[{index}]");
        if let Some(first) = seen.insert(new.key(), index) {
            errors.add(
                &place,
                format!("{} is the service of services[{first}] again", new.key()),
                "remove one, or give it another address, l4_port, protocol or fwmark",
            );
        }
        capacity_of_family(config, new, &place, errors);
        service(&place, new, config.network.as_ref(), errors);
        modules::service(&place, new, &config.settings.disabled_modules, errors);
    }
    let destinations = config.services.iter().map(|s| s.destinations.len()).sum();
    fits("services", config.services.len(), config.start.services, errors);
    fits("destinations", destinations, config.start.destinations, errors);
}

fn fits(what: &str, wanted: usize, allowed: u32, errors: &mut InputErrors) {
    if wanted > allowed as usize {
        let error = format!("there are {wanted} {what} and start.{what} allows {allowed}");
        errors.add("services", error, format!("raise start.{what} and restart polluxd"));
    }
}

fn capacity_of_family(config: &Config, service: &Service, place: &str, errors: &mut InputErrors) {
    let (family, name, capacity) = match service.key.family() {
        Family::Ipv4 => ("IPv4", "connections_ipv4", config.start.connections_ipv4),
        Family::Ipv6 => ("IPv6", "connections_ipv6", config.start.connections_ipv6),
    };
    let field = if matches!(service.key, ServiceKey::Fwmark { .. }) { "family" } else { "address" };
    if capacity == 0 {
        errors.add(
            format!("{place}.{field}"),
            format!("is {family} and start.{name} is 0"),
            format!("set start.{name} to the connections you expect"),
        );
    }
}

/// Checks one service and its destinations. `network_config` are the static ones, if any: they say which addresses are local.
///
/// Switches of another scheduler are no fault: IPVS keeps them too, and they wait for their scheduler.
pub fn service(
    place: &str,
    service: &Service,
    network_config: Option<&NetworkConfig>,
    errors: &mut InputErrors,
) {
    key(place, service, errors);
    let may_be_udp = match service.key {
        ServiceKey::Address { protocol, .. } => protocol == Protocol::Udp,
        ServiceKey::Fwmark { .. } => true,
    };
    if service.ops && !may_be_udp {
        errors.add(
            format!("{place}.ops"),
            format!("is only for UDP, and the service is {}", service.key),
            "leave it out, or use protocol udp or a fwmark",
        );
    }
    if let Some(wanted) = &service.persistence {
        persistence(&format!("{place}.persistence"), service.key.family(), wanted, errors);
        if wanted.engine == Some(Engine::Sip) && !may_be_udp {
            errors.add(
                format!("{place}.persistence.engine"),
                "sip reads UDP and drops all else",
                "leave it out, or use protocol udp or a fwmark",
            );
        }
    }
    destinations(place, service, network_config, errors);
}

fn key(place: &str, service: &Service, errors: &mut InputErrors) {
    match service.key {
        ServiceKey::Address { l4_port: 0, .. } if service.persistence.is_none() => errors.add(
            format!("{place}.l4_port"),
            "0 means every port, which needs persistence",
            "add persistence, or name one port",
        ),
        ServiceKey::Fwmark { fwmark: 0, .. } => {
            errors.add(format!("{place}.fwmark"), "0 is the fwmark of packets without one", "use 1 or more");
        }
        _ => {}
    }
}

fn persistence(place: &str, family: Family, wanted: &Persistence, errors: &mut InputErrors) {
    if !(1..=MAX_PERSISTENCE).contains(&wanted.timeout) {
        errors.add(
            format!("{place}.timeout"),
            format!("{} seconds is outside 1 to {MAX_PERSISTENCE}", wanted.timeout),
            "use a number between, or leave it out for 360",
        );
    }
    if wanted.netmask.is_some() && family == Family::Ipv6 {
        errors.add(
            format!("{place}.netmask"),
            "is for IPv4 and the service is IPv6",
            "use prefix_len for IPv6 clients",
        );
    }
    match wanted.prefix_len {
        Some(_) if family == Family::Ipv4 => errors.add(
            format!("{place}.prefix_len"),
            "is for IPv6 and the service is IPv4",
            "use netmask for IPv4 clients, 255.255.255.0 for a /24",
        ),
        Some(length) if !(1..=128).contains(&length) => errors.add(
            format!("{place}.prefix_len"),
            format!("{length} is outside 1 to 128"),
            "use the length of the prefix that one client has, often 64",
        ),
        _ => {}
    }
}

/// Checks that the scheduler has places for so many destinations.
pub fn count_destinations(place: &str, service: &Service, count: usize, errors: &mut InputErrors) {
    if service.scheduler == Scheduler::Mh && count > MH_SLOTS {
        errors.add(
            format!("{place}.destinations"),
            format!("there are {count}, and mh has places for {MH_SLOTS}"),
            "remove some, or use another scheduler",
        );
    }
}

fn destinations(
    place: &str,
    service: &Service,
    network_config: Option<&NetworkConfig>,
    errors: &mut InputErrors,
) {
    count_destinations(place, service, service.destinations.len(), errors);
    let mut seen = HashMap::new();
    for (index, new) in service.destinations.iter().enumerate() {
        let place = format!("{place}.destinations[{index}]");
        if let Some(first) = seen.insert(new.key(), index) {
            errors.add(
                &place,
                format!("{} is the destination of destinations[{first}] again", new.key()),
                "remove one; to give a server a larger share, raise its weight",
            );
        }
        destination(&place, service, new, network_config, errors);
    }
}

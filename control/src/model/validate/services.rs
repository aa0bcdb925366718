//! Services: keys, persistence, one-packet scheduling (OPS), and limits on their number.

use hashbrown::HashMap;

use super::destinations::destination;
use crate::model::edit::limit_reached;
use crate::model::input_error::InputErrors;
use crate::model::modules;
use crate::model::network::NetworkState;
use crate::model::{Config, Engine, Family, Persistence, Protocol, Scheduler, Service, ServiceKey, Start};

/// Longest persistence timeout in seconds: 31 days.
pub const MAX_PERSISTENCE: u32 = 31 * 24 * 3600;
/// Entries in the lookup table of `mh`; each destination needs at least one.
pub const MH_SLOTS: usize = pollux_dataplane::sched::mh::SLOTS;

pub(super) fn services(config: &Config, errors: &mut InputErrors) {
    let mut seen = HashMap::new();
    for (index, new) in config.services.iter().enumerate() {
        let location = format!("services[{index}]");
        if let Some(first) = seen.insert(new.key, index) {
            errors.add(
                &location,
                format!("{} is already services[{first}]", new.key),
                "remove one, or give it another address, l4_port, protocol or fwmark",
            );
        }
        capacity_of_family(&config.start, new, &location, errors);
        service(&location, new, config, errors);
    }
    let destinations = config.services.iter().map(|s| s.destinations.len()).sum();
    fits("services", config.services.len(), config.start.services, errors);
    fits("destinations", destinations, config.start.destinations, errors);
}

fn fits(what: &str, wanted: usize, allowed: u32, errors: &mut InputErrors) {
    if wanted > allowed as usize {
        let error = format!("{}, and there are {wanted}", limit_reached(what, allowed));
        errors.add("services", error, format!("raise start.{what} and restart polluxd"));
    }
}

/// Checks that there are connections of the service's family. Returns false if there are none.
pub fn capacity_of_family(
    start: &Start,
    service: &Service,
    location: &str,
    errors: &mut InputErrors,
) -> bool {
    let (family, name, capacity) = match service.key.family() {
        Family::Ipv4 => ("IPv4", "connections_ipv4", start.connections_ipv4),
        Family::Ipv6 => ("IPv6", "connections_ipv6", start.connections_ipv6),
    };
    let field = if matches!(service.key, ServiceKey::Fwmark { .. }) { "family" } else { "address" };
    if capacity == 0 {
        errors.add(
            format!("{location}.{field}"),
            format!("{} is {family}, but start.{name} is 0", service.key),
            format!("set start.{name} to the expected number of connections and restart polluxd"),
        );
    }
    capacity > 0
}

/// Checks one service and its destinations. `config` says which addresses are local and which modules are off.
///
/// As in IPVS, flags that the scheduler does not use are accepted and stored.
pub fn service(location: &str, service: &Service, config: &Config, errors: &mut InputErrors) {
    key(location, service, errors);
    let may_be_udp = match service.key {
        ServiceKey::Address { protocol, .. } => protocol == Protocol::Udp,
        ServiceKey::Fwmark { .. } => true,
    };
    if service.ops && !may_be_udp {
        errors.add(
            format!("{location}.ops"),
            format!("OPS is only for UDP, and the service is {}", service.key),
            "leave it out, or use protocol udp or a fwmark",
        );
    }
    if let Some(wanted) = &service.persistence {
        persistence(&format!("{location}.persistence"), service.key.family(), wanted, errors);
        if wanted.engine == Some(Engine::Sip) && !may_be_udp {
            errors.add(
                format!("{location}.persistence.engine"),
                format!("engine sip is only for UDP, and the service is {}", service.key),
                "leave it out, or use protocol udp or a fwmark",
            );
        }
    }
    destinations(location, service, config.network.as_ref(), errors);
    modules::service(location, service, &config.settings.disabled_modules, errors);
}

fn key(location: &str, service: &Service, errors: &mut InputErrors) {
    match service.key {
        ServiceKey::Address { l4_port: 0, .. } if service.persistence.is_none() => errors.add(
            format!("{location}.l4_port"),
            "0 matches any port, which needs persistence",
            "add persistence, or use a single port",
        ),
        ServiceKey::Fwmark { fwmark: 0, .. } => {
            errors.add(format!("{location}.fwmark"), "0 is the mark of unmarked packets", "use 1 or more");
        }
        _ => {}
    }
}

fn persistence(location: &str, family: Family, wanted: &Persistence, errors: &mut InputErrors) {
    errors.range(
        format!("{location}.timeout"),
        wanted.timeout,
        "seconds",
        1..=MAX_PERSISTENCE,
        "use a number in this range, or leave it out for 360",
    );
    if let Some(mask) = wanted.netmask.filter(|_| family == Family::Ipv6) {
        errors.add(
            format!("{location}.netmask"),
            format!("{mask} is an IPv4 mask, and the service is IPv6"),
            "use prefix_len for IPv6 clients",
        );
    }
    match wanted.prefix_len {
        Some(length) if family == Family::Ipv4 => errors.add(
            format!("{location}.prefix_len"),
            format!("{length} is an IPv6 prefix length, and the service is IPv4"),
            "use netmask for IPv4 clients, such as 255.255.255.0 for a /24",
        ),
        Some(length) => {
            let hint = "use the length of the prefix that a client has, often 64";
            errors.range(format!("{location}.prefix_len"), length, "", 1..=128, hint);
        }
        None => {}
    }
}

/// Checks the number of destinations against the limit of the scheduler.
pub fn count_destinations(location: &str, service: &Service, count: usize, errors: &mut InputErrors) {
    if service.scheduler == Scheduler::Mh && count > MH_SLOTS {
        errors.add(
            format!("{location}.destinations"),
            format!("{count} destinations are too many for mh, the maximum is {MH_SLOTS}"),
            "remove some, or use another scheduler",
        );
    }
}

fn destinations(
    location: &str,
    service: &Service,
    network_state: Option<&NetworkState>,
    errors: &mut InputErrors,
) {
    count_destinations(location, service, service.destinations.len(), errors);
    let mut seen = HashMap::new();
    for (index, new) in service.destinations.iter().enumerate() {
        let location = format!("{location}.destinations[{index}]");
        if let Some(first) = seen.insert(new.key(), index) {
            errors.add(
                &location,
                format!("{} is already destinations[{first}]", new.key()),
                "remove one; to give a server a larger share, raise its weight",
            );
        }
        destination(&location, service, new, network_state, errors);
    }
}

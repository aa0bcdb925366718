//! Incremental compilation yields the same lookup tables and adjacencies as a complete rebuild.

use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::service::{self, Method, Services, Tunnel};
use proptest::prelude::*;

use super::*;
use crate::engine::compile::protocol_number;
use crate::model::{Destination, Family, Persistence, Protocol, Service, ServiceKey};

/// Returns the lookup tables, rebuilt from all services and destinations. A destination whose method is, or was, NAT is
/// a source of replies.
fn rebuilt(compiler: &Compiler, from: &Services) -> Services {
    let mut made = Services {
        services: from.services.clone(),
        destinations: from.destinations.clone(),
        ..Services::default()
    };
    for (id, service) in (0..).map(ServiceId).zip(&from.services) {
        let Some(service) = service else { continue };
        match service.key {
            service::ServiceKey::Address(endpoint, protocol) => {
                let family = usize::from(endpoint.address.is_ipv6());
                made.hooked[family] = true;
                made.any_port[family] |= endpoint.l4_port == 0;
                made.ftp[family] |= endpoint.l4_port == 21;
                made.addresses.insert(endpoint.address);
                made.by_endpoint.insert((endpoint, protocol), id);
                let calls = protocol == 17 && endpoint.l4_port != 0 && service.persistence.unwrap().sip;
                for &id in service.destinations.iter().filter(|_| calls) {
                    let known = from.destination(id).unwrap();
                    if known.method == Method::Nat && known.endpoint.l4_port != 0 {
                        made.call_openers.entry(known.endpoint).or_insert(id);
                    }
                }
            }
            service::ServiceKey::Fwmark { fwmark, ipv6 } => {
                made.hooked[usize::from(ipv6)] = true;
                made.by_fwmark.insert((fwmark, ipv6), id);
            }
        }
    }
    for (id, known) in (0..).map(DestinationId).zip(&from.destinations) {
        let Some(known) = known else { continue };
        if let Method::Tunnel(Tunnel::Gue { l4_port, .. }) = known.method {
            made.gue_ends.insert(Endpoint { l4_port, ..known.endpoint });
        }
        if !compiler.nat.contains(&id) {
            continue;
        }
        let service = compiler.destination_key(id).unwrap().0;
        made.addresses.insert(known.endpoint.address);
        if known.endpoint.l4_port == 0 || matches!(service.l4_port(), 0 | 21) {
            made.nat_addresses.insert(known.endpoint.address);
        }
        let of_service = match service {
            ServiceKey::Address { protocol, .. } => Some(protocol_number(protocol)),
            ServiceKey::Fwmark { .. } => None,
        };
        for protocol in [6, 17, 132].into_iter().filter(|number| of_service.is_none_or(|own| own == *number))
        {
            let available = known.available && known.method == Method::Nat;
            *made.nat_sources.entry((known.endpoint, protocol)).or_default() |= available;
        }
    }
    made
}

fn key(number: u8) -> ServiceKey {
    match number {
        0 => ServiceKey::Fwmark { fwmark: 1, family: Family::Ipv4 },
        1 => ServiceKey::Fwmark { fwmark: 1, family: Family::Ipv6 },
        2 => ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 9, 9, 1].into(), l4_port: 21 },
        3 => ServiceKey::Address { protocol: Protocol::Udp, address: [10, 0, 2, 1].into(), l4_port: 0 },
        4 => ServiceKey::Address { protocol: Protocol::Udp, address: [10, 9, 9, 2].into(), l4_port: 5060 },
        5 => ServiceKey::Address { protocol: Protocol::Udp, address: [10, 9, 9, 3].into(), l4_port: 5060 },
        _ => ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 9, 9, 1].into(), l4_port: 80 },
    }
}

fn destination() -> impl Strategy<Value = Destination> {
    (0..3u8, 0..2u16, 0..3u8, 0..3u32).prop_map(|(server, l4_port, method, weight)| {
        let method = [model::Method::Nat, model::Method::Dr, model::Method::Tunnel][usize::from(method)];
        let tunnel = model::Tunnel::Gue { l4_port: 6080, checksum: model::Checksum::No };
        let tunnel = if method == model::Method::Tunnel { tunnel } else { model::Tunnel::Ipip };
        let address = [10, 0, 2, server + 1].into();
        Destination { tunnel, weight, ..Destination::new(address, l4_port, method) }
    })
}

fn service() -> impl Strategy<Value = Service> {
    let scheduler = prop_oneof![Just(model::Scheduler::Rr), Just(model::Scheduler::Sh)];
    (0..7u8, prop::collection::vec(destination(), 0..5), scheduler, any::<bool>()).prop_map(
        |(number, mut given, scheduler, sip)| {
            given.sort_by_key(Destination::key);
            given.dedup_by_key(|destination| destination.key());
            let engine = sip.then_some(model::Engine::Sip);
            let persistence = Some(Persistence { engine, ..Persistence::default() });
            Service { destinations: given, scheduler, persistence, ..Service::new(key(number)) }
        },
    )
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    prop::collection::vec(service(), 0..5).prop_map(|mut given| {
        given.sort_by_key(|service| service.key);
        given.dedup_by_key(|service| service.key);
        given
    })
}

/// Returns a generation as text that can be compared, independent of the order of maps.
fn text(services: &Services) -> Vec<String> {
    let mut text = vec![format!("{:?} {:?}", services.services, services.destinations)];
    text.push(format!("{:?} {:?} {:?}", services.hooked, services.any_port, services.ftp));
    let mut more: Vec<String> = services.by_endpoint.iter().map(|entry| format!("{entry:?}")).collect();
    more.extend(services.by_fwmark.iter().map(|entry| format!("fwmark {entry:?}")));
    more.extend(services.nat_sources.iter().map(|entry| format!("source {entry:?}")));
    more.extend(services.nat_addresses.iter().map(|entry| format!("nat {entry:?}")));
    more.extend(services.addresses.iter().map(|entry| format!("address {entry:?}")));
    more.extend(services.call_openers.iter().map(|entry| format!("caller {entry:?}")));
    more.extend(services.gue_ends.iter().map(|entry| format!("gue {entry:?}")));
    more.sort();
    text.extend(more);
    text
}

/// Returns the adjacencies as text, with tunnel headers by value.
fn adjacencies(snapshot: &Snapshot) -> Vec<String> {
    let text = |adjacency: &pollux_dataplane::config::Adjacency| {
        let fields =
            (adjacency.ether, adjacency.port, adjacency.mtu, adjacency.is_available(), adjacency.is_open());
        format!("{fields:?} {:?}", snapshot.tunnel_headers.get(adjacency.tunnel_header()))
    };
    snapshot.adjacencies.iter().map(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn incremental_lookups_equal_rebuilt_ones(
        steps in prop::collection::vec((services(), any::<bool>(), any::<bool>()), 1..8)
    ) {
        let start = model::Start { services: 8, destinations: 64, ..model::Start::default() };
        let network_state = crate::replay::topology::network_state();
        let mut compiler = Compiler::new(&start, network_state.links.iter().map(|link| link.port.clone()));
        compiler.set_network(&network_state).unwrap();
        let mut held = Vec::new();
        for ((services, hold, empty_trash), step) in steps.into_iter().zip(1..) {
            let mut config = Config { services: services.into(), ..Config::default() };
            let known = compiler.config().services.clone();
            config.services.share_with(&known);
            let (snapshot, _) = compiler.configure(&config, seconds(step * 100)).unwrap();
            // A slow worker still holds the previous generation, which must not be modified.
            if hold {
                held.push((snapshot.services.clone(), text(&snapshot.services)));
            }
            drop(snapshot);
            if empty_trash {
                compiler.empty_trash(seconds(step * 100), |id| u64::from(id.0 % 2));
            }
            let now = compiler.snapshot().services.clone();
            prop_assert_eq!(text(&now), text(&rebuilt(&compiler, &now)));
            let mut complete = compiler.snapshot().clone();
            complete.build_lookups();
            prop_assert_eq!(adjacencies(&complete), adjacencies(compiler.snapshot()));
            for service in &config.services {
                let compiled = now.service(compiler.service_id(&service.key).unwrap()).unwrap();
                prop_assert_eq!(compiled.destinations.len(), service.destinations.len());
                for destination in &service.destinations {
                    let id = compiler.destination_id(&(service.key, destination.key())).unwrap();
                    let known = now.destination(id).unwrap();
                    prop_assert!(known.available && compiled.destinations.contains(&id));
                    prop_assert_eq!(known.weight, destination.weight);
                    prop_assert!(compiler.snapshot().target(known.target).is_some());
                }
            }
        }
        for (services, before) in held {
            prop_assert_eq!(text(&services), before, "a published generation does not change");
        }
    }
}

#[test]
fn unused_addresses_are_freed() {
    let start = model::Start { services: 2, destinations: 4, ..model::Start::default() };
    let mut compiler = Compiler::new(&start, []);
    for n in 1..=50u8 {
        let (snapshot, _) = compiler.configure(&web("rr", &[(n, 1)]), seconds(u64::from(n) * 1000)).unwrap();
        let id = compiler.destination_id(&(
            web("rr", &[]).services[0].key,
            web("rr", &[(n, 1)]).services[0].destinations[0].key(),
        ));
        assert!(snapshot.services.destination(id.unwrap()).is_some(), "server {n}");
        assert!(snapshot.targets.len() <= 4);
        compiler.empty_trash(seconds(u64::from(n) * 1000 + 500), |_| 0);
    }
}

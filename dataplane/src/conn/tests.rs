//! The table against a model.

mod extra;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::entry::Endpoints;
use super::*;
use crate::flow::{Endpoint, Seed};
use crate::service::{DestinationId, Method};
use crate::testkit::{at, v4};
use crate::time::{Millis, Tick};

const SIZES: Sizes = Sizes { ipv4: 24, ipv6: 12, extra: 6 };

/// The only worker's share of the templates.
const ALL: template::Share = template::Share { worker: 0, workers: 1 };

fn table() -> Table {
    Table::new(SIZES, Seed(1, 2)).unwrap()
}

fn endpoints(client: u8, v6: bool) -> Endpoints {
    let address = |net: u8, host: u8| -> IpAddr {
        if v6 {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, net.into(), host.into()).into()
        } else {
            Ipv4Addr::new(10, 0, net, host).into()
        }
    };
    let at = |net, host, l4_port| Endpoint { address: address(net, host), l4_port };
    Endpoints { client: at(1, client, 4000), virtual_: at(9, 1, 80), destination: at(2, client % 3, 8080) }
}

fn new(client: u8, v6: bool, nat: bool) -> NewConnection {
    NewConnection {
        endpoints: endpoints(client, v6),
        protocol: 6,
        destination: 0,
        flags: Flags::of(if nat { Method::Nat } else { Method::Dr }),
        template: None,
        timeout: Millis(1000),
    }
}

proptest! {
    #[test]
    fn the_table_behaves_as_a_map(steps in proptest::collection::vec((0u8..40, any::<bool>(), any::<bool>(), any::<bool>()), 1..300)) {
        let mut table = table();
        let mut model: HashMap<(u8, bool), (ConnId, bool)> = HashMap::new();
        for (client, v6, nat, add) in steps {
            match (model.get(&(client, v6)).copied(), add) {
                (None, true) => {
                    let held = model.keys().filter(|key| key.1 == v6).count() as u32;
                    let id = table.insert(&new(client, v6, nat), Tick(0));
                    prop_assert_eq!(id.is_some(), held < if v6 { SIZES.ipv6 } else { SIZES.ipv4 });
                    if let Some(id) = id { model.insert((client, v6), (id, nat)); }
                }
                (Some((id, _)), false) => { table.remove(id); model.remove(&(client, v6)); }
                _ => {}
            }
            for client in 0..40 {
                for v6 in [false, true] {
                    let key = endpoints(client, v6).key_in(6).unwrap();
                    let known = model.get(&(client, v6)).map(|&(id, _)| (id, Direction::In));
                    prop_assert_eq!(table.find(table.hash(&key), &key), known);
                    let out = endpoints(client, v6).key_out(6).unwrap();
                    let reply = model.get(&(client, v6)).filter(|c| c.1).map(|&(id, _)| (id, Direction::Out));
                    prop_assert_eq!(table.find(table.hash(&out), &out), reply);
                }
            }
        }
        prop_assert_eq!(table.used().ipv4 + table.used().ipv6, model.len() as u32);
    }
}

#[test]
fn the_last_packet_of_a_connection_starts_its_timeout() {
    let mut table = table();
    let id = table.insert(&new(1, false, true), Tick(0)).unwrap();
    table.touch(id, Millis(5000), Tick(900));
    assert_eq!(table.pop_expired(Tick(5800), &mut 10), None);
    assert_eq!(table.pop_expired(Tick(5940), &mut 10), Some(id));
}

#[test]
fn a_shorter_timeout_takes_effect_immediately() {
    let mut table = table();
    let id = table.insert(&new(1, true, true), Tick(0)).unwrap();
    table.touch(id, Millis(900_000), Tick(10));
    table.touch(id, Millis(10_000), Tick(20));
    assert_eq!(table.pop_expired(Tick(10_100), &mut 10), Some(id));
}

#[test]
fn an_ipv4_nat_connection_costs_at_most_95_bytes() {
    let table = Table::new(Sizes { ipv4: 1 << 20, ipv6: 0, extra: 0 }, Seed(1, 2)).unwrap();
    assert!(table.bytes() >> 20 <= 95, "{} bytes", table.bytes() >> 20);
}

#[test]
fn every_connection_is_listed_once() {
    let mut table = table();
    let made: Vec<_> = (0..7).map(|c| table.insert(&new(c, c % 2 == 0, true), Tick(0)).unwrap()).collect();
    let (mut listed, mut at) = (Vec::new(), Some(0));
    while let Some(from) = at {
        let (id, next) = table.next_live(from, 3);
        listed.extend(id);
        at = next;
    }
    listed.sort();
    let mut made = made;
    made.sort();
    assert_eq!(listed, made);
}

/// Two workers find no template and both add one: the second gets the template of the first.
#[test]
fn concurrent_workers_share_one_template() {
    let templates = template::Templates::new(4);
    let client = endpoints(1, false).client;
    let key = template::Key {
        protocol: 6,
        client: client.address,
        service: template::TemplateService::Address(client.address, 80),
        data: Box::default(),
    };
    let to = |n| template::NewTemplate {
        destination: DestinationId(n),
        endpoint: client,
        method: Method::Dr,
        timeout: Millis(1000),
        ops: false,
    };
    let [first, second] = [1, 2].map(|n| templates.make(key.clone(), to(n), Tick(0)).unwrap());
    assert_eq!((first.fresh, second.fresh, templates.len()), (true, false, 1));
    assert_eq!((second.template, second.destination), (first.template, DestinationId(1)));
    // Both connections keep it alive, long after its timeout.
    let mut gone = Vec::new();
    templates.expire(ALL, Tick(500_000), |id| gone.push(id));
    assert_eq!((templates.release_child(first.template, false), templates.len()), (None, 1));
    templates.release_child(first.template, false);
    templates.expire(ALL, Tick(1_000_000), |id| gone.push(id));
    assert_eq!((gone, templates.len()), (vec![DestinationId(1)], 0));
}

/// A scan examines a few templates at a time, covers all shards, and continues where it stopped.
#[test]
fn templates_of_removed_destinations_are_removed_step_by_step() {
    let templates = template::Templates::new(4096);
    for n in 0..200_u32 {
        let client = at(v4(10, 0, (n >> 8) as u8, n as u8), 0);
        let service = template::TemplateService::Address(client.address, 80);
        let key = template::Key { protocol: 6, client: client.address, service, data: Box::default() };
        let (method, timeout) = (Method::Dr, Millis(1000));
        let destination = DestinationId(n % 2);
        let new = template::NewTemplate { destination, endpoint: client, method, timeout, ops: false };
        let claim = templates.make(key, new, Tick(0)).unwrap();
        // One in ten keeps a connection.
        (n % 10 != 0).then(|| templates.release_child(claim.template, false));
    }
    let (mut from, mut gone, mut steps) = (Some(0), 0, 0);
    while let Some(at) = from {
        let before = gone;
        from = templates.retain(at, 3, |id| id.0 == 1, |_| gone += 1);
        assert!(gone - before <= 3);
        steps += 1;
    }
    assert_eq!((gone, templates.len()), (80, 120));
    assert!(steps >= 200 / 3, "{steps} steps");
    assert_eq!(templates.retain(1 << 40, 3, |_| false, |_| ()), None, "nothing follows the last shard");
}

/// The IPv4 address fields of an IPv6 connection are zero.
#[test]
fn an_ipv4_packet_with_zero_addresses_matches_no_ipv6_connection() {
    let mut table = table();
    let id = table.insert(&new(1, true, true), Tick(0)).unwrap();
    let nowhere = crate::flow::Key4::new(0, 0, endpoints(1, true).key_in(6).unwrap().ports(), 6);
    let slot = super::index::Slot::new(id, Direction::In);
    assert_eq!(table.confirm(crate::cpu::Generic, slot, &nowhere), None);
}

/// A stale slot does not match once its connection is removed.
#[test]
fn a_removed_connection_matches_no_packet() {
    for v6 in [false, true] {
        let mut table = table();
        let id = table.insert(&new(1, v6, true), Tick(0)).unwrap();
        let (slot, key) = (super::index::Slot::new(id, Direction::In), endpoints(1, v6).key_in(6).unwrap());
        let confirm = |table: &Table| match &key {
            crate::flow::Key::V4(key) => table.confirm(crate::cpu::Generic, slot, key),
            crate::flow::Key::V6(key) => table.confirm6(crate::cpu::Generic, slot, key),
        };
        assert_eq!(confirm(&table), Some((id, Direction::In)));
        table.remove(id);
        assert_eq!(confirm(&table), None);
    }
}

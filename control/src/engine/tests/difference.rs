//! `config.apply` changes only what differs: connections, counters and scheduler state of the rest are kept.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::bed::{Bed, datagram};
use super::*;

/// Returns a service with the servers 10.0.2.N and these weights, and a number of other services.
fn config(weights: &[(u8, u32)], others: u16) -> Value {
    let server = |(n, weight): &(u8, u32)| json!({ "address": format!("10.0.2.{n}"), "l4_port": 53, "method": "nat", "weight": weight });
    let servers: Vec<Value> = weights.iter().map(server).collect();
    let mut services =
        vec![json!({ "protocol": "udp", "address": "10.9.9.1", "l4_port": 53, "scheduler": "rr",
        "destinations": servers })];
    services.extend((0..others).map(|n| {
        json!({ "protocol": "udp", "address": "10.9.9.2", "l4_port": 1000 + n,
            "destinations": [{ "address": "10.0.2.40", "l4_port": 53, "method": "nat" }] })
    }));
    json!({ "start": start(1024), "services": services })
}

/// Returns the sizes of a bed with one worker, with another number of services.
fn start(services: u32) -> Value {
    json!({ "services": services, "destinations": 4096, "templates": 64, "connections_ipv4": 65536, "connections_ipv6": 64 })
}

fn apply(bed: &mut Bed, config: &Value) -> Value {
    ask(&mut bed.engine, "config.apply", json!({ "config": config })).unwrap()
}

fn live(bed: &mut Bed) -> Value {
    let list = ask(&mut bed.engine, "service.list", json!({})).unwrap();
    let in_packets = |destination: &Value| destination["live"]["in_packets"].clone();
    list["services"][0]["destinations"].as_array().unwrap().iter().map(in_packets).collect()
}

#[test]
fn an_apply_keeps_connections_counters_and_scheduler_state() {
    let mut bed = Bed::new(1);
    apply(&mut bed, &config(&[(11, 1), (12, 1), (13, 1)], 3));
    assert_eq!([1, 2, 3, 4].map(|port| bed.server_of(port)), [13, 12, 11, 13], "the newest first");
    let applied = apply(&mut bed, &config(&[(11, 1), (12, 1), (13, 1)], 5));
    assert_eq!(
        (applied["added"].as_array().unwrap().len(), applied["changed"].as_array().unwrap().len()),
        (2, 0)
    );
    assert_eq!([5, 6].map(|port| bed.server_of(port)), [12, 11], "the position of round robin is kept");
    let applied = apply(&mut bed, &config(&[(11, 1), (12, 1), (13, 7)], 1));
    assert_eq!(applied["changed"][0]["changed"][0]["fields"], json!(["weight: 1 -> 7"]));
    assert_eq!(applied["removed"].as_array().unwrap().len(), 4);
    assert_eq!([7, 8, 9].map(|port| bed.server_of(port)), [13, 12, 11], "also where a weight changed");
    assert_eq!([1, 2, 3].map(|port| bed.server_of(port)), [13, 12, 11], "connections stay");
    assert_eq!(live(&mut bed), json!([4, 4, 4]), "and so do counters");
    apply(&mut bed, &config(&[(11, 1), (12, 1), (13, 0), (14, 1)], 1));
    assert_eq!([1, 4, 7].map(|port| bed.server_of(port)), [13, 13, 13], "with weight 0 too");
    assert_eq!(live(&mut bed), json!([4, 4, 7, 0]));
    let again = apply(&mut bed, &config(&[(11, 1), (12, 1), (13, 0), (14, 1)], 1));
    let nothing = json!({ "added": [], "removed": [], "changed": [], "settings": [], "fwmarks": false, "network": false,
        "needs_restart": [], "dry_run": false });
    assert_eq!(again, nothing);
}

#[test]
fn applying_the_running_configuration_is_no_edit() {
    let mut bed = Bed::new(1);
    apply(&mut bed, &config(&[(11, 1), (12, 1)], 0));
    let generation = bed.engine.default_namespace.compiler.snapshot().generation;
    assert_eq!(bed.server_of(1), 12);
    apply(&mut bed, &config(&[(11, 1), (12, 1)], 0));
    assert_eq!((bed.server_of(2), bed.server_of(3)), (11, 12));
    assert_eq!(bed.engine.default_namespace.compiler.snapshot().generation, generation + 1);
    assert_eq!(bed.engine.default_namespace.compiler.changes().destinations_set.len(), 0);
}

/// Two workers forward every packet while services are added and removed and weights change.
#[test]
fn no_packet_is_lost_during_an_apply() {
    const PACKETS: u32 = 20_000;
    let mut bed = Bed::new(2);
    apply(&mut bed, &config(&[(11, 1), (12, 1), (13, 1)], 10));
    let (wires, done) = (bed.wires.clone(), AtomicBool::new(false));
    let (applies, out) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut out = 0;
            for number in 0..PACKETS {
                wires[number as usize % 2][0].put(&datagram((number % 10_000) as u16 + 1000));
                out += take(&wires);
            }
            let began = Instant::now();
            while out < PACKETS && began.elapsed() < Duration::from_secs(20) {
                out += take(&wires);
                std::thread::yield_now();
            }
            done.store(true, Relaxed);
            out
        });
        let mut applies = 0;
        while !done.load(Relaxed) {
            applies += 1;
            let weights = [(11, 1 + applies % 3), (12, 1), (13, 1 + applies % 2)];
            apply(&mut bed, &config(&weights, (applies % 7 * 30) as u16));
            bed.engine.tick();
        }
        (applies, sender.join().unwrap())
    });
    let stats = ask(&mut bed.engine, "stats.get", json!({})).unwrap();
    let workers = stats["workers"].as_array().unwrap();
    let dropped: u64 =
        workers.iter().flat_map(|w| w["drops"].as_object().unwrap().values()).filter_map(Value::as_u64).sum();
    assert_eq!((out, dropped), (PACKETS, 0), "{stats:#}");
    assert_eq!(stats["live"]["in_packets"], json!(PACKETS));
    assert!(applies > 3, "{applies}");
}

fn take(wires: &[[pollux_dataplane::io::mem::Wire; 2]]) -> u32 {
    let taken = wires.iter().flat_map(|wires| std::iter::from_fn(|| wires[1].take()));
    taken.count() as u32
}

#[test]
fn exceeding_a_limit_of_start_is_refused_and_needs_a_restart() {
    let mut bed = Bed::new(1);
    let mut more = config(&[(11, 1)], 1100);
    more["start"] = start(2000);
    for dry_run in [true, false] {
        let refused =
            ask(&mut bed.engine, "config.apply", json!({ "config": more, "dry_run": dry_run })).unwrap_err();
        assert_eq!((refused.code(), refused.data().errno), (-32001, Some(Errno::ENoMem)));
        let expected = "the limit of 1024 services is reached; raise start.services and restart polluxd";
        assert!(refused.to_string().starts_with(expected), "{refused}");
    }
    let mut fits = config(&[(11, 1)], 1);
    fits["start"] = more["start"].clone();
    let applied = apply(&mut bed, &fits);
    assert_eq!(applied["needs_restart"], json!(["start.services: 1024 -> 2000"]));
    let add = |n: u32| json!({ "service": { "fwmark": n } });
    for n in 1..=1022 {
        ask(&mut bed.engine, "service.add", add(n)).unwrap();
    }
    let refused = ask(&mut bed.engine, "service.add", add(1023)).unwrap_err();
    assert_eq!((refused.code(), refused.data().errno), (-32001, Some(Errno::ENoMem)), "{refused}");
    assert!(refused.to_string().starts_with("the limit of 1024 services is reached"), "{refused}");
    let edits = json!([{ "method": "service.flush", "params": {} }, { "method": "service.add", "params": add(1023) }]);
    let edited = ask(&mut bed.engine, "config.edit", json!({ "edits": edits })).unwrap();
    assert_eq!(edited["done"], json!(2), "{edited}");
}

#[test]
fn needs_restart_lists_what_differs_from_the_sizes_in_effect() {
    let mut bed = Bed::new(1);
    let sized = |services| json!({ "start": start(services) });
    let rows = [
        (2000, json!(["start.services: 1024 -> 2000"])),
        (2000, json!(["start.services: 1024 -> 2000"])),
        (1024, json!([])),
    ];
    for (services, expected) in rows {
        assert_eq!(apply(&mut bed, &sized(services))["needs_restart"], expected, "{services}");
    }
}

#[test]
fn a_service_needs_connections_of_its_family() {
    let mut bed = Bed::new(1);
    let mut config = json!({ "start": start(1024) });
    config["start"]["connections_ipv6"] = json!(0);
    apply(&mut bed, &config);
    let service = json!({ "service": { "protocol": "tcp", "address": "2001:db8::1", "l4_port": 80 } });
    let refused = ask(&mut bed.engine, "service.add", service).unwrap_err();
    assert_eq!((refused.code(), refused.data().errors[0].location.as_str()), (-32602, "service.address"));
}

#[test]
fn a_malformed_digest_and_an_empty_page_are_refused() {
    let mut bed = Bed::new(1);
    let digests = ["zz", "1f4", "1f4-12", "-0123456789abcdef", "1f4-0123456789abcdeg"];
    for digest in digests {
        let apply = json!({ "config": {}, "dry_run": true, "digest": digest });
        let refused = ask(&mut bed.engine, "config.apply", apply).unwrap_err();
        assert_eq!(refused.data().errors[0].location, "digest", "{digest}");
    }
    let apply = json!({ "config": {}, "dry_run": true, "digest": "1f4-0123456789abcdef" });
    ask(&mut bed.engine, "config.apply", apply).unwrap();
    let refused = ask(&mut bed.engine, "connection.list", json!({ "limit": 0 })).unwrap_err();
    assert_eq!(refused.to_string(), "limit: a page of 0 connections never ends; use 1 to 10000");
}

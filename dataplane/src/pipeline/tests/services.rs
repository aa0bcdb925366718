//! Services of every kind: fwmarks, any port, persistence, OPS, thresholds, and services without destinations.

use std::sync::Arc;

use super::bed::*;
use crate::config::{FwmarkRule, Snapshot};
use crate::conn::Sizes;
use crate::flow::Endpoint;
use crate::service::{Method, Persistence, Service, ServiceKey};
use crate::time::Millis;
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;

/// The plan's snapshot with its service changed.
pub(super) fn with_service(plan: &Plan, change: impl FnOnce(&mut Service)) -> Snapshot {
    let mut snapshot = plan.snapshot();
    let services = Arc::make_mut(&mut snapshot.services);
    let service = services.services[0].as_mut().unwrap();
    change(service);
    let key = service.key;
    services.by_endpoint.clear();
    match key {
        ServiceKey::Address(endpoint, protocol) => {
            services.any_port[0] = endpoint.l4_port == 0;
            services.ftp[0] = endpoint.l4_port == 21;
            services.by_endpoint.insert((endpoint, protocol), crate::service::ServiceId(0));
        }
        ServiceKey::Fwmark { fwmark, ipv6 } => {
            _ = services.by_fwmark.insert((fwmark, ipv6), crate::service::ServiceId(0))
        }
    }
    snapshot
}

pub(super) fn sticky(timeout_secs: u32) -> Option<Persistence> {
    Some(Persistence { timeout: Millis::from_secs(timeout_secs), mask: 0xffff_ff00, sip: false })
}

fn plan() -> Plan {
    Plan { servers: 3, ..Plan::new(Method::Dr) }
}

/// The server that a frame was sent to. All have the same hardware address, so it is read from the connection's entry.
fn served_by(bed: &Bed, client: Endpoint, to: Endpoint) -> Option<u32> {
    let key = crate::flow::Key::between(client, to, protocol::TCP)?;
    let conns = &bed.worker.default_namespace.pipeline.conns;
    let (id, _) = conns.find(conns.hash(&key), &key)?;
    Some(conns.entry(id).destination)
}

#[test]
fn clients_of_one_network_share_a_destination() {
    let plan = plan();
    let mut bed = plan.bed_with(with_service(&Plan { servers: 3, ..Plan::new(Method::Dr) }, |service| {
        service.persistence = sticky(50);
    }));
    let bed = bed.as_mut().unwrap();
    let neighbours = [at(v4(192, 0, 2, 10), 1000), at(v4(192, 0, 2, 77), 1001)];
    let stranger = at(v4(198, 51, 100, 1), 1000);
    for client in [neighbours[0], stranger, neighbours[1]] {
        bed.client_sends(&tcp(client, vip(), "S"));
    }
    let server_of = |client| served_by(bed, client, vip());
    assert_eq!(server_of(neighbours[0]), server_of(neighbours[1]));
    assert_ne!(server_of(neighbours[0]), server_of(stranger));
    assert_eq!(bed.worker.default_namespace.pipeline.shared.templates.len(), 2);
}

#[test]
fn a_template_expires_after_its_connections_and_timeout() {
    let snapshot = with_service(&plan(), |service| service.persistence = sticky(50));
    let mut bed = plan().bed_with(snapshot).unwrap();
    bed.client_sends(&tcp(client(), vip(), "S"));
    // The connection's timeout is a minute, the template's 50 seconds: it is extended by a minute at a time.
    bed.at(59_000).worker.poll_once();
    assert_eq!(bed.worker.default_namespace.pipeline.shared.templates.len(), 1);
    bed.at(61_000).worker.poll_once();
    assert_eq!(
        (
            bed.worker.default_namespace.pipeline.conns.used().ipv4,
            bed.worker.default_namespace.pipeline.shared.templates.len()
        ),
        (0, 1)
    );
    bed.at(120_000).worker.poll_once();
    assert_eq!(bed.worker.default_namespace.pipeline.shared.templates.len(), 0);
}

#[test]
fn a_quiesced_destination_keeps_its_clients_unless_configured() {
    let snapshot = with_service(&plan(), |service| service.persistence = sticky(50));
    let mut bed = plan().bed_with(snapshot.clone()).unwrap();
    bed.client_sends(&tcp(client(), vip(), "S"));
    let first = served_by(&bed, client(), vip()).unwrap();
    let mut quiesced = snapshot;
    Arc::make_mut(&mut quiesced.services).destinations[first as usize].as_mut().unwrap().weight = 0;
    bed.worker.install(quiesced.clone(), &[]);
    let again = at(client().address, 2000);
    bed.client_sends(&tcp(again, vip(), "S"));
    assert_eq!(served_by(&bed, again, vip()), Some(first));
    quiesced.settings.expire_quiescent_template = true;
    bed.worker.install(quiesced, &[]);
    let third = at(client().address, 3000);
    bed.client_sends(&tcp(third, vip(), "S"));
    assert_ne!(served_by(&bed, third, vip()), Some(first));
}

#[test]
fn a_call_has_one_destination_whatever_its_port() {
    let plan = || Plan { protocol: protocol::UDP, ..plan() };
    let snapshot = with_service(&plan(), |service| {
        service.persistence = Some(Persistence { sip: true, ..sticky(50).unwrap() });
    });
    let mut bed = plan().bed_with(snapshot).unwrap();
    let invite = |port, call: &str| {
        let text = format!("INVITE sip:a@b SIP/2.0\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\r\n");
        udp(at(client().address, port), vip(), text.as_bytes())
    };
    for (port, call) in [(5060, "one"), (5061, "two"), (5062, "one"), (5063, "three")] {
        bed.client_sends(&invite(port, call));
    }
    let server_of = |port| {
        let key = crate::flow::Key::between(at(client().address, port), vip(), protocol::UDP).unwrap();
        let conns = &bed.worker.default_namespace.pipeline.conns;
        conns.find(conns.hash(&key), &key).map(|(id, _)| conns.entry(id).destination)
    };
    assert!(server_of(5060).is_some());
    assert_eq!(server_of(5060), server_of(5062));
    assert_ne!(server_of(5060), server_of(5061));
    bed.client_sends(&udp(client(), vip(), b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"));
    assert_eq!(bed.stats.counters.drops[DropReason::NoCallId as usize].get(), 1);
}

#[test]
fn templates_have_a_limit() {
    let snapshot = with_service(&plan(), |service| service.persistence = sticky(50));
    let sizes = Sizes { ipv4: 512, ipv6: 1, extra: 0 };
    let mut bed = Plan { sizes, ..plan() }.bed_with(snapshot).unwrap();
    for net in 0..255 {
        bed.client_sends(&tcp(at(v4(198, 51, net, 1), 1000), vip(), "S"));
    }
    assert!(bed.stats.counters.drops[DropReason::TemplatesFull as usize].get() > 0);
}

#[test]
fn an_any_port_service_accepts_and_keeps_every_port() {
    let snapshot = with_service(&plan(), |service| {
        service.key = ServiceKey::Address(at(vip().address, 0), protocol::TCP);
        service.persistence = sticky(50);
    });
    let mut bed = plan().bed_with(snapshot).unwrap();
    for l4_port in [80, 443] {
        bed.client_sends(&tcp(client(), at(vip().address, l4_port), "S"));
    }
    let server_of = |l4_port| served_by(&bed, client(), at(vip().address, l4_port));
    assert!(server_of(80).is_some() && server_of(80) == server_of(443));
}

#[test]
fn an_ftp_service_accepts_possible_data_connections_except_from_port_20() {
    let snapshot = with_service(&plan(), |service| {
        service.key = ServiceKey::Address(at(vip().address, 21), protocol::TCP);
        service.persistence = sticky(50);
    });
    let mut bed = plan().bed_with(snapshot).unwrap();
    let rows =
        [(40000, 21, true), (40001, 5000, true), (40002, 20, true), (40003, 443, false), (20, 5000, false)];
    for (from, to, taken) in rows {
        bed.client_sends(&tcp(at(client().address, from), at(vip().address, to), "S"));
        let found = served_by(&bed, at(client().address, from), at(vip().address, to));
        assert_eq!(found.is_some(), taken, "from {from} to {to}");
    }
}

#[test]
fn a_fwmark_selects_a_service() {
    let mut snapshot =
        with_service(&plan(), |service| service.key = ServiceKey::Fwmark { fwmark: 7, ipv6: false });
    snapshot.fwmarks = [FwmarkRule {
        destination: Some("10.9.9.0/24".parse().unwrap()),
        protocol: Some(protocol::TCP),
        l4_ports: vec![80..=80, 443..=443],
        fwmark: 7,
        ..FwmarkRule::default()
    }]
    .into();
    let mut bed = plan().bed_with(snapshot).unwrap();
    for (l4_port, taken) in [(443, true), (81, false)] {
        let to = at(vip().address, l4_port);
        bed.client_sends(&tcp(client(), to, "S"));
        assert_eq!(served_by(&bed, client(), to).is_some(), taken, "port {l4_port}");
    }
}

#[test]
fn ops_leaves_no_connection_behind() {
    let plan = || Plan { protocol: protocol::UDP, ..plan() };
    let mut bed = plan().bed_with(with_service(&plan(), |service| service.ops = true)).unwrap();
    for _ in 0..3 {
        bed.client_sends(&udp(client(), vip(), b"query"));
        assert!(bed.inside.take().is_some());
    }
    let served: Vec<u64> = bed.stats.destinations[..3].iter().map(|d| d.connections.get()).collect();
    assert_eq!((served, bed.worker.default_namespace.pipeline.conns.used().ipv4), (vec![1, 1, 1], 0));
}

/// Templates of OPS services are expired early by their packet count: one with more than eight packets stays.
#[test]
fn a_template_counts_the_packets_of_ops_connections() {
    for (packets, stays) in [(1, false), (9, true)] {
        let plan = || Plan { protocol: protocol::UDP, ..plan() };
        let mut snapshot = with_service(&plan(), |service| {
            service.ops = true;
            service.persistence = sticky(300);
        });
        snapshot.settings.drop_entry = true;
        let mut bed = plan().bed_with(snapshot).unwrap();
        for n in 0..packets {
            bed.client_sends(&udp(at(client().address, 1000 + n), vip(), b"query"));
        }
        bed.at(70_000).worker.poll_once();
        assert_eq!(
            bed.worker.default_namespace.pipeline.shared.templates.len() > 0,
            stays,
            "after {packets} packets"
        );
    }
}

#[test]
fn a_fwmark_service_without_destinations_is_bypassed() {
    let mut snapshot = with_service(&plan(), |service| {
        service.key = ServiceKey::Fwmark { fwmark: 7, ipv6: false };
        service.destinations.clear();
    });
    snapshot.settings.cache_bypass = true;
    snapshot.fwmarks = [FwmarkRule { fwmark: 7, ..FwmarkRule::default() }].into();
    // Marked packets are local by policy, though the address is not this machine's.
    let network = Arc::make_mut(&mut snapshot.network);
    let mut table = crate::config::RouteTable::default();
    table.routes4.insert("0.0.0.0/0".parse().unwrap(), crate::config::Route::Local);
    network.tables.push(table);
    network.rules.push(crate::config::Rule { ipv6: false, from: None, to: None, fwmark: Some(7), table: 0 });
    let mut bed = plan().bed_with(snapshot).unwrap();
    let beyond = at(v4(10, 0, 2, 9), 80);
    let frame = tcp(client(), beyond, "S");
    bed.client_sends(&frame);
    bed.client_sends(&tcp(client(), beyond, "A"));
    let got = bed.inside.take().expect("it went on");
    assert_eq!(&got[30..], &frame[30..], "only the TTL and its checksum change");
    assert!(bed.inside.take().is_some(), "and so did the next");
}

#[test]
fn an_overloaded_destination_gets_no_connections_until_below_its_threshold() {
    let limited = |plan: &Plan, upper| {
        let mut snapshot = plan.snapshot();
        let services = Arc::make_mut(&mut snapshot.services);
        services.destinations[0].as_mut().unwrap().upper = upper;
        snapshot
    };
    let plan = || Plan { sizes: Sizes { ipv4: 64, ipv6: 1, extra: 0 }, ..Plan::new(Method::Nat) };
    let mut bed = plan().bed_with(limited(&plan(), 4)).unwrap();
    let nth = |n: u16| at(client().address, 1000 + n);
    for n in 0..5 {
        bed.client_sends(&tcp(nth(n), vip(), "S"));
    }
    assert_eq!(bed.stats.counters.icmp_sent[IcmpReason::NoDestination as usize].get(), 1);
    // Two of four are less than three quarters.
    for n in 0..2 {
        bed.client_sends(&tcp(nth(n), vip(), "R"));
        bed.server_sends(&tcp(server(), nth(n), "R"));
    }
    bed.at(11_000).worker.poll_once();
    bed.client_sends(&tcp(nth(9), vip(), "S"));
    assert_eq!(bed.stats.destinations[0].connections.get(), 5);
}

#[test]
fn drop_packet_drops_one_new_connection_in_rate() {
    let mut plan = plan();
    plan.settings.drop_rate = 3;
    let mut bed = plan.build();
    for n in 0..6 {
        bed.client_sends(&tcp(at(client().address, 1000 + n), vip(), "S"));
    }
    assert_eq!(bed.stats.counters.drops[DropReason::Defence as usize].get(), 2);
    assert_eq!(bed.worker.default_namespace.pipeline.conns.used().ipv4, 4);
}

#[test]
fn drop_entry_expires_half_open_connections_and_spares_established_ones() {
    let mut plan = Plan::new(Method::Nat);
    plan.settings.drop_entry = true;
    let mut bed = plan.build();
    for n in 0..20 {
        bed.client_sends(&tcp(at(client().address, 1000 + n), vip(), "S"));
    }
    for flags in ["S", "A"] {
        bed.client_sends(&tcp(client(), vip(), flags));
    }
    for second in 1..3000 {
        bed.at(second * 10).worker.poll_once();
    }
    assert!(bed.stats.counters.expired_early.get() > 0);
    assert!(served_by(&bed, client(), vip()).is_some(), "the established one is there");
}

#[test]
fn schedule_icmp_opens_the_connection_that_an_error_quotes() {
    let error = error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4);
    let mut bed = plan().build();
    bed.client_sends(&error);
    assert_eq!(
        (bed.stats.counters.to_kernel.get(), bed.worker.default_namespace.pipeline.conns.used().ipv4),
        (1, 0)
    );
    let mut plan = plan();
    plan.settings.schedule_icmp = true;
    let mut bed = plan.build();
    bed.client_sends(&error);
    assert!(bed.inside.take().is_some() && served_by(&bed, client(), vip()).is_some());
    let mut plan = Plan { weight: 0, ..Plan::new(Method::Dr) };
    plan.settings.schedule_icmp = true;
    let mut bed = plan.build();
    bed.client_sends(&error);
    assert_eq!(bed.stats.counters.drops[DropReason::NoDestination as usize].get(), 1);
}

//! Trace events of packets, and their order.

use super::bed::*;
use crate::config::ProtocolSet;
use crate::service::Method;
use crate::trace::{Kind, Outcome, Record, Switches};
use crate::verdict::DropReason;
use crate::wire::protocol;

/// A worker with all sites up to this level enabled.
fn tracing_bed(level: u8) -> Bed {
    let on = Kind::ALL.iter().zip(Kind::SPECS).filter(|(_, spec)| spec.level <= level);
    let sites = on.flat_map(|(kind, spec)| (0..spec.modules.len() as u16).map(move |n| kind.first() + n));
    Plan { debug: Switches::of(sites), ..Plan::new(Method::Nat) }.build()
}

/// Drains the events.
fn drain_events(bed: &Bed) -> Vec<(Kind, Record)> {
    let events = &bed.worker.default_namespace.pipeline.rings.events;
    let kind = |record: &Record| {
        let before = Kind::ALL.iter().rev().find(|kind| kind.first() <= record.site);
        *before.unwrap()
    };
    std::iter::from_fn(|| events.pop()).map(|record| (kind(&record), record)).collect()
}

fn kinds(bed: &Bed) -> Vec<Kind> {
    drain_events(bed).iter().map(|(kind, _)| *kind).collect()
}

#[test]
fn a_new_connection_is_traced_step_by_step() {
    let mut bed = tracing_bed(12);
    kinds(&bed);
    bed.client_sends(&tcp(client(), vip(), "S"));
    let events = drain_events(&bed);
    let kinds: Vec<Kind> = events.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [
            Kind::Packet,
            Kind::Lookup,
            Kind::ServiceLookup,
            Kind::Scheduling,
            Kind::Chosen,
            Kind::Bound,
            Kind::Scheduled,
            Kind::TcpState,
            Kind::Verdict,
        ]
    );
    let state = events[7].1;
    assert_eq!((state.ends, state.words), ([client(), vip(), server()], [0, 2, 0, 3]));
    assert_eq!((events[8].1.words[0], events[8].1.protocol), (Outcome::Sent as u32, protocol::TCP));
}

#[test]
fn disabled_sites_are_not_traced() {
    let mut bed = tracing_bed(8);
    kinds(&bed);
    bed.client_sends(&tcp(client(), vip(), "S"));
    assert_eq!(kinds(&bed), [Kind::Scheduling, Kind::Chosen, Kind::Bound, Kind::Scheduled, Kind::TcpState]);
    bed.client_sends(&tcp(client(), vip(), "A"));
    assert_eq!(kinds(&bed), [Kind::TcpState]);
    bed.client_sends(&tcp(client(), vip(), "A"));
    assert_eq!(kinds(&bed), []);
}

#[test]
fn a_reply_and_an_expiry_are_traced() {
    let mut bed = tracing_bed(12);
    bed.client_sends(&tcp(client(), vip(), "S"));
    kinds(&bed);
    bed.server_sends(&tcp(server(), client(), "SA"));
    let reply = drain_events(&bed);
    assert_eq!(reply[1].1.words, [1, 1, 0, 0], "out, and hit");
    bed.at(61_000).worker.poll_once();
    assert_eq!(kinds(&bed), [Kind::Expired, Kind::Unbound]);
}

#[test]
fn failures_and_drops_are_traced_with_their_reason() {
    let mut bed = Plan { servers: 0, debug: Switches::of(0..Kind::SITES), ..Plan::new(Method::Nat) }.build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    let traced_kinds = kinds(&bed);
    for kind in [Kind::NoneAvailable, Kind::NoDestination, Kind::IcmpSent, Kind::Verdict] {
        assert!(traced_kinds.contains(&kind), "{kind:?} is not among {traced_kinds:?}");
    }
    let mut broken = tcp(client(), vip(), "S");
    broken[24] ^= 1;
    bed.client_sends(&broken);
    let events = drain_events(&bed);
    let why = events.iter().find(|(kind, _)| *kind == Kind::Unreadable).unwrap().1.words[0];
    assert_eq!(why, DropReason::BadIpChecksum as u32);
    assert_eq!(events.last().unwrap().1.words[..2], [Outcome::Dropped as u32, why]);
}

#[test]
fn packets_of_no_service_are_traced_as_the_kernels() {
    let mut bed = tracing_bed(12);
    kinds(&bed);
    bed.client_sends(&tcp(client(), at(vip().address, 81), "S"));
    let events = drain_events(&bed);
    assert_eq!(
        events.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        [Kind::Packet, Kind::Lookup, Kind::ServiceLookup, Kind::NotScheduled, Kind::Verdict]
    );
    assert_eq!(events[4].1.words[0], Outcome::Kernel as u32);
}

#[test]
fn a_traced_burst_has_the_same_result() {
    let run = |mut bed: Bed| {
        for n in 0..40_u16 {
            bed.outside.put(&tcp(at(client().address, 1000 + n % 20), vip(), "S"));
        }
        bed.worker.poll_once();
        bed.reconciles();
        std::iter::from_fn(|| bed.inside.take()).collect::<Vec<_>>()
    };
    let quiet = run(Plan::new(Method::Nat).build());
    assert_eq!(quiet.len(), 40);
    assert_eq!(run(tracing_bed(12)), quiet);
}

#[test]
fn lost_events_are_counted() {
    let mut bed = tracing_bed(12);
    for _ in 0..1000 {
        bed.client_sends(&tcp(client(), vip(), "S"));
    }
    assert_eq!(bed.worker.default_namespace.pipeline.rings.events.len(), 2048);
    assert!(bed.stats.counters.events_lost.get() > 500);
}

#[test]
fn packets_of_a_disabled_protocol_go_to_the_kernel() {
    let plan = Plan::new(Method::Nat);
    let mut snapshot = plan.snapshot();
    let mut bed = plan.build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    snapshot.settings.protocols_off = ProtocolSet::of(&[protocol::TCP]);
    bed.worker.install(snapshot, &[]);
    bed.worker.poll_once();
    assert_eq!(bed.worker.default_namespace.pipeline.conns.used().ipv4, 0, "its connections end");
    bed.client_sends(&tcp(client(), vip(), "S"));
    assert_eq!(bed.stats.counters.to_kernel.get(), 1);
}

#[test]
fn a_packet_without_a_route_is_traced_as_a_failure() {
    let mut nowhere = network();
    nowhere.routes4 = crate::config::Network::default().routes4;
    let debug = Switches::of([Kind::NotSent.first()]);
    let mut bed = Plan { network: nowhere, debug, ..Plan::new(Method::Nat) }.build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    let events = drain_events(&bed);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].0, events[0].1.words[0]), (Kind::NotSent, DropReason::NoRoute as u32));
}

//! The packet's way does not allocate: not for a new connection, not for a known one, not for an answer.

use pollux_dataplane::config::{Counting, Event, EventKind};
use pollux_dataplane::io::Batch;
use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::pipeline::{RxContext, TxBuffers};
use pollux_dataplane::sched::{PickContext, SchedulerState};
use pollux_dataplane::service::{Method, Scheduler, ServiceId, Tunnel};
use pollux_dataplane::testkit::{CLIENT_SIDE, NoThresholds, Plan, ROUTER, at, v4, vip};
use pollux_dataplane::time::Tick;
use pollux_dataplane::trace::{Kind, Switches};
use std::net::IpAddr;
use std::sync::Arc;

fn syn(l4_port: u16) -> Frame {
    let IpAddr::V4(vip) = vip().address else { panic!("the bed's service is IPv4") };
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv4([192, 0, 2, 10], vip.octets(), 64)
        .tcp(l4_port, 80, 1, 1024)
        .syn()
        .write(&mut bytes, &[])
        .unwrap();
    Frame::new(&bytes)
}

#[test]
fn the_line_does_not_allocate() {
    for method in [Method::Nat, Method::Dr, Method::Tunnel(Tunnel::Ipip)] {
        let mut bed = Plan::new(method).bed().unwrap();
        let mut out: TxBuffers<Frame> = TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([]));
        let rx = RxContext { port: 0, mac: CLIENT_SIDE, now: Tick(0), relayed: false };
        for round in ["new connections", "known connections"] {
            let mut batch: Batch<Frame> = (0..32).map(|n| syn(5000 + n)).collect();
            let pipeline = &mut bed.worker.default_namespace.pipeline;
            let made = allocation_counter::measure(|| pipeline.run(&mut batch, &rx, &mut out));
            assert_eq!(made.count_total, 0, "{round} by {method:?}");
            assert_eq!(out.ports[1].len(), 32, "{round} by {method:?}");
            out.ports[1].clear();
        }
    }
}

#[test]
fn telling_everything_does_not_allocate() {
    let plan = Plan { debug: Switches::of(0..Kind::SITES), ..Plan::new(Method::Nat) };
    let mut bed = plan.bed().unwrap();
    let mut out: TxBuffers<Frame> = TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([]));
    let rx = RxContext { port: 0, mac: CLIENT_SIDE, now: Tick(0), relayed: false };
    let mut batch: Batch<Frame> = (0..32).map(|n| syn(5000 + n)).collect();
    let pipeline = &mut bed.worker.default_namespace.pipeline;
    let made = allocation_counter::measure(|| pipeline.run_traced(&mut batch, &rx, &mut out));
    assert_eq!(made.count_total, 0);
    assert!(pipeline.rings.events.len() > 9 * 32);
}

/// Every client speaks to the same address, so the caches of `lblc` and `lblcr` need not grow.
#[test]
fn choosing_does_not_allocate() {
    use Scheduler::{Dh, Fo, Lblc, Lblcr, Lc, Mh, Nq, Ovf, Rr, Sed, Sh, Twos, Wlc, Wrr};
    for scheduler in [Rr, Wrr, Lc, Wlc, Fo, Ovf, Lblc, Lblcr, Dh, Sh, Mh, Sed, Nq, Twos] {
        let plan = Plan { scheduler, servers: 10, ..Plan::new(Method::Dr) };
        let (snapshot, bed) = (plan.snapshot(), plan.bed().unwrap());
        let service = snapshot.services.service(ServiceId(0)).unwrap();
        let fresh = Event {
            service: ServiceId(0),
            kind: EventKind::Reset,
            gcd: 1,
            max_weight: 1,
            counting: Counting::Never,
        };
        let mut state = SchedulerState::new(1);
        state.apply_event(scheduler, &fresh);
        let mut pick = |host| {
            let context = PickContext {
                service,
                services: &snapshot.services,
                loads: &NoThresholds(&bed.stats),
                client: at(v4(192, 0, 2, host), 5000),
                virtual_address: vip().address,
                settings: &snapshot.settings,
                now: Tick(0),
            };
            assert!(state.pick(&context).is_some(), "{scheduler:?}");
        };
        pick(0);
        let made = allocation_counter::measure(|| (1..=255).for_each(&mut pick));
        assert_eq!(made.count_total, 0, "{scheduler:?}");
    }
}

//! The packet's way does not allocate: not for a new connection, not for a known one, not for an answer.

use pollux_dataplane::io::Batch;
use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::line::{Arrival, Outbox};
use pollux_dataplane::service::{Method, Tunnel};
use pollux_dataplane::testkit::{CLIENT_SIDE, Plan, ROUTER, vip};
use pollux_dataplane::time::Tick;
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
        let mut out: Outbox<Frame> = Outbox::new(2, Arc::clone(&bed.kernel), Box::new([]));
        let arrival = Arrival { port: 0, mac: CLIENT_SIDE, now: Tick(0), relayed: false };
        for round in ["new connections", "known connections"] {
            let mut batch: Batch<Frame> = (0..32).map(|n| syn(5000 + n)).collect();
            let line = &mut bed.worker.line;
            let made = allocation_counter::measure(|| line.run(&mut batch, arrival, &mut out));
            assert_eq!(made.count_total, 0, "{round} by {method:?}");
            assert_eq!(out.ports[1].len(), 32, "{round} by {method:?}");
            out.ports[1].clear();
        }
    }
}

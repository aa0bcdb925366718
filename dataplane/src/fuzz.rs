//! Bodies of the fuzz targets: plain functions over bytes that stop when a law is broken.
//!
//! `cargo test` runs them over the seeds in `fuzz/seeds` and over bent copies of them; the targets in `fuzz/` let
//! libFuzzer do the bending. Nothing here is part of the packet's way.

mod fragments;

pub use fragments::fragments;

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::config::{LinkId, Network, Route, Snapshot};
use crate::flow::Endpoint;
use crate::parse::{Kind, Parsed};
use crate::service::{DestinationId, Method, Persistence, Tunnel};
use crate::testkit::{self, Bed, CLIENT_SIDE, Plan, ROUTER, SERVER_MAC, SERVER_SIDE};
use crate::time::Millis;
use crate::wire::ether::MacBytes;
use crate::wire::protocol;

/// A frame of `bytes`, whatever they are: what the parser says lies inside them.
pub fn parse(bytes: &[u8]) {
    let mut frame = bytes.to_vec();
    // A frame for somebody else is seen by its first six bytes; there is nothing more to find out about those.
    if let Some(receiver) = frame.first_chunk_mut::<6>() {
        *receiver = CLIENT_SIDE;
    }
    let mut parsed = Parsed::NOTHING;
    if crate::parse::parse(&frame, &CLIENT_SIDE, &mut parsed).is_ok() && parsed.kind != Kind::Other {
        lies_inside(&parsed, frame.len());
    }
}

fn lies_inside(parsed: &Parsed, len: usize) {
    let end = usize::from(parsed.l3) + usize::from(parsed.len);
    assert!(end <= len, "the IP packet ends inside the frame: {parsed:?}");
    assert!(parsed.l3 <= parsed.l4 && usize::from(parsed.l4) <= end, "headers follow each other: {parsed:?}");
    if parsed.kind == Kind::IcmpError {
        let quoted = parsed.l4 < parsed.quoted_l3 && parsed.quoted_l3 < parsed.quoted_l4;
        assert!(quoted && usize::from(parsed.quoted_l4) < end, "so do quoted ones: {parsed:?}");
    }
}

/// A worker and frames, both read from `bytes`: no frame is lost or counted twice, and what leaves can be parsed.
///
/// The first byte chooses the worker: method, protocol and switches. Then come frames: a byte (its lowest bit is the
/// side, the rest how many seconds have passed, or 127 for one that the kernel sends), the length as two bytes in network
/// order, and the frame from its ethertype on.
pub fn pipeline(bytes: &[u8]) {
    let Some((&choice, mut rest)) = bytes.split_first() else { return };
    let Ok(mut bed) = bed(choice) else { return };
    let mut clock = 0;
    while let Some((&[control, high, low], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (body, next) = after.split_at(len);
        if control >> 1 == KERNEL {
            kernel_sends(&mut bed, body);
            rest = next;
            continue;
        }
        clock += u64::from(control >> 1) * 1000;
        bed.at(clock);
        if control & 1 == 0 {
            bed.client_sends(&framed(ROUTER, CLIENT_SIDE, body));
        } else {
            bed.server_sends(&framed(SERVER_MAC, SERVER_SIDE, body));
        }
        rest = next;
    }
    departed(&bed);
}

/// In place of seconds: the kernel sends the frame.
const KERNEL: u8 = 127;

/// The kernel sends no frames that cannot be read.
fn kernel_sends(bed: &mut Bed, body: &[u8]) {
    let frame = framed(CLIENT_SIDE, ROUTER, body);
    if crate::parse::parse(&frame, &ROUTER, &mut { Parsed::NOTHING }).is_ok() {
        bed.kernel_sends(0, &frame);
    }
}

fn framed(from: MacBytes, to: MacBytes, body: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], body].concat()
}

fn departed(bed: &Bed) {
    let mut count = 0;
    for wire in [&bed.outside, &bed.inside] {
        while let Some(frame) = wire.take() {
            let receiver = if frame.starts_with(&ROUTER) { ROUTER } else { SERVER_MAC };
            let parsed = crate::parse::parse(&frame, &receiver, &mut { Parsed::NOTHING });
            assert!(parsed.is_ok(), "{parsed:?} after the pipeline: {frame:02x?}");
            count += 1;
        }
    }
    assert_eq!(count, bed.stats.counters.sent.get(), "what was counted as sent was sent");
}

fn bed(choice: u8) -> std::io::Result<Bed> {
    let method = match choice & 3 {
        0 => Method::Nat,
        1 => Method::Dr,
        _ => Method::Tunnel(Tunnel::Ipip),
    };
    let mut plan = Plan::new(method);
    plan.protocol = if choice & 4 == 0 { protocol::TCP } else { protocol::UDP };
    plan.settings.sloppy_tcp = choice & 8 != 0;
    plan.settings.nat_icmp_send = choice & 16 != 0;
    plan.settings.expire_nodest_conn = choice & 32 != 0;
    add_ipv6(&mut plan.network);
    let mut snapshot = both_families(&plan);
    if choice & 64 != 0 {
        speak_sip(&mut snapshot, choice & 128 != 0);
    }
    plan.bed_with(snapshot)
}

/// Gives services the engine of SIP, and lets their NAT destinations call out.
fn speak_sip(snapshot: &mut Snapshot, ops: bool) {
    let mut services = (*snapshot.services).clone();
    for service in services.services.iter_mut().flatten() {
        service.ops = ops;
        service.persistence =
            Some(Persistence { timeout: Millis::from_secs(60), mask: u128::MAX, sip: true });
    }
    for (id, destination) in (0..).zip(&services.destinations) {
        if let Some(known) = destination.as_ref().filter(|known| known.method == Method::Nat) {
            services.call_openers.insert(known.endpoint, DestinationId(id));
        }
    }
    snapshot.services = services.into();
}

fn v6(net: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host)
}

fn at6(address: Ipv6Addr, l4_port: u16) -> Endpoint {
    testkit::at(IpAddr::V6(address), l4_port)
}

fn add_ipv6(network: &mut Network) {
    for (link, net) in network.links.iter_mut().zip(1..) {
        link.ipv6 = Some(v6(net, 1));
    }
    let send = |link, via| Route::Send { link: LinkId(link), via, mtu: Some(1400), source: None };
    let router = IpAddr::V6(v6(1, 0xfe));
    network.routes6.insert(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0), send(0, Some(router)));
    network.routes6.insert(Ipv6Net::new_assert(v6(2, 0), 64), send(1, None));
    testkit::neighbour(network, 0, router, ROUTER);
    testkit::neighbour(network, 1, v6(2, 2).into(), SERVER_MAC);
}

/// The plan's service at an IPv4 and an IPv6 address. The destination of the latter has a twin whose hardware address
/// is not known, so that packets wait too.
fn both_families(plan: &Plan) -> Snapshot {
    let mut snapshot = plan.snapshot();
    let servers = [at6(v6(2, 2), 8080), at6(v6(2, 3), 8080)];
    let mut services = (*snapshot.services).clone();
    plan.serve(&mut services, at6(v6(9, 1), 80), servers.into_iter());
    let reached = services.destinations.iter().flatten();
    snapshot.targets = reached.map(|to| plan.network.target(to.endpoint.address)).collect();
    snapshot.services = services.into();
    snapshot
}

/// A copy of a seed cut to `keep` bytes, with single bytes replaced: how `cargo test` makes inputs near to sense.
pub fn bend(seed: &[u8], keep: usize, edits: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = seed[..keep.min(seed.len())].to_vec();
    for &(place, value) in edits {
        let len = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(place % len) {
            *byte = value;
        }
    }
    bytes
}

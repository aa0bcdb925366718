//! Bodies of the fuzz targets: functions over bytes that panic if an invariant is violated.
//!
//! `cargo test` runs them over the seeds in `fuzz/seeds` and mutations of these; libFuzzer runs them as the targets
//! in `fuzz/`.

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

/// Parses any bytes as a frame: all offsets that the parser reports are inside it.
pub fn parse(bytes: &[u8]) {
    let mut parsed = Parsed::NOTHING;
    if crate::parse::parse(bytes, &mut parsed).is_ok() && parsed.kind != Kind::Other {
        assert_inside(&parsed, bytes.len());
    }
}

fn assert_inside(parsed: &Parsed, len: usize) {
    let end = usize::from(parsed.l3) + usize::from(parsed.len);
    assert!(end <= len, "the IP packet ends outside the frame: {parsed:?}");
    assert!(
        parsed.l3 <= parsed.l4 && usize::from(parsed.l4) <= end,
        "the headers are out of order: {parsed:?}"
    );
    if parsed.kind == Kind::IcmpError {
        let quoted = parsed.l4 < parsed.quoted_l3 && parsed.quoted_l3 < parsed.quoted_l4;
        assert!(
            quoted && usize::from(parsed.quoted_l4) < end,
            "the quoted headers are out of order: {parsed:?}"
        );
    }
}

/// Runs frames through a worker, both from `bytes`: every frame is counted once, and all sent frames can be parsed.
///
/// The first byte chooses method, protocol and settings. Frames follow: a byte (the lowest bit is the side, the rest
/// the seconds since the previous frame, or 127 for a frame from the kernel), the length as two bytes in network
/// order, and the frame from its EtherType on.
pub fn pipeline(bytes: &[u8]) {
    let Some((&choice, mut rest)) = bytes.split_first() else { return };
    let Ok(mut bed) = bed(choice) else { return };
    let mut clock = 0;
    while let Some((&[control, high, low], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (body, next) = after.split_at(len);
        if control >> 1 == FROM_KERNEL {
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
    check_sent(&bed);
}

/// In place of the seconds: the frame is from the kernel.
const FROM_KERNEL: u8 = 127;

/// Sends a frame from the kernel, if it is readable: the kernel sends no others.
fn kernel_sends(bed: &mut Bed, body: &[u8]) {
    let frame = framed(CLIENT_SIDE, ROUTER, body);
    if crate::parse::parse(&frame, &mut { Parsed::NOTHING }).is_ok() {
        bed.kernel_sends(0, &frame);
    }
}

fn framed(from: MacBytes, to: MacBytes, body: &[u8]) -> Vec<u8> {
    [&to[..], &from[..], body].concat()
}

fn check_sent(bed: &Bed) {
    let mut count = 0;
    for wire in [&bed.outside, &bed.inside] {
        while let Some(frame) = wire.take() {
            let parsed = crate::parse::parse(&frame, &mut { Parsed::NOTHING });
            assert!(parsed.is_ok(), "{parsed:?} after the pipeline: {frame:02x?}");
            count += 1;
        }
    }
    assert_eq!(count, bed.stats.counters.sent.get(), "the counter of sent packets is correct");
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
        use_sip(&mut snapshot, choice & 128 != 0);
    }
    plan.bed_with(snapshot)
}

/// Sets the SIP engine for all services, and allows server calls of their NAT destinations.
fn use_sip(snapshot: &mut Snapshot, ops: bool) {
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

/// The plan's service at an IPv4 and an IPv6 address. The latter has a second destination whose hardware address is not
/// known, so that packets wait.
fn both_families(plan: &Plan) -> Snapshot {
    let mut snapshot = plan.snapshot();
    let servers = [at6(v6(2, 2), 8080), at6(v6(2, 3), 8080)];
    let mut services = (*snapshot.services).clone();
    plan.serve(&mut services, at6(v6(9, 1), 80), servers.into_iter());
    let destinations = services.destinations.iter().flatten();
    snapshot.targets = destinations.map(|to| plan.network.target(to.endpoint.address)).collect();
    snapshot.services = services.into();
    snapshot
}

/// A copy of a seed, truncated to `keep` bytes and with some bytes replaced.
pub fn mutate(seed: &[u8], keep: usize, edits: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = seed[..keep.min(seed.len())].to_vec();
    for &(index, value) in edits {
        let len = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(index % len) {
            *byte = value;
        }
    }
    bytes
}

//! Property: the fast path does what the slow path does.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::bed::*;
use super::families::{self, SERVERS6, client6, v6, vip6};
use crate::conn::{Flags, Sizes};
use crate::cpu;
use crate::service::{Method, Tunnel};
use crate::verdict::SlowPathReason;
use crate::wire::protocol;

/// One packet of a flow.
#[derive(Clone, Debug)]
struct Step {
    from_client: bool,
    client: u16,
    flags: &'static str,
    data: usize,
    ttl: u8,
    /// Padding behind the IP packet, in bytes.
    trail: usize,
    /// Variation: none, no UDP checksum, DF, a fragment, a wrong header checksum.
    twist: u8,
    wait: u64,
}

fn next() -> impl Strategy<Value = Step> {
    let flags = prop::sample::select(vec!["S", "SA", "A", "A", "A", "FA", "R", ""]);
    let data = prop::sample::select(vec![0, 1, 18, 1400, 1445, 1460]);
    let ttl = prop::sample::select(vec![64, 64, 64, 2, 1, 0]);
    (any::<bool>(), 0..3u16, flags, data, ttl, 0..8usize, 0..12u8, 0..40_000u64).prop_map(
        |(from_client, client, flags, data, ttl, trail, twist, wait)| Step {
            from_client,
            client,
            flags,
            data,
            ttl,
            trail,
            twist,
            wait,
        },
    )
}

fn frame(next: &Step, proto: u8) -> Vec<u8> {
    let client = at(client().address, 4000 + next.client);
    // A server replies from the address that it was reached by: its own with NAT, else the virtual one.
    let (from, to) = if next.from_client { (client, vip()) } else { (server(), client) };
    let data = vec![7; next.data];
    let mut frame = match proto {
        protocol::UDP => udp(from, to, &data),
        _ => tcp_with(from, to, next.flags, &data),
    };
    match next.twist {
        0 if proto == protocol::UDP => frame[40..42].fill(0),
        1 => frame[20] |= 0x40,
        2 => frame[20] |= 0x20,
        _ => {}
    }
    let mut frame = with_byte(frame, 22, next.ttl);
    if next.twist == 3 {
        frame[24] ^= 1;
    }
    frame.extend(vec![0xee; next.trail]);
    frame
}

/// The packet as IPv6. Its transport checksum is wrong, which only the receiver would notice.
fn as_ipv6(next: &Step, frame: &[u8]) -> Vec<u8> {
    let server = v6(SERVERS6, 2);
    let (from, to) =
        if next.from_client { (client6().address, vip6(80).address) } else { (server, client6().address) };
    let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else { unreachable!() };
    let (mut l4, protocol) = (frame[34..frame.len() - next.trail].to_vec(), frame[23]);
    if !next.from_client {
        l4[..2].copy_from_slice(&80_u16.to_be_bytes());
    }
    let len = (l4.len() as u16).to_be_bytes();
    let fixed = [0x86, 0xdd, 0x60, 0, 0, 0, len[0], len[1], protocol, next.ttl];
    [&frame[..12], &fixed, &from.octets(), &to.octets(), &l4, &vec![0xee; next.trail]].concat()
}

fn bed6(mut plan: Plan) -> Bed {
    neighbour(&mut plan.network, 0, client6().address, ROUTER);
    families::bed(plan, 80, 1500)
}

fn plan(method: Method, proto: u8, switches: u8) -> Plan {
    let mut plan = Plan {
        protocol: proto,
        servers: 1,
        sizes: Sizes { ipv4: 8, ipv6: 8, extra: 0 },
        ..Plan::new(method)
    };
    plan.settings.sloppy_tcp = switches & 1 != 0;
    plan.settings.secure_tcp = switches & 2 != 0;
    plan.settings.pmtu_disc = switches & 4 != 0;
    plan.settings.conn_reuse_mode = u32::from(switches & 8 != 0);
    plan
}

/// All that can be observed of a worker: frames sent, counters, connections.
fn seen(bed: &mut Bed) -> (Vec<Vec<u8>>, String) {
    let frames = [&bed.outside, &bed.inside].into_iter().flat_map(|wire| std::iter::from_fn(|| wire.take()));
    let (frames, pipeline) = (frames.collect(), &bed.worker.default_namespace.pipeline);
    let entries: Vec<_> = (0..16).map(|id| pipeline.conns.entry(crate::conn::ConnId(id)).clone()).collect();
    // Only the count of slow-path packets may differ.
    pipeline.stats.counters.slow_path.iter().for_each(|counter| counter.set(0));
    let state = format!("{:?} {:?} {}", pipeline.stats, entries, pipeline.ip_id);
    (frames, state)
}

/// Sends the packets to two workers, one of which has no fast path because it has no adjacencies.
fn play(
    make: impl Fn() -> Bed,
    steps: &[Step],
    frame: impl Fn(&Step) -> Vec<u8>,
) -> Result<(), TestCaseError> {
    let (mut one, mut other) = (make(), make());
    other.worker.default_namespace.pipeline.snapshot.adjacencies = Arc::default();
    let mut clock = 0;
    for next in steps {
        clock += next.wait;
        let frame = frame(next);
        for bed in [&mut one, &mut other] {
            bed.at(clock);
            if next.from_client { bed.client_sends(&frame) } else { bed.server_sends(&frame) }
        }
        prop_assert_eq!(seen(&mut one), seen(&mut other), "after {:?}", next);
    }
    Ok(())
}

proptest! {
    #[test]
    fn fast_path_equals_slow_path(
        (method, udp, ipv6, switches) in (0..6usize, any::<bool>(), any::<bool>(), 0..16u8),
        lacks_avx2 in any::<bool>(),
        steps in prop::collection::vec(next(), 1..40),
    ) {
        let gue = |checksum| Method::Tunnel(Tunnel::Gue { l4_port: 6080, checksum });
        let gre = Method::Tunnel(Tunnel::Gre { checksum: false });
        let method = [Method::Nat, Method::Dr, Method::Tunnel(Tunnel::Ipip), gue(true), gue(false), gre][method];
        let proto = if udp { protocol::UDP } else { protocol::TCP };
        let plan = || plan(method, proto, switches);
        let all = || match ipv6 {
            true => play(|| bed6(plan()), &steps, |next| as_ipv6(next, &frame(next, proto))),
            false => play(|| plan().build(), &steps, |next| frame(next, proto)),
        };
        // Also as compiled for processors without AVX2 and AES.
        if lacks_avx2 { cpu::tests::without_avx2(all)? } else { all()? }
    }
}

#[test]
fn a_connection_with_the_slow_flag_takes_the_slow_path_in_both_directions() {
    for is_slow in [false, true] {
        let mut bed = Plan { protocol: protocol::UDP, ..Plan::new(Method::Nat) }.build();
        bed.client_sends(&udp(client(), vip(), b"1"));
        bed.server_sends(&udp(server(), client(), b"2"));
        let conns = &mut bed.worker.default_namespace.pipeline.conns;
        let (id, _) = conns.next_live(0, u32::MAX);
        conns.entry_mut(id.unwrap()).flags.set(Flags::SLOW, is_slow);
        bed.client_sends(&udp(client(), vip(), b"3"));
        bed.server_sends(&udp(server(), client(), b"4"));
        let slow = bed.stats.counters.slow_path[SlowPathReason::Feature as usize].get();
        assert_eq!(slow, if is_slow { 2 } else { 0 });
        assert_eq!(bed.stats.counters.sent.get(), 4, "all are forwarded");
    }
}

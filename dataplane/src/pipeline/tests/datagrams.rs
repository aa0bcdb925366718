//! Fragmented ICMP errors, IPsec packets and SIP messages, each treated as if it had arrived whole.

use std::sync::Arc;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::bed::*;
use super::families::{self, SERVERS6, client6, v6, vip6};
use crate::flow::Endpoint;
use crate::packet::Packet;
use crate::service::{Method, Tunnel};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::ipv4;
use crate::wire::protocol;

fn is_v6(frame: &[u8]) -> bool {
    frame[14] >> 4 == 6
}

/// Fragments of a frame's IP packet that end at these multiples of eight bytes of payload.
pub(super) fn fragments(frame: &[u8], cuts: &[usize], id: u16) -> Vec<Vec<u8>> {
    let head = if is_v6(frame) { 54 } else { 34 };
    let (mut from, mut all, payload) = (0, Vec::new(), &frame[head..]);
    let ends = cuts.iter().map(|cut| cut * 8).filter(|end| *end < payload.len()).chain([payload.len()]);
    for end in ends {
        if end <= from {
            continue;
        }
        let (offset, more) = (from as u16, u16::from(end < payload.len()));
        let mut fragment = frame[..head].to_vec();
        if is_v6(frame) {
            let next = std::mem::replace(&mut fragment[20], 44);
            fragment[18..20].copy_from_slice(&((end - from) as u16 + 8).to_be_bytes());
            fragment.extend_from_slice(&[next, 0]);
            fragment.extend_from_slice(&(offset | more).to_be_bytes());
            fragment.extend_from_slice(&u32::from(id).to_be_bytes());
        } else {
            fragment[16..18].copy_from_slice(&((end - from) as u16 + 20).to_be_bytes());
            fragment[18..20].copy_from_slice(&id.to_be_bytes());
            fragment[20..22].copy_from_slice(&((offset / 8) | (more << 13)).to_be_bytes());
            ipv4::fill_checksum(&mut fragment[14..]);
        }
        fragment.extend_from_slice(&payload[from..end]);
        all.push(fragment);
        from = end;
    }
    all
}

/// Joins fragments to the original frame.
pub(super) fn joined(mut fragments: Vec<Vec<u8>>) -> Vec<u8> {
    let Some(first) = fragments.first() else { return Vec::new() };
    let v6 = is_v6(first);
    let head = if v6 { 62 } else { 34 };
    let offset = |fragment: &Vec<u8>| {
        let at = if v6 { 56 } else { 20 };
        let word = u16::from_be_bytes([fragment[at], fragment[at + 1]]);
        if v6 { usize::from(word & !7) } else { usize::from(word & 0x1fff) * 8 }
    };
    fragments.sort_by_key(offset);
    let mut datagram = fragments[0][..head].to_vec();
    for fragment in &fragments {
        assert_eq!(offset(fragment), datagram.len() - head, "one after the other");
        assert_eq!(fragment[..14], datagram[..14], "same frame header");
        assert!(v6 || ipv4::checksum_is_right(&fragment[14..34]));
        datagram.extend_from_slice(&fragment[head..]);
    }
    if v6 {
        datagram[20] = datagram[54];
        datagram.drain(54..62);
        let len = (datagram.len() - 54) as u16;
        datagram[18..20].copy_from_slice(&len.to_be_bytes());
    } else {
        let len = (datagram.len() - 14) as u16;
        datagram[16..18].copy_from_slice(&len.to_be_bytes());
        datagram[20..22].fill(0);
        ipv4::fill_checksum(&mut datagram[14..]);
    }
    datagram
}

/// A packet for an ICMP error to quote.
fn quoted(from: Endpoint, to: Endpoint, data: usize) -> Vec<u8> {
    tcp_with(from, to, "A", &vec![7; data])
}

/// An ICMP error about `quoted` from a router on the clients' or the servers' side.
pub(super) fn error(quoted: &[u8], to: Endpoint, inside: bool) -> Vec<u8> {
    let (mac, ours) = if inside { (SERVER_MAC, SERVER_SIDE) } else { (ROUTER, CLIENT_SIDE) };
    let (ether, mut frame) = (PacketBuilder::ethernet2(mac, ours), Vec::new());
    match to.address {
        std::net::IpAddr::V4(to) => {
            let error = ether.ipv4([203, 0, 113, 1], to.octets(), 64).icmpv4_raw(3, 1, [0; 4]);
            error.write(&mut frame, &quoted[14..]).unwrap();
            // Without DF, and with the identification of its fragments.
            (frame[18], frame[19], frame[20]) = (0, 9, 0);
            ipv4::fill_checksum(&mut frame[14..]);
        }
        std::net::IpAddr::V6(to) => {
            let from = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 7];
            let error = ether.ipv6(from, to.octets(), 64).icmpv6_raw(1, 3, [0; 4]);
            error.write(&mut frame, &quoted[14..]).unwrap();
        }
    }
    frame
}

/// A worker with a NAT connection, and its endpoints: client, virtual address, destination.
fn with_connection(ipv6: bool) -> (Bed, [Endpoint; 3]) {
    let (mut bed, ends) = if ipv6 {
        let destination = at(v6(SERVERS6, 2), 80);
        (families::bed(Plan::new(Method::Nat), 80, 1500), [client6(), vip6(80), destination])
    } else {
        (Plan::new(Method::Nat).build(), [client(), vip(), server()])
    };
    bed.client_sends(&tcp(ends[0], ends[1], "S"));
    bed.inside.take().expect("the connection is made");
    (bed, ends)
}

fn taken(bed: &Bed) -> Vec<Vec<u8>> {
    let wires = [&bed.inside, &bed.outside];
    wires.into_iter().flat_map(|wire| std::iter::from_fn(|| wire.take())).collect()
}

fn dropped(bed: &Bed, why: DropReason) -> u64 {
    bed.stats.counters.drops[why as usize].get()
}

proptest! {
    #[test]
    fn an_error_in_fragments_is_translated_as_one_that_came_whole(
        ipv6: bool, from_server: bool, wrong: bool, data in 0..1400usize, order: u64,
        cuts in proptest::collection::btree_set(1..150usize, 0..20),
    ) {
        let (mut bed, [client, vip, destination]) = with_connection(ipv6);
        let mut datagram = if from_server {
            error(&quoted(client, destination, data), client, true)
        } else {
            error(&quoted(vip, client, data), vip, false)
        };
        let head = if ipv6 { 54 } else { 34 };
        datagram[head + 2] ^= u8::from(wrong);
        let mut fragments = fragments(&datagram, &cuts.into_iter().collect::<Vec<_>>(), 9);
        let count = fragments.len();
        let mut seed = order;
        for at in (1..count).rev() {
            seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
            fragments.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let counters = |bed: &Bed| {
            let counters = &bed.stats.destinations[0];
            [&counters.in_packets, &counters.in_bytes, &counters.out_packets, &counters.out_bytes].map(crate::stats::Counter::get)
        };
        let (send, before) = (|bed: &mut Bed, frame: &[u8]| {
            if from_server { bed.server_sends(frame) } else { bed.client_sends(frame) }
        }, counters(&bed));
        // Including the fragment header of IPv6.
        let fits = datagram.len() + 8 <= 14 + 1500;
        if fits {
            send(&mut bed, &datagram);
        }
        let (expected, between) = (taken(&bed), counters(&bed));
        fragments.iter().for_each(|fragment| send(&mut bed, fragment));
        let got = taken(&bed);
        if fits {
            prop_assert_eq!(got.is_empty(), expected.is_empty());
            for at in 0..4 {
                prop_assert_eq!(counters(&bed)[at] - between[at], between[at] - before[at], "counted as one packet");
            }
        }
        if let ([want], false) = (&expected[..], got.is_empty()) {
            prop_assert_eq!(got.len(), count, "they leave as they came");
            prop_assert_eq!(&joined(got), want);
        }
        prop_assert_eq!(bed.stats.counters.reassembling.get(), 0);
    }
}

#[test]
fn a_fragmented_icmp_error_with_a_bad_checksum_or_an_expired_ttl_is_dropped() {
    let (mut bed, [client, vip, _]) = with_connection(false);
    let sound = error(&quoted(vip, client, 100), vip, false);
    let mut wrong = sound.clone();
    wrong[36] ^= 1;
    fragments(&wrong, &[3, 8], 9).iter().for_each(|fragment| bed.client_sends(fragment));
    assert_eq!(dropped(&bed, DropReason::BadIcmpChecksum), 3);
    let last_hop = with_byte(sound, 22, 1);
    fragments(&last_hop, &[3, 8], 9).iter().for_each(|fragment| bed.client_sends(fragment));
    assert_eq!((dropped(&bed, DropReason::TtlOfError), bed.inside.take()), (3, None));
}

#[test]
fn fragments_of_unrelated_icmp_errors_go_to_the_kernel() {
    let (mut bed, [client, vip, _]) = with_connection(false);
    let mut ping = error(&quoted(vip, client, 100), vip, false);
    ping[34] = 8;
    let stranger = error(&quoted(vip, at(client.address, 1), 100), vip, false);
    let fragments = [fragments(&ping, &[3, 8], 9), fragments(&stranger, &[3, 8], 10)].concat();
    fragments.iter().for_each(|fragment| bed.client_sends(fragment));
    assert_eq!((bed.stats.counters.to_kernel.get(), taken(&bed).len()), (6, 0));
    for fragment in fragments {
        assert_eq!(bed.kernel.pop().map(|(_, given)| given.bytes().to_vec()), Some(fragment));
    }
}

/// A flood of fragmented pings takes no more memory than one of datagrams.
#[test]
fn floods_of_icmp_fragments_stay_within_the_limits() {
    let (mut bed, [client, vip, _]) = with_connection(false);
    let datagram = error(&quoted(vip, client, 100), vip, false);
    for id in 0..2000 {
        bed.client_sends(&fragments(&datagram, &[3], id)[1]);
    }
    assert!(bed.stats.counters.reassembling.get() <= 1024);
    assert!(dropped(&bed, DropReason::FragmentsFull) > 900);
    let overlapping = |at: usize| fragments(&datagram, &[at, 8], 5000)[1].clone();
    bed.client_sends(&overlapping(3));
    bed.client_sends(&overlapping(4));
    assert_eq!(dropped(&bed, DropReason::FragmentOverlap), 2);
}

/// An error about our own tunnel: the client gets one error, however many fragments it had.
#[test]
fn a_fragmented_icmp_error_about_a_tunnel_is_reported() {
    let mut plan = Plan::new(Method::Tunnel(Tunnel::Ipip));
    plan.network.local.insert(v4(10, 0, 2, 1));
    let mut bed = plan.build();
    bed.client_sends(&tcp_with(client(), vip(), "S", &[1; 600]));
    let outer = bed.inside.take().expect("it went on");
    let received_error = |bed: &mut Bed, frames: &[Vec<u8>]| {
        frames.iter().for_each(|frame| bed.server_sends(frame));
        let mut message = bed.outside.take().expect("the client gets an ICMP error");
        (message[18], message[19]) = (0, 0); // a new identification each time
        ipv4::fill_checksum(&mut message[14..]);
        message
    };
    let error = error(&outer, at(v4(10, 0, 2, 1), 0), true);
    let expected = received_error(&mut bed, std::slice::from_ref(&error));
    assert_eq!(received_error(&mut bed, &fragments(&error, &[2, 5, 20], 9)), expected);
    assert_eq!(dropped(&bed, DropReason::DatagramAnswered), 3);
    assert_eq!(bed.stats.counters.icmp_sent[IcmpReason::TunnelError as usize].get(), 2);
}

/// ESP and AH over IPv6 have no ports; they follow the connection of the key exchange.
#[test]
fn fragmented_ipsec_over_ipv6_follows_its_key_exchange() {
    let exchange = |from, to| {
        let mut frame = tcp(from, to, "S");
        frame.truncate(54);
        frame.extend_from_slice(&[1, 0xf4, 1, 0xf4, 0, 8, 0, 0]);
        (frame[19], frame[20]) = (8, protocol::UDP);
        frame
    };
    let of_ipsec = |mut frame: Vec<u8>, which: u8| {
        frame.extend_from_slice(&[9; 92]);
        (frame[19], frame[20]) = (100, which);
        frame
    };
    for (method, like, which, carried) in [
        (Method::Dr, false, protocol::ESP, true),
        (Method::Nat, false, protocol::ESP, true),
        (Method::Nat, false, protocol::AH, true),
        (Method::Dr, true, protocol::AH, false),
    ] {
        let mut plan = Plan { protocol: protocol::UDP, ..Plan::new(method) };
        plan.settings.like_linux_6_1 = like;
        let mut bed = families::bed(plan, 500, 1500);
        let asked = exchange(client6(), vip6(500));
        bed.client_sends(&asked);
        bed.inside.take().expect("the key exchange");
        for frame in fragments(&of_ipsec(asked.clone(), which), &[3, 8], 9).iter().rev() {
            bed.client_sends(frame);
        }
        let got = taken(&bed);
        assert_eq!(dropped(&bed, DropReason::AhLikeLinux), if carried { 0 } else { 3 }, "{method:?} {which}");
        if carried {
            let to = if method == Method::Nat { v6(SERVERS6, 2) } else { vip6(0).address };
            let std::net::IpAddr::V6(to) = to else { unreachable!() };
            assert_eq!(joined(got)[38..], [&to.octets()[..], &of_ipsec(asked, which)[54..]].concat());
        }
    }
}

/// A SIP message longer than a link: its Call-ID may be in any fragment.
#[test]
fn a_fragmented_call_reaches_its_destination() {
    for at in [200, 1600] {
        let plan = Plan { servers: 3, protocol: protocol::UDP, ..Plan::new(Method::Nat) };
        let mut snapshot = plan.snapshot();
        let services = Arc::make_mut(&mut snapshot.services);
        let timeout = crate::time::Millis::from_secs(50);
        let sip = crate::service::Persistence { timeout, mask: u128::MAX, sip: true };
        services.services[0].as_mut().unwrap().persistence = Some(sip);
        let mut bed = plan.bed_with(snapshot).unwrap();
        let message = |port: u16| {
            let via = "x".repeat(at);
            let text = format!("INVITE sip:a@b SIP/2.0\r\nVia: {via}\r\nCall-ID: one\r\nCSeq: 1\r\n\r\n");
            with_byte(udp(Endpoint { l4_port: port, ..client() }, vip(), text.as_bytes()), 20, 0)
        };
        let mut served = Vec::new();
        for port in 5060..5064 {
            fragments(&message(port), &[20, 185], port)
                .iter()
                .for_each(|fragment| bed.client_sends(fragment));
            served.push(bed.inside.take().map(|frame| frame[30..34].to_vec()));
            taken(&bed);
        }
        assert!(served[0].is_some() && served.iter().all(|to| *to == served[0]), "{served:?}");
    }
}

//! Fragmented packets: in any order, by every method, on any worker; and their drops.

use super::bed::*;
use crate::io::mem::Frame;
use crate::packet::Packet;
use crate::service::{Method, Tunnel};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::{protocol, view};

/// UDP without DF.
fn loose(data: &[u8]) -> Vec<u8> {
    with_byte(udp(client(), vip(), data), 20, 0)
}

/// IPv4 fragments of a datagram for an MTU, in a frame each.
pub(super) fn fragments(data: usize, mtu: u16, id: u16) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..data).map(|n| n as u8).collect();
    let mut frame = loose(&bytes);
    frame[18..20].copy_from_slice(&id.to_be_bytes());
    crate::wire::ipv4::fill_checksum(&mut frame[14..]);
    let mut fragments = Vec::new();
    let cut = crate::fragments::split::cut(Frame::new(&frame), 14, false, mtu, 0, |fragment| {
        let mut bytes = fragment.bytes().to_vec();
        bytes[..12].copy_from_slice(&frame[..12]);
        bytes[12..14].copy_from_slice(&frame[12..14]);
        fragments.push(bytes);
    });
    assert_eq!(cut, Ok(()));
    fragments
}

fn plan(method: Method) -> Plan {
    Plan { protocol: protocol::UDP, ..Plan::new(method) }
}

fn dropped(bed: &Bed, why: DropReason) -> u64 {
    bed.stats.counters.drops[why as usize].get()
}

/// Joined payloads of the fragments sent to the servers' side.
fn received(bed: &Bed) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = bed.inside.take() {
        let ip: &Ipv4Hdr = view(&frame, 14).unwrap();
        let (at, len) = (usize::from(ip.offset()) * 8, usize::from(ip.len.get()) - 20);
        bytes.resize(bytes.len().max(at + len), 0);
        bytes[at..at + len].copy_from_slice(&frame[34..34 + len]);
        assert_eq!(crate::wire::checksum::fold(crate::wire::checksum::sum(&frame[14..34])), 0xffff);
    }
    bytes
}

#[test]
fn a_fragmented_datagram_is_translated_in_any_order() {
    let sent = fragments(3000, 1000, 7);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut bed = plan(Method::Nat).build();
        for at in order {
            assert!(bed.inside.take().is_none(), "nothing leaves before all are here");
            bed.client_sends(&sent[at]);
        }
        let datagram = received(&bed);
        assert_eq!((datagram.len(), &datagram[2..4]), (3008, &8080u16.to_be_bytes()[..]));
        let addresses: u64 =
            [v4(192, 0, 2, 10), server().address]
                .map(|a| {
                    if let std::net::IpAddr::V4(a) = a {
                        crate::wire::checksum::of_u32(a.to_bits())
                    } else {
                        0
                    }
                })
                .iter()
                .sum();
        let sum = crate::wire::checksum::pseudo(addresses, protocol::UDP, datagram.len());
        assert_eq!(crate::wire::checksum::fold(sum + crate::wire::checksum::sum(&datagram)), 0xffff);
        let counters = &bed.stats.destinations[0];
        assert_eq!((counters.in_packets.get(), counters.in_bytes.get()), (1, 3028), "counted as one packet");
    }
}

#[test]
fn fragments_are_forwarded_by_dr_and_tunnels() {
    for (method, more) in [(Method::Dr, 0), (Method::Tunnel(Tunnel::Ipip), 20)] {
        let mut bed = plan(method).build();
        let sent = fragments(3000, 1000, 7);
        sent.iter().for_each(|frame| bed.client_sends(frame));
        for frame in &sent {
            let got = bed.inside.take().unwrap_or_else(|| panic!("{method:?} {:?}", bed.stats.counters));
            assert_eq!((got.len(), &got[14 + more + 20..]), (frame.len() + more, &frame[34..]));
        }
    }
}

#[test]
fn fragments_of_no_service_go_to_the_kernel() {
    let mut bed = Plan::new(Method::Nat).build();
    let sent = fragments(3000, 1000, 7);
    sent.iter().for_each(|frame| bed.client_sends(frame));
    assert_eq!(bed.stats.counters.to_kernel.get(), sent.len() as u64);
}

#[test]
fn a_refused_datagram_gets_one_icmp_error() {
    let mut bed = Plan { weight: 0, ..plan(Method::Nat) }.build();
    let sent = fragments(3000, 1000, 7);
    sent.iter().for_each(|frame| bed.client_sends(frame));
    assert_eq!(bed.stats.counters.icmp_sent[IcmpReason::NoDestination as usize].get(), 1);
    assert_eq!(dropped(&bed, DropReason::DatagramAnswered), 3);
    let got = bed.outside.take().expect("an answer");
    assert_eq!(&got[44..46], &3028u16.to_be_bytes(), "it quotes the packet, not a fragment");
}

#[test]
fn an_incomplete_datagram_is_dropped_after_thirty_seconds() {
    let mut bed = plan(Method::Nat).build();
    bed.client_sends(&fragments(3000, 1000, 7)[1]);
    assert_eq!(bed.stats.counters.reassembling.get(), 1);
    bed.at(31_000).worker.poll_once();
    assert_eq!((dropped(&bed, DropReason::FragmentTimeout), bed.stats.counters.reassembling.get()), (1, 0));
    bed.reconciles();
}

#[test]
fn inconsistent_fragments_are_dropped_by_reason() {
    let sent = fragments(3000, 1000, 7);
    let mut bed = plan(Method::Nat).build();
    bed.client_sends(&sent[0]);
    bed.client_sends(&sent[0]);
    assert_eq!(dropped(&bed, DropReason::FragmentDuplicate), 1);
    let at = |mut frame: Vec<u8>, field: u16| {
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        crate::wire::ipv4::fill_checksum(&mut frame[14..]);
        frame
    };
    bed.client_sends(&at(sent[1].clone(), 0x2000 | 8));
    assert_eq!(dropped(&bed, DropReason::FragmentOverlap), 2, "the overlapping one and the one it met");
    bed.client_sends(&at(sent[1].clone(), 0x1fff));
    assert_eq!(dropped(&bed, DropReason::FragmentTooFar), 1);
    let odd = fragments(1003, 1500, 9)[0].clone();
    bed.client_sends(&at(odd, 0x2000));
    assert_eq!(dropped(&bed, DropReason::FragmentLength), 1);
    bed.client_sends(&at(sent[1].clone(), 400));
    bed.client_sends(&at(sent[1].clone(), 600));
    assert_eq!(dropped(&bed, DropReason::FragmentEnd), 2);
}

#[test]
fn floods_of_fragments_stay_within_the_limits() {
    let mut bed = plan(Method::Nat).build();
    for id in 0..2000 {
        bed.client_sends(&fragments(3000, 1000, id)[1]);
    }
    assert!(bed.stats.counters.reassembling.get() <= 1024);
    assert!(dropped(&bed, DropReason::FragmentsFull) > 900);
    let crumb = &fragments(400, 28, 5000)[1];
    for at in 1..70u16 {
        let mut frame = crumb.clone();
        frame[20..22].copy_from_slice(&(0x2000 | at).to_be_bytes());
        crate::wire::ipv4::fill_checksum(&mut frame[14..]);
        bed.client_sends(&frame);
    }
    assert!(dropped(&bed, DropReason::FragmentsTooMany) > 0);
}

#[test]
fn packets_that_exceed_the_mtu_are_fragmented() {
    let mut plan = plan(Method::Dr);
    plan.network.links[1].mtu = 600;
    for hop in &mut plan.network.hops {
        hop.mtu = 600;
    }
    let mut bed = plan.build();
    bed.client_sends(&loose(&[1; 1000]));
    assert_eq!(bed.stats.counters.fragments_sent.get(), 1);
    assert_eq!(received(&bed).len(), 1008);
}

/// Each fragment could be a part of a packet, but together they are longer than any: the first has the longer header.
#[test]
fn a_datagram_longer_than_any_packet_goes_to_the_kernel() {
    let fragment = |header_len: u8, offset: u16, more: u16, data: usize| {
        let mut frame = loose(b"")[..34].to_vec();
        frame.resize(14 + usize::from(header_len), 1); // no operation
        frame.resize(14 + usize::from(header_len) + data, 0);
        let len = (frame.len() - 14) as u16;
        frame[14] = 0x40 + header_len / 4;
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        frame[20..22].copy_from_slice(&(more + offset / 8).to_be_bytes());
        crate::wire::ipv4::fill_checksum(&mut frame[14..]);
        frame
    };
    let mut bed = plan(Method::Nat).build();
    bed.client_sends(&fragment(60, 0, 0x2000, 32768));
    bed.client_sends(&fragment(20, 32768, 0, 65515 - 32768));
    assert_eq!(
        (bed.stats.counters.to_kernel.get(), bed.worker.default_namespace.pipeline.conns.used().ipv4),
        (2, 0)
    );
}

/// A burst may complete many datagrams and fragment many packets: more packets leave than arrived, and none is lost.
#[test]
fn a_burst_may_be_sent_as_several() {
    let mut bed = plan(Method::Nat).build();
    let all: Vec<_> = (0..12).flat_map(|id| fragments(8000, 1500, id)).collect();
    assert_eq!(all.len(), 72);
    all[..8].iter().for_each(|frame| bed.client_sends(frame));
    assert_eq!(bed.stats.counters.reassembling.get(), 2);
    all[8..].iter().for_each(|frame| bed.outside.put(frame));
    bed.worker.poll_once();
    assert_eq!((bed.stats.counters.sent.get(), dropped(&bed, DropReason::TransmitFull)), (72, 0));
    bed.reconciles();

    let mut narrow = plan(Method::Dr);
    narrow.network.links[1].mtu = 600;
    for hop in &mut narrow.network.hops {
        hop.mtu = 600;
    }
    let mut bed = narrow.build();
    (0..64).for_each(|_| bed.outside.put(&loose(&[1; 1400])));
    bed.worker.poll_once();
    assert_eq!((bed.stats.counters.sent.get(), dropped(&bed, DropReason::TransmitFull)), (64 * 3, 0));
    bed.reconciles();
}

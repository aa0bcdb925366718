//! Edge cases from recordings of Linux: odd headers, odd senders, servers on this machine.

use std::sync::Arc;

use etherparse::PacketBuilder;

use super::bed::*;
use crate::config::{FwmarkRule, NextHop, Route, RouteTable, Rule};
use crate::flow::{Endpoint, Key};
use crate::io::mem::Frame;
use crate::service::{Method, ServiceId, ServiceKey};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::{protocol, view};

fn dropped(bed: &Bed, why: DropReason) -> u64 {
    bed.stats.counters.drops[why as usize].get()
}

fn known(bed: &Bed, from: Endpoint, to: Endpoint, protocol: u8) -> bool {
    let key = Key::between(from, to, protocol).unwrap();
    let conns = &bed.worker.default_namespace.pipeline.conns;
    conns.find(conns.hash(&key), &key).is_some()
}

/// A frame whose IP packet is truncated to `len` bytes.
pub(super) fn cut(frame: &[u8], len: u16) -> Vec<u8> {
    let mut frame = frame[..14 + usize::from(len)].to_vec();
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    ipv4::fill_checksum(&mut frame[14..]);
    frame
}

#[test]
fn a_wrong_header_checksum_opens_nothing() {
    let mut bed = Plan::new(Method::Nat).build();
    let mut frame = tcp(client(), vip(), "S");
    frame[24] ^= 1;
    bed.client_sends(&frame);
    assert_eq!(
        (dropped(&bed, DropReason::BadIpChecksum), bed.worker.default_namespace.pipeline.conns.used().ipv4),
        (1, 0)
    );
}

#[test]
fn packets_from_impossible_sources_open_nothing() {
    let mut bed = Plan::new(Method::Nat).build();
    for from in [v4(127, 0, 0, 1), v4(224, 0, 0, 1), v4(0, 1, 2, 3), v4(255, 255, 255, 255), vip().address] {
        bed.client_sends(&tcp(at(from, 4000), vip(), "S"));
    }
    assert_eq!(
        (bed.stats.counters.to_kernel.get(), bed.worker.default_namespace.pipeline.conns.used().ipv4),
        (5, 0)
    );
}

#[test]
fn padding_behind_the_packet_is_cut_off() {
    let mut bed = Plan::new(Method::Nat).build();
    let frame = tcp(client(), vip(), "S");
    bed.client_sends(&[&frame[..], &[0; 6]].concat());
    assert_eq!(bed.inside.take().map(|got| got.len()), Some(frame.len()));
}

#[test]
fn a_truncated_header_follows_its_connection_without_nat() {
    let truncated_l4 = cut(&tcp(client(), vip(), "A"), 28);
    let mut bed = Plan::new(Method::Dr).build();
    bed.client_sends(&truncated_l4);
    assert_eq!(dropped(&bed, DropReason::ShortTcp), 1);
    bed.client_sends(&tcp(client(), vip(), "S"));
    bed.inside.take();
    bed.client_sends(&truncated_l4);
    assert!(bed.inside.take().is_some());
    let mut bed = Plan::new(Method::Nat).build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    bed.client_sends(&truncated_l4);
    assert_eq!(dropped(&bed, DropReason::Untranslatable), 1);
}

#[test]
fn a_route_is_recorded_if_the_packet_asks_for_it() {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ip(etherparse::IpHeaders::Ipv4(
            etherparse::Ipv4Header {
                options: [7, 7, 4, 0, 0, 0, 0, 0].into(),
                source: [192, 0, 2, 10],
                destination: [10, 9, 9, 1],
                time_to_live: 64,
                protocol: etherparse::IpNumber::TCP,
                ..Default::default()
            },
            Default::default(),
        ))
        .tcp(40000, 80, 1, 1024)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    let mut bed = Plan::new(Method::Nat).build();
    bed.client_sends(&frame);
    let got = bed.inside.take().unwrap();
    assert_eq!(&got[34..42], &[7, 7, 8, 10, 9, 9, 1, 0]);
    assert!(ipv4::checksum_is_right(&got[14..42]));
}

#[test]
fn of_two_connections_with_the_same_reply_key_the_newer_is_found() {
    // Two virtual addresses, one server: with the same client port the replies have the same key.
    let plan = Plan::new(Method::Nat);
    let mut snapshot = plan.snapshot();
    let services = Arc::make_mut(&mut snapshot.services);
    let other = at(v4(10, 9, 9, 2), 80);
    plan.serve(services, other, std::iter::once(server()));
    snapshot.targets = [0, 1].map(|_| plan.network.target(server().address)).into();
    Arc::make_mut(&mut snapshot.network).local.insert(other.address);
    let mut bed = plan.bed_with(snapshot).unwrap();
    for to in [vip(), other] {
        bed.client_sends(&tcp(client(), to, "S"));
        bed.server_sends(&tcp(server(), client(), "SA"));
        let reply = bed.outside.take().unwrap();
        let std::net::IpAddr::V4(want) = to.address else { unreachable!() };
        assert_eq!(&reply[26..30], &want.octets());
    }
}

#[test]
fn an_icmp_error_keeps_the_tos_of_its_packet() {
    let mut bed = Plan { weight: 0, ..Plan::new(Method::Nat) }.build();
    bed.client_sends(&with_byte(tcp(client(), vip(), "S"), 15, 0xff));
    let got = bed.outside.take().unwrap();
    assert_eq!(view::<Ipv4Hdr>(&got, 14).unwrap().tos, 0xde);
}

#[test]
fn replies_of_a_local_server_are_translated() {
    let mut plan = Plan::new(Method::Nat);
    plan.network.local.insert(server().address);
    let mut bed = plan.build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    let (port, given) = bed.kernel.pop().expect("the kernel delivers it");
    assert_eq!((port, &crate::packet::Packet::bytes(&given)[30..34]), (0, &[10, 0, 2, 2][..]));
    let mut answer = tcp(server(), client(), "SA");
    answer[..12].copy_from_slice(&[&ROUTER[..], &CLIENT_SIDE[..]].concat());
    bed.worker.default_namespace.pipeline.from_kernel(
        0,
        Frame::new(&answer),
        crate::time::Tick(0),
        &mut bed_out(&bed),
    );
    assert_eq!(bed.stats.destinations[0].out_packets.get(), 1);
}

fn bed_out(bed: &Bed) -> crate::pipeline::TxBuffers<Frame> {
    crate::pipeline::TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([]))
}

#[test]
fn an_expiring_connection_is_revived_by_a_packet_in_time() {
    for (wait, alive) in [(0, true), (50, false)] {
        let mut bed = Plan::new(Method::Nat).build();
        bed.client_sends(&tcp(client(), vip(), "S"));
        bed.client_sends(&tcp(client(), vip(), "R"));
        bed.server_sends(&tcp(server(), client(), "R"));
        // A SYN with RST opens no connection.
        bed.client_sends(&tcp(client(), vip(), "SR"));
        bed.at(wait).worker.poll_once();
        bed.at(wait).server_sends(&tcp(server(), client(), "A"));
        assert_eq!(known(&bed, client(), vip(), protocol::TCP), alive, "after {wait} ms");
    }
}

#[test]
fn an_address_local_by_policy_only_sends_no_icmp_errors() {
    let plan = Plan { weight: 0, ..Plan::new(Method::Dr) };
    let mut snapshot = plan.snapshot();
    let services = Arc::make_mut(&mut snapshot.services);
    services.services[0].as_mut().unwrap().key = ServiceKey::Fwmark { fwmark: 7, ipv6: false };
    services.by_fwmark.insert((7, false), ServiceId(0));
    snapshot.fwmarks = [FwmarkRule { fwmark: 7, ..FwmarkRule::default() }].into();
    let network = Arc::make_mut(&mut snapshot.network);
    let mut table = RouteTable::default();
    table.routes4.insert("0.0.0.0/0".parse().unwrap(), Route::Local);
    network.tables.push(table);
    network.rules.push(Rule { ipv6: false, from: None, to: None, fwmark: Some(7), table: 0 });
    let mut bed = plan.bed_with(snapshot).unwrap();
    bed.client_sends(&tcp(client(), at(v4(203, 0, 113, 80), 80), "S"));
    assert_eq!((dropped(&bed, DropReason::Unanswerable), bed.outside.take()), (1, None));
    bed.client_sends(&tcp(client(), vip(), "S"));
    assert_eq!(bed.stats.counters.icmp_sent[IcmpReason::NoDestination as usize].get(), 1);
}

/// A destination behind an interface that is no port of ours: the kernel forwards translated packets, but would deliver
/// locally those that still carry the virtual address.
#[test]
fn only_nat_can_forward_through_the_kernel() {
    for (method, to_kernel, to_drop) in [(Method::Nat, 1, 0), (Method::Dr, 0, 1)] {
        let plan = Plan::new(method);
        let mut snapshot = plan.snapshot();
        for target in Arc::make_mut(&mut snapshot.targets).iter_mut() {
            target.next = NextHop::Kernel;
        }
        let mut bed = plan.bed_with(snapshot).unwrap();
        bed.client_sends(&tcp(client(), vip(), "S"));
        let got = (bed.stats.counters.to_kernel.get(), dropped(&bed, DropReason::NoRoute));
        assert_eq!(got, (to_kernel, to_drop), "{method:?}");
    }
}

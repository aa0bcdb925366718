//! IPv6 where it differs: ICMPv6 errors that exceed the MTU, AH, and extension headers.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use etherparse::PacketBuilder;

use super::bed::*;
use crate::config::{LinkId, Route};
use crate::flow::Endpoint;
use crate::service::Method;
use crate::verdict::DropReason;
use crate::wire::protocol;

pub(super) fn v6(net: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host).into()
}

const CLIENT6: u16 = 1;
pub(super) const SERVERS6: u16 = 2;

pub(super) fn client6() -> Endpoint {
    at(v6(CLIENT6, 10), 40000)
}

pub(super) fn vip6(l4_port: u16) -> Endpoint {
    at(v6(9, 1), l4_port)
}

/// A worker with one IPv6 service; `mtu` is the servers' link's.
pub(super) fn bed(plan: Plan, l4_port: u16, mtu: u16) -> Bed {
    let mut plan = plan;
    plan.network.links[1].mtu = mtu;
    plan.network.local.insert(vip6(0).address);
    let send = |link| Route::Send { link: LinkId(link), via: None, mtu: None, source: None };
    plan.network.routes6.insert("2001:db8:0:1::/64".parse().unwrap(), send(0));
    plan.network.routes6.insert("2001:db8:0:2::/64".parse().unwrap(), send(1));
    crate::testkit::neighbour(&mut plan.network, 1, v6(SERVERS6, 2), SERVER_MAC);
    let mut snapshot = plan.snapshot();
    let services = Arc::make_mut(&mut snapshot.services);
    *services = Default::default();
    plan.serve(services, vip6(l4_port), std::iter::once(at(v6(SERVERS6, 2), l4_port)));
    snapshot.targets = [plan.network.target(v6(SERVERS6, 2))].into();
    plan.bed_with(snapshot).unwrap()
}

pub(super) fn frame6(l4: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (client6().address, vip6(0).address) else { unreachable!() };
    let mut frame = [&CLIENT_SIDE[..], &ROUTER[..], &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[l4, 64]);
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn ah_follows_its_key_exchange_unless_like_linux() {
    for (like, carried) in [(false, true), (true, false)] {
        let mut plan = Plan { protocol: protocol::UDP, ..Plan::new(Method::Dr) };
        plan.settings.like_linux_6_1 = like;
        let mut bed = bed(plan, 500, 1500);
        bed.client_sends(&frame6(protocol::UDP, &[1, 0xf4, 1, 0xf4, 0, 8, 0, 0]));
        assert!(bed.inside.take().is_some(), "the key exchange");
        bed.client_sends(&frame6(protocol::AH, &[59, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]));
        assert_eq!(bed.inside.take().is_some(), carried);
        assert_eq!(bed.stats.counters.drops[DropReason::AhLikeLinux as usize].get(), u64::from(like));
    }
}

#[test]
fn an_icmpv6_error_that_exceeds_the_mtu_is_dropped() {
    let mut bed = bed(Plan::new(Method::Dr), 80, 1280);
    let (IpAddr::V6(from), IpAddr::V6(to)) = (client6().address, vip6(0).address) else { unreachable!() };
    let mut syn = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv6(from.octets(), to.octets(), 64)
        .tcp(40000, 80, 1, 1024)
        .syn()
        .write(&mut syn, &[])
        .unwrap();
    bed.client_sends(&syn);
    let mut reply = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv6(to.octets(), from.octets(), 64)
        .tcp(80, 40000, 1, 1024)
        .write(&mut reply, &[0; 1300])
        .unwrap();
    let error = [&[1, 0, 0, 0, 0, 0, 0, 0], &reply[14..]].concat();
    bed.client_sends(&frame6(protocol::ICMPV6, &error));
    assert_eq!(bed.stats.counters.drops[DropReason::TooBig as usize].get(), 1);
}

#[test]
fn tcp_behind_an_extension_header_reads_its_state_where_ipvs_does() {
    let mut bed = bed(Plan::new(Method::Dr), 80, 1500);
    // Hop-by-hop with padding, then a SYN.
    let mut syn = vec![6, 0, 1, 4, 0, 0, 0, 0];
    syn.extend_from_slice(&[0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]);
    bed.client_sends(&frame6(0, &syn));
    assert!(bed.inside.take().is_some());
    let load = bed.stats.destinations[0].load();
    assert_eq!((load.active, load.inactive), (0, 1), "no flag in sight: closed");
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let mut bed = bed(Plan { protocol: protocol::UDP, ..Plan::new(Method::Nat) }, 53, 1500);
    // Fragment header: UDP follows, first and last; then a datagram without data and without a checksum.
    let lone = [&[17, 0, 0, 0, 0, 0, 0, 7][..], &[0x9c, 0x40, 0, 53, 0, 8, 0, 0]].concat();
    bed.client_sends(&frame6(44, &lone));
    assert!(bed.inside.take().is_some());
    let counters = &bed.stats.destinations[0];
    assert_eq!((counters.in_packets.get(), counters.in_bytes.get()), (1, 48), "counted without its header");
}

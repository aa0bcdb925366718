//! ICMP errors about tunnels' outer packets, and what clients get; spec 6.8.

use etherparse::PacketBuilder;

use super::bed::*;
use crate::service::{Method, Tunnel};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::icmp::IcmpHdr;
use crate::wire::view;

/// An error from a router on the servers' side about an outer packet: `next_mtu` for "fragmentation needed".
pub(super) fn about_outer(outer: &[u8], kind: u8, code: u8, word: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(SERVER_MAC, SERVER_SIDE)
        .ipv4([10, 0, 2, 200], [10, 0, 2, 1], 64)
        .icmpv4_raw(kind, code, word.to_be_bytes())
        .write(&mut frame, &outer[14..])
        .unwrap();
    frame
}

fn tunnels() -> [Tunnel; 4] {
    [
        Tunnel::Ipip,
        Tunnel::Gue { l4_port: 6080, checksum: false },
        Tunnel::Gre { checksum: false },
        Tunnel::Gre { checksum: true },
    ]
}

/// A worker that has sent one packet through a tunnel, and that packet.
pub(super) fn after_one(tunnel: Tunnel, like_linux_6_1: bool) -> (Bed, Vec<u8>) {
    let mut plan = Plan::new(Method::Tunnel(tunnel));
    plan.settings.like_linux_6_1 = like_linux_6_1;
    plan.network.local.insert(v4(10, 0, 2, 1));
    let mut bed = plan.build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    let outer = bed.inside.take().expect("it went on");
    (bed, outer)
}

#[test]
fn a_client_gets_the_mtu_of_the_tunnel() {
    for tunnel in tunnels() {
        let (mut bed, outer) = after_one(tunnel, false);
        bed.server_sends(&about_outer(&outer, 3, 4, 1400));
        let message = bed.outside.take().unwrap_or_else(|| panic!("{tunnel:?}: nothing came"));
        let icmp: &IcmpHdr = view(&message, 34).unwrap();
        let overhead = crate::forward::encap::overhead(tunnel, &server().address);
        assert_eq!((icmp.kind, icmp.code, icmp.rest.get()), (3, 4, u32::from(1400 - overhead)), "{tunnel:?}");
        assert_eq!((&message[26..30], &message[30..34]), (&[10, 9, 9, 1][..], &[192, 0, 2, 10][..]));
        // The path MTU is cached from now on.
        let long = tcp_with(client(), vip(), "A", &[0; 1380]);
        bed.client_sends(&long);
        assert_eq!(
            bed.stats.counters.icmp_sent[IcmpReason::FragmentationNeeded as usize].get(),
            2,
            "{tunnel:?}"
        );
        // It expires after ten minutes; the connection has to live that long.
        bed.at(300_000).client_sends(&tcp(client(), vip(), "A"));
        bed.at(601_000).worker.poll_once();
        bed.client_sends(&long);
        assert!(bed.inside.take().is_some(), "{tunnel:?}");
    }
}

#[test]
fn linux_6_1_reports_the_mtu_used_so_far() {
    let (mut bed, outer) = after_one(Tunnel::Ipip, true);
    for mtu in [1480, 1480] {
        bed.server_sends(&about_outer(&outer, 3, 4, 1400));
        let message = bed.outside.take().unwrap();
        assert_eq!(view::<IcmpHdr>(&message, 34).unwrap().rest.get(), mtu);
    }
    bed.client_sends(&tcp(client(), vip(), "A"));
    bed.server_sends(&about_outer(&outer, 3, 4, 1400));
    assert_eq!(view::<IcmpHdr>(&bed.outside.take().unwrap(), 34).unwrap().rest.get(), 1380);
}

#[test]
fn other_errors_are_relayed_unchanged() {
    let (mut bed, outer) = after_one(Tunnel::Ipip, false);
    bed.server_sends(&about_outer(&outer, 3, 1, 0));
    let message = bed.outside.take().expect("the client gets an ICMP error");
    let icmp: &IcmpHdr = view(&message, 34).unwrap();
    assert_eq!((icmp.kind, icmp.code), (3, 1));
    assert_eq!(&message[42 + 12..42 + 20], &[192, 0, 2, 10, 10, 9, 9, 1], "it quotes the client's packet");
    assert_eq!(bed.stats.counters.icmp_sent[IcmpReason::TunnelError as usize].get(), 1);
}

#[test]
fn a_client_without_df_gets_no_error() {
    let mut plan = Plan::new(Method::Tunnel(Tunnel::Ipip));
    plan.network.local.insert(v4(10, 0, 2, 1));
    let mut bed = plan.build();
    bed.client_sends(&with_byte(tcp(client(), vip(), "S"), 20, 0));
    let outer = bed.inside.take().unwrap();
    bed.server_sends(&about_outer(&outer, 3, 4, 1400));
    assert_eq!(bed.outside.take(), None);
    assert_eq!(bed.stats.counters.drops[DropReason::PmtuLearnt as usize].get(), 1);
}

#[test]
fn an_error_about_a_foreign_tunnel_goes_to_the_kernel() {
    let (mut bed, outer) = after_one(Tunnel::Ipip, false);
    let mut strange = outer;
    strange[14 + 20 + 12] ^= 1; // another client inside
    bed.server_sends(&about_outer(&strange, 3, 1, 0));
    assert_eq!(bed.stats.counters.to_kernel.get(), 1);
}

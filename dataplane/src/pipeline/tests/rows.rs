//! Packets of balanced traffic, row by row.

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};

use super::bed::*;
use crate::service::{Method, Tunnel};
use crate::time::Millis;
use crate::wire::protocol;

/// Source and destination of a frame with its TTL, checksums verified.
pub(super) fn ends(frame: &[u8]) -> (crate::flow::Endpoint, crate::flow::Endpoint, u8) {
    let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let Some(NetHeaders::Ipv4(ip, _)) = headers.net else { panic!("not IPv4") };
    assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "IP checksum");
    let (from, to) = match headers.transport {
        Some(TransportHeader::Tcp(tcp)) => {
            let sum = tcp.calc_checksum_ipv4(&ip, headers.payload.slice()).unwrap();
            assert_eq!(tcp.checksum, sum, "TCP checksum");
            (tcp.source_port, tcp.destination_port)
        }
        Some(TransportHeader::Udp(udp)) => {
            let sum = udp.calc_checksum_ipv4(&ip, headers.payload.slice()).unwrap();
            assert_eq!(udp.checksum, sum, "UDP checksum");
            (udp.source_port, udp.destination_port)
        }
        _ => (0, 0),
    };
    (at(ip.source.into(), from), at(ip.destination.into(), to), ip.time_to_live)
}

#[test]
fn nat_translates_both_directions_and_decrements_the_ttl() {
    let mut bed = Plan::new(Method::Nat).build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    assert_eq!(ends(&bed.inside.take().unwrap()), (client(), server(), 63));
    bed.server_sends(&tcp(server(), client(), "SA"));
    let reply = bed.outside.take().unwrap();
    assert_eq!(ends(&reply), (vip(), client(), 63));
    assert_eq!(reply[..12], [&ROUTER[..], &CLIENT_SIDE[..]].concat());
}

#[test]
fn direct_routing_changes_only_the_frame_and_the_ttl() {
    let mut bed = Plan::new(Method::Dr).build();
    let sent = tcp(client(), vip(), "S");
    bed.client_sends(&sent);
    let got = bed.inside.take().unwrap();
    assert_eq!(ends(&got), (client(), vip(), 63));
    assert_eq!((&got[..6], &got[26..]), (&SERVER_MAC[..], &sent[26..]));
}

#[test]
fn a_tunnel_encapsulates_the_packet() {
    let mut bed = Plan::new(Method::Tunnel(Tunnel::Ipip)).build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    let got = bed.inside.take().unwrap();
    let (from, to, ttl) = ends(&got);
    assert_eq!((from.address, to.address, ttl), (v4(10, 0, 2, 1), server().address, 63));
    assert_eq!((got[23], got[34], got[42]), (4, 0x45, 63), "protocol, inner header, inner TTL");
}

#[test]
fn a_datagram_without_a_checksum_gets_one() {
    let mut bed = Plan { protocol: protocol::UDP, ..Plan::new(Method::Nat) }.build();
    let mut sent = udp(client(), vip(), b"odd");
    sent[40..42].fill(0);
    bed.client_sends(&sent);
    assert_eq!(ends(&bed.inside.take().unwrap()), (client(), server(), 63));
}

/// A UDP checksum of 0 means that there is none (RFC 768). The last word of the data makes the sum come out as 0.
#[test]
fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
    let mut bed = Plan { protocol: protocol::UDP, ..Plan::new(Method::Nat) }.build();
    for word in 0..=u16::MAX {
        let translated = udp(client(), server(), &word.to_be_bytes());
        if translated[40..42] != [0xff, 0xff] {
            continue;
        }
        for summed in [true, false] {
            let mut sent = udp(client(), vip(), &word.to_be_bytes());
            if !summed {
                sent[40..42].fill(0);
            }
            bed.client_sends(&sent);
            assert_eq!(bed.inside.take().unwrap()[40..42], [0xff, 0xff], "with a checksum before: {summed}");
        }
        return;
    }
    panic!("no word makes the checksum come out as 0");
}

#[test]
fn packets_of_no_service_go_to_the_kernel() {
    let mut bed = Plan::new(Method::Nat).build();
    let rows = [
        ("a port without a service", tcp(client(), at(vip().address, 81), "S")),
        ("an ACK of no connection", tcp(client(), vip(), "A")),
        ("a RST of no connection", tcp(client(), vip(), "SR")),
        ("active FTP's port", tcp(at(client().address, 20), vip(), "S")),
        ("UDP to a TCP service", udp(client(), vip(), b"")),
        ("a server's own business", tcp(server(), at(v4(8, 8, 8, 8), 53), "S")),
    ];
    for (count, (what, frame)) in rows.iter().enumerate() {
        if frame[..6] == SERVER_SIDE {
            bed.server_sends(frame)
        } else {
            bed.client_sends(frame)
        }
        assert_eq!(bed.stats.counters.to_kernel.get(), count as u64 + 1, "{what}");
        assert_eq!(bed.kernel.pop().unwrap().1, crate::io::mem::Frame::new(frame), "{what}");
    }
}

#[test]
fn an_idle_connection_expires_with_its_counts() {
    let mut bed = Plan::new(Method::Nat).build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    assert_eq!(bed.stats.destinations[0].load().active, 1);
    bed.at(60_100).worker.poll_once();
    assert_eq!(
        (bed.worker.default_namespace.pipeline.conns.used().ipv4, bed.stats.destinations[0].load().active),
        (0, 0)
    );
}

#[test]
fn a_syn_on_a_closed_connection_is_rescheduled() {
    let mut bed = Plan::new(Method::Nat).build();
    for flags in ["S", "R", "S"] {
        bed.client_sends(&tcp(client(), vip(), flags));
        bed.server_sends(&tcp(server(), client(), if flags == "R" { "R" } else { "SA" }));
    }
    assert_eq!(bed.stats.destinations[0].connections.get(), 2);
}

#[test]
fn an_icmp_error_about_a_reply_is_translated_with_its_quote() {
    let mut bed = Plan::new(Method::Nat).build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    bed.inside.take();
    bed.client_sends(&error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4));
    let got = bed.inside.take().unwrap();
    assert_eq!(ends(&got).1.address, server().address);
    // Behind 14 bytes of Ethernet, 20 of IP and 8 of ICMP: source address and port of the quoted packet.
    assert_eq!(
        (&got[42 + 12..42 + 16], &got[42 + 20..42 + 22]),
        (&[10, 0, 2, 2][..], &8080u16.to_be_bytes()[..])
    );
    assert_eq!(crate::wire::checksum::fold(crate::wire::checksum::sum(&got[34..])), 0xffff);
}

#[test]
fn a_packet_is_held_until_its_neighbour_is_resolved() {
    let mut bed = Plan::new(Method::Nat).build();
    let mut network = network();
    network.generation = 2;
    network.neighbours.retain(|key, _| key.1 != server().address);
    let mut plan = Plan::new(Method::Nat);
    plan.network = network;
    bed.worker.install(plan.snapshot(), &[]);
    bed.client_sends(&tcp(client(), vip(), "S"));
    assert_eq!((bed.inside.take(), bed.stats.counters.awaiting_neighbour.get()), (None, 1));
    bed.worker.install(Plan::new(Method::Nat).snapshot(), &[]);
    assert_eq!(ends(&bed.inside.take().unwrap()), (client(), server(), 63));
    bed.reconciles();
}

#[test]
fn an_established_connection_survives_a_flood() {
    let mut bed = Plan::new(Method::Nat).build();
    for flags in ["S", "A"] {
        bed.client_sends(&tcp(client(), vip(), flags));
    }
    for port in 0..500 {
        bed.client_sends(&tcp(at(v4(198, 51, 100, 1), 1024 + port), vip(), "S"));
    }
    let key = crate::flow::Key::between(client(), vip(), protocol::TCP).unwrap();
    let conns = &bed.worker.default_namespace.pipeline.conns;
    let (id, _) = conns.find(conns.hash(&key), &key).expect("the established one is there");
    assert_eq!(Millis(conns.entry(id).timeout), Millis::from_secs(900));
    assert!(bed.stats.counters.evicted.get() > 400);
}

/// The frame as it looks on VLAN 100.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00, 0x00, 100], &frame[12..]].concat()
}

#[test]
fn vlan_tags_follow_the_link() {
    let mut plan = Plan::new(Method::Nat);
    plan.network.links[0].vlan = Some(100);
    let (key, hop) =
        (plan.network.neighbours.iter().find(|(key, _)| key.0.0 == 0)).map(|(k, h)| (*k, *h)).unwrap();
    assert_eq!(key.1, v4(10, 0, 1, 254));
    plan.network.hops[hop.0 as usize] =
        crate::config::Network::hop(&plan.network.links[0], ROUTER)(crate::wire::ether::IPV4);
    let mut bed = plan.build();
    bed.client_sends(&tagged(&tcp(client(), vip(), "S")));
    assert_eq!(ends(&bed.inside.take().unwrap()), (client(), server(), 63), "the servers' side has no tag");
    bed.server_sends(&tcp(server(), client(), "SA"));
    let reply = bed.outside.take().unwrap();
    assert_eq!((&reply[12..16], &reply[16..18]), (&[0x81, 0x00, 0x00, 100][..], &[0x08, 0x00][..]));
    let untagged = [&reply[..12], &reply[16..]].concat();
    assert_eq!(ends(&untagged), (vip(), client(), 63));
}

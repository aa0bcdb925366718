use std::net::Ipv6Addr;

use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;
use crate::flow::{Key4, Key6, Ports};
use crate::wire::ipv4;

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn parsed4(packet: &[u8]) -> Parsed {
    let key = Key4::new(0, 0, Ports(0), packet[9]);
    Parsed { key: Key::V4(key), l4: 20, len: packet.len() as u16, ..Parsed::NOTHING }
}

/// The connection whose client's address of a packet changes from `old` to `new`.
fn entry(old: (u32, u16), new: (u32, u16)) -> Entry {
    let mut entry = Entry::new_zeroed();
    let of = |(address, port): (u32, u16)| checksum::of_u32(address) + u64::from(port);
    entry.delta_l3 = Delta::new(checksum::of_u32(old.0), checksum::of_u32(new.0)).0;
    entry.delta_l4 = Delta::new(of(old), of(new)).0;
    entry
}

/// Frames from the kernel, sctp-nat.json, from the IP header on.
#[test]
fn sctp_is_translated_as_linux_does_it() {
    let rows = [
        (
            "INIT to the server",
            Direction::In,
            (0x0a00_020b, 81),
            "45000034000500004084a52dc000020a0a0909010fa0005000000007b72f063e01000014000000070000ffff0001000100000001",
            "45000034000500003f84ad2cc000020a0a00020b0fa000510000000792e4ddc901000014000000070000ffff0001000100000001",
        ),
        (
            "a cookie to the server",
            Direction::In,
            (0x0a00_020b, 81),
            "45000028000500004084a539c000020a0a0909010fa000500000000734aa605c0a000008636f6f6b",
            "45000028000500003f84ad38c000020a0a00020b0fa00051000000076b7684030a000008636f6f6b",
        ),
        (
            "INIT ACK to the client",
            Direction::Out,
            (0x0a09_0901, 80),
            "45000034000500004084ac2c0a00020bc000020a00510fa00000000769ee027a02000014000000090000ffff0001000100000001",
            "45000034000500003f84a62d0a090901c000020a00500fa000000007e48ea50202000014000000090000ffff0001000100000001",
        ),
        (
            "the end to the client",
            Direction::Out,
            (0x0a09_0901, 80),
            "45000024000500004084ac3c0a00020bc000020a00510fa000000007781ebd3c08000004",
            "45000024000500003f84a63d0a090901c000020a00500fa00000000779e3335b08000004",
        ),
    ];
    for (what, direction, (address, l4_port), before, after) in rows {
        let mut packet = unhex(before);
        let parsed = parsed4(&packet);
        take_hop(&mut packet, 0, false);
        let end = NewEnd { address, l4_port };
        let entry = entry((0x0a09_0901, 80), (0x0a00_020b, 81));
        translate(&mut packet, &parsed, &entry, direction, end);
        assert_eq!(packet, unhex(after), "{what}");
    }
}

fn ip4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, 10, 9, 8, 7, 10, 1, 2, 3];
    packet.extend_from_slice(payload);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    ipv4::fill_checksum(&mut packet);
    packet
}

const OLD: u32 = 0x0a01_0203;

#[test]
fn a_packet_of_sctp_whose_port_stays_keeps_its_crc_even_a_wrong_one() {
    let mut packet =
        ip4(protocol::SCTP, &[0x0f, 0xa0, 0, 80, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 4]);
    let parsed = parsed4(&packet);
    let end = NewEnd { address: 0x0a00_020b, l4_port: 80 };
    translate(&mut packet, &parsed, &entry((OLD, 80), (0x0a00_020b, 80)), Direction::In, end);
    assert_eq!(packet[28..32], [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(packet[16..20], [10, 0, 2, 11]);
}

#[test]
fn what_has_no_ports_only_changes_its_address() {
    for protocol in [protocol::AH, protocol::ESP] {
        let mut packet = ip4(protocol, &[7; 33]);
        let entry = entry((OLD, 500), (0x0a00_020b, 500));
        translate_addresses(&mut packet, (0, false), &entry, Direction::In, 0x0a00_020b);
        let mut want = ip4(protocol, &[7; 33]);
        want[16..20].copy_from_slice(&[10, 0, 2, 11]);
        ipv4::fill_checksum(&mut want);
        assert_eq!(packet, want);
    }
    let mut packet = vec![0x60; 60];
    translate_addresses(&mut packet, (0, true), &entry((0, 0), (0, 0)), Direction::Out, 5);
    assert_eq!(packet[8..24], 5u128.to_be_bytes());
    assert!(packet[..8].iter().chain(&packet[24..]).all(|byte| *byte == 0x60));
}

#[test]
fn frames_cut_short_are_left_alone() {
    let datagram = ip4(protocol::SCTP, &[1; 16]);
    let parsed = parsed4(&datagram);
    for len in 0..datagram.len() {
        let mut packet = datagram[..len].to_vec();
        let end = NewEnd { address: 1, l4_port: 2 };
        translate(&mut packet, &parsed, &entry((OLD, 1), (1, 2)), Direction::In, end);
        assert_eq!(packet.get(20..), datagram.get(20..len));
    }
}

/// A check of UDP's sum by code that is not ours.
fn etherparse_sum(src: Ipv6Addr, dst: Ipv6Addr, datagram: &[u8]) -> u16 {
    let header = etherparse::UdpHeader::from_slice(datagram).unwrap().0;
    header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), &datagram[8..]).unwrap()
}

proptest! {
    #[test]
    fn a_translated_packet_of_sctp_is_one_made_so(rest in prop::collection::vec(any::<u8>(), 4..200), port: u16) {
        let make = |dst: u16| {
            let mut packet = vec![0x0f, 0xa0];
            packet.extend_from_slice(&dst.to_be_bytes());
            packet.extend_from_slice(&[1, 2, 3, 4, 0, 0, 0, 0]);
            packet.extend_from_slice(&rest);
            let crc = crc32c::crc32c(&packet);
            packet[8..12].copy_from_slice(&crc.to_le_bytes());
            packet
        };
        let mut packet = ip4(protocol::SCTP, &make(80));
        let parsed = parsed4(&packet);
        let end = NewEnd { address: OLD.into(), l4_port: port };
        translate(&mut packet, &parsed, &entry((OLD, 80), (OLD, port)), Direction::In, end);
        prop_assert_eq!(&packet[20..], &make(port));
    }

    #[test]
    fn sums_over_pieces_are_sums_over_the_whole(
        src in any::<u128>(), dst in any::<u128>(), mut datagram in prop::collection::vec(any::<u8>(), 8..300), cuts in prop::collection::vec(0..38_usize, 0..5),
    ) {
        let len = datagram.len() as u16;
        datagram[4..6].copy_from_slice(&len.to_be_bytes());
        datagram[6..8].fill(0);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| (cut * 8).min(datagram.len())).collect();
        cuts.extend([0, datagram.len()]);
        cuts.sort_unstable();
        let fragments = || cuts.windows(2).map(|two| &datagram[two[0]..two[1]]);
        let addresses = checksum::of_u128(src) + checksum::of_u128(dst);
        let (src, dst) = (Ipv6Addr::from_bits(src), Ipv6Addr::from_bits(dst));
        prop_assert_eq!(udp_sum(addresses, fragments()).get(), etherparse_sum(src, dst, &datagram));
        prop_assert_eq!(sctp_crc(fragments()), crc32c::crc32c(&datagram));
    }
}

#[test]
fn a_datagram_without_a_sum_gets_one_over_ipv6_too() {
    let address = 0x2001_0db8_u128 << 96 | 11;
    let mut packet = vec![0x60, 0, 0, 0, 0, 11, protocol::UDP, 64];
    packet.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
    packet.extend_from_slice(&[0xfd; 16]);
    packet.extend_from_slice(&[0x13, 0x88, 0, 53, 0, 11, 0, 0, 1, 2, 3]);
    let key = Key6::new(1, 0, Ports(0), protocol::UDP);
    let parsed = Parsed { key: Key::V6(key), l4: 40, len: 51, ..Parsed::NOTHING };
    let end = NewEnd { address, l4_port: 5353 };
    translate(&mut packet, &parsed, &Entry::new_zeroed(), Direction::In, end);
    let sum = etherparse_sum(Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(address), &packet[40..]);
    assert_eq!(packet[46..48], sum.to_be_bytes());
}

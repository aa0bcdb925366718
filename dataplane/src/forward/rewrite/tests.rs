use std::net::Ipv6Addr;

use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;
use crate::conn::Flags;
use crate::flow::{Key4, Key6, Ports};
use crate::service::Tunnel;
use crate::wire::ipv4;

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

fn parsed4(packet: &[u8]) -> Parsed {
    let key = Key4::new(0, 0, Ports(0), packet[9]);
    Parsed { key: Key::V4(key), kind: Kind::Flow, l4: 20, len: packet.len() as u16, ..Parsed::NOTHING }
}

/// An address, IPv4 in the low 32 bits, and a port.
pub(crate) type End = (u128, u16);

/// The new end that makes `new` of `old`, with its checksum deltas.
pub(crate) fn new_end(old: End, new: End) -> NewEnd {
    let sum = |(address, port): End| checksum::of_u128(address) + u64::from(port);
    NewEnd {
        address: new.0,
        l4_port: new.1.into(),
        delta_l3: Delta::new(checksum::of_u128(old.0), checksum::of_u128(new.0)),
        delta_l4: Delta::new(sum(old), sum(new)),
    }
}

fn to(old: End, new: End) -> Rewrite {
    Rewrite { src: None, dst: Some(new_end(old, new)) }
}

fn from(old: End, new: End) -> Rewrite {
    Rewrite { src: Some(new_end(old, new)), dst: None }
}

const VIRTUAL: End = (0x0a09_0901, 80);
const SERVER: End = (0x0a00_020b, 81);

/// Frames from the kernel, sctp-nat.json, from the IP header on.
#[test]
fn sctp_is_rewritten_as_by_linux() {
    let rows = [
        (
            "INIT to the server",
            to(VIRTUAL, SERVER),
            "45000034000500004084a52dc000020a0a0909010fa0005000000007b72f063e01000014000000070000ffff0001000100000001",
            "45000034000500003f84ad2cc000020a0a00020b0fa000510000000792e4ddc901000014000000070000ffff0001000100000001",
        ),
        (
            "a cookie to the server",
            to(VIRTUAL, SERVER),
            "45000028000500004084a539c000020a0a0909010fa000500000000734aa605c0a000008636f6f6b",
            "45000028000500003f84ad38c000020a0a00020b0fa00051000000076b7684030a000008636f6f6b",
        ),
        (
            "INIT ACK to the client",
            from(SERVER, VIRTUAL),
            "45000034000500004084ac2c0a00020bc000020a00510fa00000000769ee027a02000014000000090000ffff0001000100000001",
            "45000034000500003f84a62d0a090901c000020a00500fa000000007e48ea50202000014000000090000ffff0001000100000001",
        ),
        (
            "the end to the client",
            from(SERVER, VIRTUAL),
            "45000024000500004084ac3c0a00020bc000020a00510fa000000007781ebd3c08000004",
            "45000024000500003f84a63d0a090901c000020a00500fa00000000779e3335b08000004",
        ),
    ];
    for (what, rewrite, before, after) in rows {
        let mut packet = unhex(before);
        let parsed = parsed4(&packet);
        decrement_ttl(&mut packet, 0, false);
        apply(&mut packet, &parsed, &rewrite);
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

/// The destination of packets made by [`ip4`].
const OLD: u128 = 0x0a01_0203;

#[test]
fn an_sctp_packet_whose_port_stays_keeps_its_crc_even_a_wrong_one() {
    let mut packet =
        ip4(protocol::SCTP, &[0x0f, 0xa0, 0, 80, 1, 2, 3, 4, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 4]);
    let parsed = parsed4(&packet);
    apply(&mut packet, &parsed, &to((OLD, 80), (SERVER.0, 80)));
    assert_eq!(packet[28..32], [0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(packet[16..20], [10, 0, 2, 11]);
}

#[test]
fn a_packet_without_ports_gets_new_addresses_alone() {
    for protocol in [protocol::AH, protocol::ESP] {
        let mut packet = ip4(protocol, &[7; 33]);
        let parsed = Parsed { kind: Kind::Ipsec, ..parsed4(&packet) };
        apply(&mut packet, &parsed, &to((OLD, 500), (SERVER.0, 500)));
        let mut want = ip4(protocol, &[7; 33]);
        want[16..20].copy_from_slice(&[10, 0, 2, 11]);
        ipv4::fill_checksum(&mut want);
        assert_eq!(packet, want);
    }
    let mut packet = vec![0x60; 60];
    apply_to_header(&mut packet, 0, true, &from((0, 0), (5, 0)));
    assert_eq!(packet[8..24], 5u128.to_be_bytes());
    assert!(packet[..8].iter().chain(&packet[24..]).all(|byte| *byte == 0x60));
}

#[test]
fn the_transport_header_of_a_short_frame_is_left_alone() {
    let datagram = ip4(protocol::SCTP, &[1; 16]);
    let parsed = parsed4(&datagram);
    for len in 0..datagram.len() {
        let mut packet = datagram[..len].to_vec();
        apply(&mut packet, &parsed, &to((OLD, 1), (1, 2)));
        assert_eq!(packet.get(20..), datagram.get(20..len));
    }
}

/// The connection from the client 1:1 to the virtual end 2:2, served by 3:3.
fn connection(flags: Flags) -> Entry {
    let mut entry = Entry::new_zeroed();
    (entry.client_port, entry.virtual_port, entry.destination_port) = (1.into(), 2.into(), 3.into());
    let delta = new_end((2, 2), (3, 3));
    (entry.delta_l3, entry.delta_l4, entry.flags) = (delta.delta_l3.0, delta.delta_l4.0, flags);
    entry
}

#[test]
fn method_and_direction_choose_the_new_ends() {
    let addresses = Addresses { virtual_: 2, destination: 3 };
    let both =
        |flags| [Direction::In, Direction::Out].map(|to| Rewrite::new(&connection(flags), to, addresses));
    let nat = [to((2, 2), (3, 3)), from((3, 3), (2, 2))];
    // Reversed, the delta of a change is the delta of the change undone.
    let reversed = |mut end: NewEnd| {
        let there = new_end((2, 2), (3, 3));
        (end.delta_l3, end.delta_l4) = (there.delta_l3.reversed(), there.delta_l4.reversed());
        end
    };
    assert_eq!(both(Flags::NAT), [nat[0], Rewrite { src: nat[1].src.map(reversed), dst: None }]);
    for flags in [Flags::of(Method::Dr), Flags::of(Method::Tunnel(Tunnel::Ipip)), Flags::BYPASS] {
        assert_eq!(both(flags), [Rewrite::default(); 2]);
    }
}

/// A check of UDP's sum by code that is not ours.
fn etherparse_sum(src: Ipv6Addr, dst: Ipv6Addr, datagram: &[u8]) -> u16 {
    let header = etherparse::UdpHeader::from_slice(datagram).unwrap().0;
    header.calc_checksum_ipv6_raw(src.octets(), dst.octets(), &datagram[8..]).unwrap()
}

/// A packet from its IP header on, with the checksums that etherparse computes.
pub(crate) fn packet(ipv6: bool, protocol: u8, (src, dst): (End, End), payload: &[u8]) -> Vec<u8> {
    let v4 = |address: u128| (address as u32).to_be_bytes();
    let builder = if ipv6 {
        etherparse::PacketBuilder::ipv6(src.0.to_be_bytes(), dst.0.to_be_bytes(), 64)
    } else {
        etherparse::PacketBuilder::ipv4(v4(src.0), v4(dst.0), 64)
    };
    let mut packet = Vec::new();
    match protocol {
        protocol::TCP => builder.tcp(src.1, dst.1, 7, 1000).write(&mut packet, payload).unwrap(),
        protocol::UDP => builder.udp(src.1, dst.1).write(&mut packet, payload).unwrap(),
        other => {
            let mut sctp = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
            sctp.extend_from_slice(&[1, 2, 3, 4, 0, 0, 0, 0]);
            sctp.extend_from_slice(payload);
            let crc = crc32c::crc32c(&sctp);
            sctp[8..12].copy_from_slice(&crc.to_le_bytes());
            builder.write(&mut packet, other.into(), &sctp).unwrap();
        }
    }
    packet
}

/// How [`packet`] is parsed.
pub(crate) fn parsed(ipv6: bool, protocol: u8, packet: &[u8]) -> Parsed {
    let (key, l4) = if ipv6 {
        (Key::V6(Key6::new(0, 0, Ports(0), protocol)), 40)
    } else {
        (Key::V4(Key4::new(0, 0, Ports(0), protocol)), 20)
    };
    Parsed { key, kind: Kind::Flow, l4, len: packet.len() as u16, protocol, ..Parsed::NOTHING }
}

/// A packet, and which of its ends become what.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub ipv6: bool,
    pub protocol: u8,
    /// Source and destination.
    pub old: (End, End),
    /// Source and destination after the rewrite.
    pub new: (End, End),
    pub rewrite: Rewrite,
    pub payload: Vec<u8>,
}

impl Case {
    pub(crate) fn before(&self) -> Vec<u8> {
        packet(self.ipv6, self.protocol, self.old, &self.payload)
    }

    pub(crate) fn after(&self) -> Vec<u8> {
        packet(self.ipv6, self.protocol, self.new, &self.payload)
    }

    pub(crate) fn parsed(&self) -> Parsed {
        parsed(self.ipv6, self.protocol, &self.before())
    }
}

/// Packets of all families and protocols, with neither, either and both of their ends rewritten.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    let protocols = prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::SCTP]);
    let ends = (any::<[End; 4]>(), any::<[bool; 2]>());
    (any::<bool>(), protocols, ends, prop::collection::vec(any::<u8>(), 0..200)).prop_map(
        |(ipv6, protocol, (ends, [src, dst]), payload)| {
            let [old_src, old_dst, new_src, new_dst] =
                ends.map(|(address, port)| (if ipv6 { address } else { address & 0xffff_ffff }, port));
            let (old, new) = (
                (old_src, old_dst),
                (if src { new_src } else { old_src }, if dst { new_dst } else { old_dst }),
            );
            let rewrite = Rewrite {
                src: src.then(|| new_end(old_src, new_src)),
                dst: dst.then(|| new_end(old_dst, new_dst)),
            };
            Case { ipv6, protocol, old, new, rewrite, payload }
        },
    )
}

proptest! {
    #[test]
    fn patched_checksums_are_full_checksums(case in cases()) {
        let mut packet = case.before();
        apply(&mut packet, &case.parsed(), &case.rewrite);
        prop_assert_eq!(packet, case.after());
    }

    #[test]
    fn checksums_over_parts_are_checksums_over_all(
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
fn a_udp_datagram_without_a_checksum_gets_one_when_it_is_rewritten() {
    let (source, target) = (Ipv6Addr::LOCALHOST, Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | 11));
    let ends = ((source.to_bits(), 5000), (Ipv6Addr::from([0xfd; 16]).to_bits(), 53));
    let mut packet = packet(true, protocol::UDP, ends, &[1, 2, 3]);
    packet[46..48].fill(0);
    let (unchanged, parsed) = (packet.clone(), parsed(true, protocol::UDP, &packet));
    apply(&mut packet, &parsed, &Rewrite::default());
    assert_eq!(packet, unchanged);
    apply(&mut packet, &parsed, &to(ends.1, (target.to_bits(), 5353)));
    assert_eq!(packet[46..48], etherparse_sum(source, target, &packet[40..]).to_be_bytes());
}

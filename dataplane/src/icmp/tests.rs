use proptest::prelude::*;

use super::*;
use crate::forward::rewrite::tests::{End, cases, new_end, packet};
use crate::parse::{Kind, parse};
use crate::wire::ether;

const MAC: ether::MacBytes = [2; 6];

/// A frame with an ICMP error, "port unreachable", between the addresses of these ends. etherparse computes its checksums.
fn error(ipv6: bool, (src, dst): (End, End), quoted: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2([3; 6], MAC);
    let v4 = |address: u128| (address as u32).to_be_bytes();
    let mut frame = Vec::new();
    if ipv6 {
        let builder = builder.ipv6(src.0.to_be_bytes(), dst.0.to_be_bytes(), 64);
        builder.icmpv6_raw(1, 4, [0; 4]).write(&mut frame, quoted).unwrap();
    } else {
        builder.ipv4(v4(src.0), v4(dst.0), 64).icmpv4_raw(3, 3, [0; 4]).write(&mut frame, quoted).unwrap();
    }
    frame
}

fn parsed(frame: &[u8]) -> Parsed {
    let mut parsed = Parsed::NOTHING;
    parse(frame, &mut parsed).unwrap();
    assert_eq!(parsed.kind, Kind::IcmpError);
    parsed
}

proptest! {
    /// The packet that an error quotes travelled the other way, so it gets the mirrored rewrite.
    #[test]
    fn an_error_is_rewritten_with_the_packet_it_quotes(case in cases()) {
        let reversed = |(src, dst): (End, End)| (dst, src);
        let quoted = packet(case.ipv6, case.protocol, reversed(case.old), &case.payload);
        let mut after = packet(case.ipv6, case.protocol, reversed(case.new), &case.payload);
        // The checksum of the quoted transport header stays as it was.
        let sum = if case.ipv6 { 40 } else { 20 } + match case.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => 8,
        };
        let len = if case.protocol == protocol::SCTP { 4 } else { 2 };
        after[sum..sum + len].copy_from_slice(&quoted[sum..sum + len]);

        let mut frame = error(case.ipv6, case.old, &quoted);
        let parsed = parsed(&frame);
        translate(&mut frame, &parsed, &case.rewrite);
        prop_assert!(checksum_is_right(&frame, &parsed));
        prop_assert_eq!(frame, error(case.ipv6, case.new, &after));
    }
}

#[test]
fn a_quoted_packet_without_ports_gets_new_addresses_alone() {
    let (client, virtual_, server) = ((0x0a00_0001, 500), (0x0a00_0002, 500), (0x0a00_0003, 500));
    let esp = |src: End, dst: End| {
        let mut packet = packet(false, protocol::ESP, (src, dst), &[]);
        packet[20..28].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 1]);
        packet
    };
    let mut frame = error(false, (client, virtual_), &esp(virtual_, client));
    let parsed = parsed(&frame);
    let rewrite = Rewrite { src: None, dst: Some(new_end(virtual_, server)) };
    translate(&mut frame, &parsed, &rewrite);
    assert_eq!(frame, error(false, (client, server), &esp(server, client)));
}

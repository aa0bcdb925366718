use proptest::prelude::*;

use super::*;
use crate::io::mem::Frame;
use crate::wire::checksum;

mod golden;

/// The fragments of `packet`, which lies behind `l3` other bytes, without those.
fn fragments(packet: &[u8], l3: usize, mtu: u16, id: u32) -> Result<Vec<Vec<u8>>, DropReason> {
    let frame = Frame::new(&[&vec![0xee; l3][..], packet].concat());
    let mut fragments = Vec::new();
    let ipv6 = packet[0] >> 4 == 6;
    cut(frame, l3 as u16, ipv6, mtu, id, |fragment| {
        assert_eq!(fragment.bytes()[..l3], vec![0xee; l3]);
        fragments.push(fragment.bytes()[l3..].to_vec());
    })?;
    Ok(fragments)
}

fn packet4(options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x45 + (options.len() / 4) as u8,
        3,
        0,
        0,
        0x12,
        0x34,
        0,
        0,
        9,
        17,
        0,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
    ];
    packet.extend_from_slice(options);
    packet.extend_from_slice(payload);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    ipv4::fill_checksum(&mut packet);
    packet
}

/// An IPv6 packet with extension headers: `chain` are protocol numbers, the payload's the last of them.
fn packet6(chain: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60; 40];
    packet[6] = chain[0];
    for next in &chain[1..] {
        packet.extend_from_slice(&[*next, 0, 0, 0, 0, 0, 0, 0]);
    }
    packet.extend_from_slice(payload);
    let len = packet.len() as u16 - 40;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet
}

#[test]
fn options_that_are_not_copied_are_blanked_except_in_the_first_fragment() {
    // Record route (7), strict source route (137), router alert (148), end.
    let options = [7, 3, 4, 137, 3, 5, 1, 148, 4, 0, 0, 0];
    let fragments = fragments(&packet4(&options, 0, &[5; 30]), 0, 48, 0).unwrap();
    assert_eq!(fragments.len(), 2);
    assert_eq!(fragments[0][20..32], options);
    assert_eq!(fragments[1][20..32], [1, 1, 1, 137, 3, 5, 1, 148, 4, 0, 0, 0]);
}

#[test]
fn malformed_options_are_survived() {
    for options in [[7, 0, 1, 1], [7, 1, 1, 1], [7, 5, 1, 1], [1, 1, 1, 7]] {
        assert_eq!(fragments(&packet4(&options, 0, &[5; 30]), 0, 40, 0).unwrap().len(), 2);
    }
}

#[test]
fn a_fragment_is_split_into_fragments_of_the_same_datagram() {
    let fragments = fragments(&packet4(&[], ipv4::MORE_FRAGMENTS | 10, &[5; 24]), 0, 36, 0).unwrap();
    let fields: Vec<_> =
        fragments.iter().map(|fragment| u16::from_be_bytes([fragment[6], fragment[7]])).collect();
    assert_eq!(fields, [ipv4::MORE_FRAGMENTS | 10, ipv4::MORE_FRAGMENTS | 12]);
}

#[test]
fn a_fragment_header_goes_behind_the_headers_that_routers_read() {
    // Chain of protocol numbers, position of the fragment header, and its next header.
    let rows: [(&[u8], usize, u8); 6] = [
        (&[17], 40, 17),
        (&[0, 17], 48, 17),
        (&[60, 17], 40, 60),
        (&[0, 60, 17], 48, 60),
        (&[0, 60, 43, 17], 64, 17),
        (&[43, 60, 17], 48, 60),
    ];
    for (chain, at, next) in rows {
        let packet = packet6(chain, &[9; 100]);
        let fragments = fragments(&packet, 18, 120, 0xabcd_ef01).unwrap();
        for fragment in &fragments {
            let header = view::<FragmentHdr>(fragment, at).unwrap();
            assert_eq!((header.next, header.id.get()), (next, 0xabcd_ef01));
            assert!(fragment.len() <= 120);
        }
        let payload: Vec<u8> = fragments.iter().flat_map(|fragment| &fragment[at + 8..]).copied().collect();
        assert_eq!(payload, packet[at..], "{chain:?}");
    }
}

#[test]
fn packets_that_cannot_be_split_are_refused_with_a_reason() {
    let big = packet4(&[], 0, &[0; 2000]);
    assert_eq!(fragments(&big, 0, 27, 0), Err(DropReason::TooBig));
    assert_eq!(fragments(&big, 0, 44, 0), Err(DropReason::TooBig));
    assert_eq!(fragments(&big, 0, 2020, 0).unwrap(), [big.as_slice()]);
    assert_eq!(fragments(&packet4(&[], 0x1fff, &[0; 100]), 0, 60, 0), Err(DropReason::BadIpHeader));
    assert_eq!(fragments(&big[..500], 0, 100, 0), Err(DropReason::ShortIp));
}

/// Offset of a fragment, whether more follow, and its payload.
fn read(fragment: &[u8]) -> (usize, bool, &[u8]) {
    if fragment[0] >> 4 == 6 {
        let header = view::<FragmentHdr>(fragment, 40).unwrap();
        let offset = header.offset.get();
        assert_eq!(usize::from(u16::from_be_bytes([fragment[4], fragment[5]])) + 40, fragment.len());
        return ((offset & !7).into(), offset & 1 != 0, &fragment[48..]);
    }
    let ip = view::<Ipv4Hdr>(fragment, 0).unwrap();
    assert_eq!(usize::from(ip.len.get()), fragment.len());
    assert_eq!(checksum::fold(checksum::sum(&fragment[..ip.header_len()])), 0xffff);
    let field = ip.fragment.get();
    (usize::from(field & 0x1fff) * 8, field & 0x2000 != 0, &fragment[ip.header_len()..])
}

proptest! {
    #[test]
    fn fragments_fit_the_mtu_and_add_up_to_the_packet(
        ipv6 in any::<bool>(), options in 0..11_usize, l3 in 0..30_usize, mtu in 130..1500_u16, again in 100..1500_u16,
        payload in prop::collection::vec(any::<u8>(), 1..3000),
    ) {
        let packet = if ipv6 { packet6(&[17], &payload) } else { packet4(&vec![1; options * 4], 0x4000, &payload) };
        let mut cut_once = fragments(&packet, l3, mtu, 7).unwrap();
        if cut_once.len() > 1 {
            cut_once = cut_once.iter().flat_map(|fragment| fragments(fragment, l3, again, 8).unwrap()).collect();
            let most = usize::from(mtu.min(again));
            let mut received = Vec::new();
            for (n, fragment) in cut_once.iter().enumerate() {
                let (offset, more, part) = read(fragment);
                prop_assert!(fragment.len() <= most && !part.is_empty());
                prop_assert_eq!((offset, more), (received.len(), n + 1 < cut_once.len()));
                prop_assert!(!more || part.len() % 8 == 0);
                received.extend_from_slice(part);
            }
            prop_assert_eq!(received, payload);
        } else {
            prop_assert_eq!(&cut_once[0], &packet);
            prop_assert!(packet.len() <= mtu.into());
        }
    }

    #[test]
    fn any_bytes_are_survived(
        mut frame in prop::collection::vec(any::<u8>(), 0..300), version in 4..7_u8, l3 in 0..40_u16, mtu in 0..200_u16, len in any::<u8>(),
    ) {
        let at = usize::from(l3);
        if frame.len() > at + 6 {
            frame[at] = version << 4 | frame[at] & 15;
            // Lengths that lead somewhere.
            frame[at + if version == 6 { 4 } else { 2 }] = 0;
            frame[at + if version == 6 { 5 } else { 3 }] = len;
        }
        let _ = cut(Frame::new(&frame), l3, version == 6, mtu, 1, drop);
    }
}

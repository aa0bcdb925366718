use proptest::prelude::*;

use super::*;
use crate::forward::rewrite;
use crate::io::mem::Frame;
use crate::wire::checksum::Delta;

mod golden;

fn outer(tunnel: Tunnel, ipv6: bool) -> Outer {
    let (source, target) = if ipv6 { ("fd00:2::1", "fd00:2::c") } else { ("10.0.2.1", "10.0.2.12") };
    Outer { source: source.parse().unwrap(), target: target.parse().unwrap(), tunnel, keep_df: true }
}

fn inner(ipv6: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; if ipv6 { ipv6::LEN } else { ipv4::LEN }];
    packet[0] = if ipv6 { 0x60 } else { 0x45 };
    packet.extend_from_slice(payload);
    packet
}

fn span(l3: u16, ipv6: bool, len: usize) -> IpSpan {
    IpSpan { l3, ipv6, len: len as u16 }
}

fn any_tunnel() -> impl Strategy<Value = Tunnel> {
    prop_oneof![
        Just(Tunnel::Ipip),
        any::<(u16, bool)>().prop_map(|(l4_port, checksum)| Tunnel::Gue { l4_port, checksum }),
        any::<bool>().prop_map(|checksum| Tunnel::Gre { checksum }),
    ]
}

#[test]
fn a_packet_too_long_for_an_outer_header_is_refused() {
    for (ipv6, len, fits) in [(false, 65535 - 20, true), (false, 65535 - 19, false), (true, 65535 - 20, true)]
    {
        let mut packet = Frame::new(&inner(false, &vec![0; len - 20]));
        let path = outer(Tunnel::Ipip, ipv6);
        let done = tunnel(&mut packet, span(0, false, len), &path, 0, &mut 0);
        assert_eq!(done.is_ok(), fits, "{len} bytes: {done:?}");
    }
}

#[test]
fn mixed_outer_families_and_truncated_frames_are_refused() {
    let mut mixed = outer(Tunnel::Ipip, false);
    mixed.source = "fd00::1".parse().unwrap();
    let datagram = inner(false, b"text");
    let run =
        |bytes: &[u8], outer: &Outer| tunnel(&mut Frame::new(bytes), span(0, false, 24), outer, 0, &mut 0);
    assert_eq!(run(&datagram, &mixed), Err(DropReason::NoRoute));
    for len in 0..datagram.len() {
        assert_eq!(run(&datagram[..len], &outer(Tunnel::Ipip, false)), Err(DropReason::ShortIp));
    }
}

#[test]
fn the_source_port_of_gue_depends_on_the_flow_and_is_in_range() {
    assert_eq!(source_l4_port(0), FIRST_L4_PORT);
    assert_eq!(source_l4_port(u64::MAX), LAST_L4_PORT);
    assert_ne!(source_l4_port(1 << 63), source_l4_port(1 << 62));
}

proptest! {
    #[test]
    fn the_headers_in_front_are_right_and_the_packet_is_unchanged(
        kind in any_tunnel(), (outer6, inner6) in any::<(bool, bool)>(), l3 in 0..100_u16, hash in any::<u64>(), mut id in any::<u16>(),
        payload in prop::collection::vec(any::<u8>(), 0..200), padding in 0..20_usize,
    ) {
        let inner = inner(inner6, &payload);
        let frame = [&vec![0xee; l3.into()][..], &inner, &vec![0xdd; padding]].concat();
        let mut packet = Frame::new(&frame);
        let path = outer(kind, outer6);
        let at = tunnel(&mut packet, span(l3, inner6, inner.len()), &path, hash, &mut id).unwrap();
        let head = usize::from(overhead(kind, &path.target));
        let made = &packet.bytes()[at.into()..];
        prop_assert_eq!(&made[head..head + inner.len()], &inner[..]);
        let made = &made[..head + inner.len()];
        let parsed = etherparse::SlicedPacket::from_ip(made).unwrap();
        let payload = parsed.ip_payload().unwrap().payload;
        prop_assert_eq!(payload.len(), head + inner.len() - if outer6 { 40 } else { 20 });
        if !outer6 {
            prop_assert_eq!(checksum::fold(checksum::sum(&made[..20])), 0xffff);
        }
        let addresses = if outer6 { &made[8..40] } else { &made[12..20] };
        match kind {
            Tunnel::Ipip => prop_assert_eq!(payload, &inner[..]),
            Tunnel::Gue { checksum: false, .. } => prop_assert_eq!(payload[6..8].to_vec(), [0, 0]),
            Tunnel::Gue { checksum: true, .. } => {
                let pseudo = checksum::pseudo(checksum::sum(addresses), protocol::UDP, payload.len());
                prop_assert_eq!(checksum::fold(pseudo + checksum::sum(payload)), 0xffff);
            }
            Tunnel::Gre { checksum: false } => prop_assert_eq!(payload[..2].to_vec(), [0, 0]),
            Tunnel::Gre { checksum: true } => {
                prop_assert_eq!(checksum::fold(checksum::sum(payload)), 0xffff);
            }
        }
    }

    #[test]
    fn any_frame_and_position_is_survived(
        kind in any_tunnel(), (l3, inner6, len) in any::<(u16, bool, u16)>(), frame in prop::collection::vec(any::<u8>(), 0..200), ipv6 in any::<bool>(),
    ) {
        for span in [IpSpan { l3, ipv6: inner6, len }, IpSpan { l3: l3 % 200, ipv6: inner6, len: len % 200 }] {
            let _ = tunnel(&mut Frame::new(&frame), span, &outer(kind, ipv6), 7, &mut 0);
        }
    }
}

use proptest::prelude::*;
use zerocopy::network_endian::{U32, U128};

use super::*;
use crate::forward::rewrite::tests::{Case, cases};
use crate::forward::rewrite::{self, never_zero};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::{ether, protocol};

/// Changes a frame as the fast path does.
fn change<I: Ip, S: End<I::Address>, D: End<I::Address>>(frame: &mut [u8], protocol: u8, src: S, dst: D) {
    let change = PlainRewrite { src, dst };
    let head = if protocol == protocol::UDP {
        let UdpStart { head, sum, .. } = start::<UdpStart<I>>(frame).unwrap();
        *sum = never_zero(change.patch::<I::Address>(*sum));
        head
    } else {
        let TcpStart { head, sum, .. } = start::<TcpStart<I>>(frame).unwrap();
        *sum = change.patch::<I::Address>(*sum);
        head
    };
    change.apply(head);
}

/// Changes a frame as the fast path does, with the ends that the case replaces.
fn change_ends<I: Ip>(frame: &mut [u8], case: &Case, address: fn(u128) -> I::Address) {
    let end = |end: NewEnd| NewEnd {
        address: address(end.address),
        l4_port: end.l4_port,
        delta_l3: end.delta_l3,
        delta_l4: end.delta_l4,
    };
    match (case.rewrite.src.map(end), case.rewrite.dst.map(end)) {
        (None, None) => change::<I, _, _>(frame, case.protocol, Unchanged, Unchanged),
        (Some(src), None) => change::<I, _, _>(frame, case.protocol, src, Unchanged),
        (None, Some(dst)) => change::<I, _, _>(frame, case.protocol, Unchanged, dst),
        (Some(src), Some(dst)) => change::<I, _, _>(frame, case.protocol, src, dst),
    }
}

proptest! {
    #[test]
    fn a_plain_packet_is_changed_as_any_packet_is_rewritten(case in cases()) {
        prop_assume!(case.protocol != protocol::SCTP);
        let (mut want, parsed) = (case.before(), case.parsed());
        let mut frame = [&[0; ether::LEN][..], &want].concat();
        if case.ipv6 {
            change_ends::<Ipv6Hdr>(&mut frame, &case, U128::new);
        } else {
            change_ends::<Ipv4Hdr>(&mut frame, &case, |address| U32::new(address as u32));
        }
        rewrite::apply(&mut want, &parsed, &case.rewrite);
        rewrite::decrement_ttl(&mut want, 0, case.ipv6);
        prop_assert_eq!(&frame[ether::LEN..], want);
    }
}

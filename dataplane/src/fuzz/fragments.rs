//! Fragments: reassembled, rewritten, and fragmented again.

use crate::flow::Seed;
use crate::forward::rewrite::{NewEnd, Rewrite};
use crate::fragments::{Datagram, FragmentInfo, Limits, Outcome, Reassembler};
use crate::fragments::{split, translate};
use crate::io::mem::Frame;
use crate::packet::Packet;
use crate::time::Tick;
use crate::wire::checksum::Delta;

const LIMITS: Limits = Limits { datagrams: 4, fragments: 12, bytes: 2000 };

/// Reassembles packets from `bytes`: the limits hold, every fragment is counted once, and the fragments of a complete
/// datagram can be translated and fragmented again.
///
/// A packet is a byte (the seconds since the previous one), the length as two bytes in network order, and the packet
/// from its IP header on.
pub fn fragments(bytes: &[u8]) {
    let (mut reassembler, mut rest) = (Reassembler::new(LIMITS, Seed(3, 5)), bytes);
    let (mut clock, mut count, mut left) = (0, 0, 0);
    while let Some((&[seconds, high, low], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (packet, next) = after.split_at(len);
        rest = next;
        clock += u64::from(seconds) * 1000;
        let ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
        let Some(info) = FragmentInfo::read(packet, 0, ipv6) else { continue };
        count += 1;
        left += match reassembler.take(Frame::new(packet), &info, Tick(clock), |_, _| left += 1) {
            Outcome::Held => 0,
            Outcome::Refused(..) => 1,
            Outcome::Complete(datagram) => complete(datagram),
        };
        assert!(reassembler.held() <= LIMITS.fragments.into() && reassembler.held_bytes() <= LIMITS.bytes);
        assert_eq!(left + reassembler.held(), count, "every fragment is counted once");
    }
}

fn complete(mut datagram: Datagram<Frame>) -> usize {
    let len: usize = datagram.payload().map(<[u8]>::len).sum();
    assert_eq!(len, usize::from(datagram.len), "the datagram has all its bytes");
    let delta = Delta::default();
    let end = |number| NewEnd { address: number, l4_port: 7.into(), delta_l3: delta, delta_l4: delta };
    let rewrite = Rewrite { src: Some(end(6)), dst: Some(end(7)) };
    translate::translate(&mut datagram, &rewrite);
    let (ipv6, count) = (datagram.ipv6, datagram.fragments.len());
    for fragment in datagram.fragments {
        let before = fragment.packet.bytes().len();
        let cut = split::cut(fragment.packet, 0, ipv6, 100, 1, |part| {
            assert!(part.bytes().len() <= before.max(100))
        });
        assert!(cut.is_ok() || before > 100, "a packet that fits is not fragmented");
    }
    count
}

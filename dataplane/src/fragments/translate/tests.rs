use proptest::prelude::*;

use super::*;
use crate::flow::Seed;
use crate::forward::rewrite::tests::{cases, new_end};
use crate::fragments::split;
use crate::fragments::{FragmentInfo, Limits, Outcome, Reassembler};
use crate::io::mem::Frame;
use crate::time::Tick;
use crate::wire::ipv4;

/// The datagram of these fragments.
fn received(packets: &[Vec<u8>]) -> Datagram<Frame> {
    let mut reassembler = Reassembler::new(Limits::default(), Seed(1, 2));
    for packet in packets {
        let info = FragmentInfo::read(packet, 0, packet[0] >> 4 == 6).unwrap();
        if let Outcome::Complete(datagram) = reassembler.take(Frame::new(packet), &info, Tick(0), |_, _| {}) {
            return datagram;
        }
    }
    panic!("a fragment is missing");
}

fn packets(datagram: &Datagram<Frame>) -> Vec<Vec<u8>> {
    datagram.fragments.iter().map(|fragment| fragment.packet.bytes().to_vec()).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// Description, packets received, packets sent.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// From the recorded cases fragments and v6-fragments, from the IP header on.
const ROWS: [Row; 3] = [
    (
        "TCP, in order",
        &[
            "4500003400002000400685b0c000020a0a0909019c4000500000000000000000500220000000000066666666\
            6666666666666666",
            "45000034000000044006a5acc000020a0a090901666666666666666666666666666666666666666666666666\
            6666666666666666",
        ],
        &[
            "45000034000020003f068dafc000020a0a00020b9c40005000000000000000005002200006ff000066666666\
            6666666666666666",
            "45000034000000043f06adabc000020a0a00020b666666666666666666666666666666666666666666666666\
            6666666666666666",
        ],
    ),
    (
        "UDP without a checksum, the last one first",
        &[
            "45000034000300044011a59ec000020a0a090901666666666666666666666666666666666666666666666666\
            6666666666666666",
            "4500003400032000401185a2c000020a0a090901138800350040000066666666666666666666666666666666\
            6666666666666666",
        ],
        &[
            "45000034000320003f118da1c000020a0a00020b138800350040ea6866666666666666666666666666666666\
            6666666666666666",
            "45000034000300043f11ad9dc000020a0a00020b666666666666666666666666666666666666666666666666\
            6666666666666666",
        ],
    ),
    (
        "TCP over IPv6",
        &[
            "6000000000302c4020010db8000000000000000000000010fd00000900000000000000000000000106000001\
            000000639c400050000000000000000050022000aa2400007878787878787878787878787878787878787878",
            "6000000000302c4020010db8000000000000000000000010fd00000900000000000000000000000106000028\
            0000006378787878787878787878787878787878787878787878787878787878787878787878787878787878",
        ],
        &[
            "6000000000302c3f20010db8000000000000000000000010fd00000200000000000000000000000b06000001\
            759960879c401f900000000000000000500220008ae100007878787878787878787878787878787878787878",
            "6000000000302c3f20010db8000000000000000000000010fd00000200000000000000000000000b06000028\
            7599608778787878787878787878787878787878787878787878787878787878787878787878787878787878",
        ],
    ),
];

#[test]
fn datagrams_are_rewritten_as_by_linux() {
    for (what, before, after) in ROWS {
        let ipv6 = before[0].starts_with('6');
        let mut before: Vec<_> = before.iter().map(|text| unhex(text)).collect();
        before.iter_mut().for_each(|packet| rewrite::decrement_ttl(packet, 0, ipv6));
        let mut after: Vec<_> = after.iter().map(|text| unhex(text)).collect();
        // Linux draws a new identification for IPv6; a fragment that passes keeps its own.
        after
            .iter_mut()
            .filter(|_| ipv6)
            .for_each(|packet| packet[44..48].copy_from_slice(&before[0][44..48]));
        let mut datagram = received(&before);
        let addresses = if ipv6 { 24..40 } else { 16..20 };
        let (old, new) = (&before[0][addresses.clone()], &after[0][addresses]);
        let bits = |bytes: &[u8]| bytes.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        let (old_bits, new_bits) = (bits(old), bits(new));
        let old_port = word(&datagram, 2).unwrap().get();
        // In the rows of IPv4 the port stays what it was.
        let l4_port = if ipv6 { 8080 } else { old_port };
        let rewrite = Rewrite { src: None, dst: Some(new_end((old_bits, old_port), (new_bits, l4_port))) };
        translate(&mut datagram, &rewrite);
        assert_eq!(packets(&datagram), after, "{what}");
    }
}

#[test]
fn a_datagram_without_a_whole_transport_header_gets_new_addresses_alone() {
    for protocol in [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ESP] {
        let mut packet = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(&[0, 1, 0, 2, 3, 3]);
        packet[3] = packet.len() as u8;
        let mut datagram = received(std::slice::from_ref(&packet));
        let rewrite = Rewrite { src: None, dst: Some(new_end((0x0a00_0002, 2), (9, 9))) };
        translate(&mut datagram, &rewrite);
        assert_eq!(packets(&datagram)[0][16..], [0, 0, 0, 9, 0, 1, 0, 2, 3, 3]);
    }
}

proptest! {
    /// However small the fragments, and neither, either or both ends rewritten.
    #[test]
    fn the_fragments_of_a_datagram_are_rewritten_as_the_datagram_is(
        case in cases(), no_sum in any::<bool>(), mtu in 68..200_u16,
    ) {
        let (mut packet, parsed) = (case.before(), case.parsed());
        if case.protocol == protocol::UDP && no_sum {
            let sum = usize::from(parsed.l4) + UDP_SUM_AT;
            packet[sum..sum + 2].fill(0);
        }
        let cut = |packet: &[u8]| {
            let mut fragments = Vec::new();
            let mut packet = packet.to_vec();
            if !case.ipv6 {
                packet[6..8].fill(0); // may be fragmented
                ipv4::fill_checksum(&mut packet);
            }
            let each = |fragment: Frame| fragments.push(fragment.bytes().to_vec());
            split::cut(Frame::new(&packet), 0, case.ipv6, mtu, 0, each).unwrap();
            fragments
        };
        let fragments = cut(&packet);
        prop_assume!(fragments.len() > 1 || !case.ipv6);
        let mut datagram = received(&fragments);
        translate(&mut datagram, &case.rewrite);
        rewrite::apply(&mut packet, &parsed, &case.rewrite);
        prop_assert_eq!(packets(&datagram), cut(&packet));
    }
}

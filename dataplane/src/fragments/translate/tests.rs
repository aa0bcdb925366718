use proptest::prelude::*;
use zerocopy::FromZeros;

use super::*;
use crate::flow::{Key, Key4, Ports, Seed};
use crate::forward::rewrite;
use crate::fragments::split;
use crate::fragments::{FragmentInfo, Limits, Outcome, Reassembler};
use crate::io::mem::Frame;
use crate::parse::Parsed;
use crate::time::Tick;
use crate::wire::ipv4;

/// A train of these packets.
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

/// A connection whose virtual end becomes another.
fn entry(old: &[u8], new: &[u8], (old_port, new_port): (u16, u16)) -> Entry {
    let mut entry = Entry::new_zeroed();
    let (old, new) = (checksum::sum(old), checksum::sum(new));
    entry.delta_l3 = Delta::new(old, new).0;
    entry.delta_l4 = Delta::new(old + u64::from(old_port), new + u64::from(new_port)).0;
    entry
}

/// What it is, the packets that came, the packets that left.
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
fn trains_are_translated_as_by_linux() {
    for (what, before, after) in ROWS {
        let ipv6 = before[0].starts_with('6');
        let mut before: Vec<_> = before.iter().map(|text| unhex(text)).collect();
        before.iter_mut().for_each(|packet| rewrite::take_hop(packet, 0, ipv6));
        let mut after: Vec<_> = after.iter().map(|text| unhex(text)).collect();
        // Linux draws a new identification for IPv6; a fragment that passes keeps its own.
        after
            .iter_mut()
            .filter(|_| ipv6)
            .for_each(|packet| packet[44..48].copy_from_slice(&before[0][44..48]));
        let mut datagram = received(&before);
        let addresses = if ipv6 { 24..40 } else { 16..20 };
        let (old, new) = (&before[0][addresses.clone()], &after[0][addresses]);
        let mut address = [0; 16];
        address[16 - new.len()..].copy_from_slice(new);
        let old_port = word(&datagram, 2).unwrap();
        // In the rows of IPv4 the port stays what it was.
        let l4_port = if ipv6 { 8080 } else { old_port };
        let ports = (old_port, l4_port);
        let end = NewEnd { address: u128::from_be_bytes(address), l4_port };
        translate(&mut datagram, ipv6, &entry(old, new, ports), Direction::In, end);
        assert_eq!(packets(&datagram), after, "{what}");
    }
}

#[test]
fn a_train_without_a_whole_header_changes_its_addresses_alone() {
    for protocol in [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ESP] {
        let mut packet = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(&[0, 1, 0, 2, 3, 3]);
        packet[3] = packet.len() as u8;
        let mut datagram = received(std::slice::from_ref(&packet));
        let end = NewEnd { address: 9, l4_port: 9 };
        translate(&mut datagram, false, &entry(&[10, 0, 0, 2], &[0, 0, 0, 9], (2, 9)), Direction::In, end);
        assert_eq!(packets(&datagram)[0][16..], [0, 0, 0, 9, 0, 1, 0, 2, 3, 3]);
    }
}

proptest! {
    /// Cut and translated is translated and cut, however small the pieces.
    #[test]
    fn a_train_is_translated_as_the_whole_would_be(
        protocol in prop::sample::select(vec![protocol::TCP, protocol::UDP, protocol::SCTP]),
        (from_client, zero_sum) in any::<(bool, bool)>(),
        mut payload in prop::collection::vec(any::<u8>(), 20..400),
        mtu in 28..200_u16,
        port in any::<u16>(),
    ) {
        if protocol == protocol::UDP && zero_sum {
            payload[6..8].fill(0);
        }
        let len = payload.len() as u16 + 20;
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(&payload);
        ipv4::fill_checksum(&mut packet);
        let (direction, old) = if from_client { (Direction::In, &packet[16..20]) } else { (Direction::Out, &packet[12..16]) };
        let at = 20 + port_at(direction);
        let old_port = u16::from_be_bytes([packet[at], packet[at + 1]]);
        let new = [192, 0, 2, 7];
        let end = NewEnd { address: u32::from_be_bytes(new).into(), l4_port: port };
        let entry = if from_client { entry(old, &new, (old_port, port)) } else { entry(&new, old, (port, old_port)) };

        let key = Key::V4(Key4::new(0, 0, Ports(0), protocol));
        let parsed = Parsed { key, l4: 20, len, ..Parsed::NOTHING };
        let cut = |packet: &[u8]| {
            let mut fragments = Vec::new();
            split::cut(Frame::new(packet), 0, false, mtu, 0, |fragment| fragments.push(fragment.bytes().to_vec())).unwrap();
            fragments
        };
        let mut datagram = received(&cut(&packet));
        translate(&mut datagram, false, &entry, direction, end);
        rewrite::translate(&mut packet, &parsed, &entry, direction, end);
        prop_assert_eq!(packets(&datagram), cut(&packet));
    }
}

//! Frames that the tests send and expect.

use pollux_control::model::network::Mac;

/// An ICMP echo request from 10.77.0.2 to 10.77.0.1.
pub fn ping(to: Mac, from: Mac) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1];
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [&to.0[..], &from.0, &[8, 0], &ip, &icmp].concat()
}

pub fn is_echo_reply(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 0
}

pub fn arp_request(from: Mac, sender: [u8; 4], target: [u8; 4], vlan: Option<u8>) -> Vec<u8> {
    let tag = vlan.map_or(vec![], |id| vec![0x81, 0, 0, id]);
    [&[0xff; 6][..], &from.0, &tag, &[8, 6], &arp(1, from, sender, Mac([0; 6]), target)].concat()
}

pub fn arp_reply(from: Mac, sender: [u8; 4], to: Mac, target: [u8; 4]) -> Vec<u8> {
    [&to.0[..], &from.0, &[8, 6], &arp(2, from, sender, to, target)].concat()
}

fn arp(what: u8, from: Mac, sender: [u8; 4], to: Mac, target: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, what][..], &from.0, &sender, &to.0, &target].concat()
}

/// RFC 768: over pseudo header, UDP header and data, the checksum must be zero.
pub fn udp_checksum_is_right(frame: &[u8]) -> bool {
    let (addresses, udp) = (&frame[26..34], &frame[34..]);
    let pseudo = [addresses, &[0, 17], &udp[4..6]].concat();
    udp[6..8] != [0, 0] && checksum(&[&pseudo, udp].concat()) == 0
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 =
        bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | c.get(1).map_or(0, |b| u32::from(*b))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

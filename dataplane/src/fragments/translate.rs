//! Translation of a datagram that came in fragments: all of them change their addresses, the first its port, and a
//! checksum that must be made anew is made over all.
//!
//! A header may be spread over several fragments, so it is read and written through the train and not as a view.

use zerocopy::network_endian::U16;

use crate::conn::{Direction, Entry};
use crate::forward::rewrite::{NewEnd, never_zero, sctp_crc, translate_addresses, udp_sum};
use crate::fragments::Datagram;
use crate::packet::Packet;
use crate::wire::checksum::{self, Delta};
use crate::wire::protocol;

/// Where TCP, UDP and SCTP have their checksums.
const TCP_SUM_AT: usize = 16;
const UDP_SUM_AT: usize = 6;
const SCTP_CRC_AT: usize = 8;

/// Translates a datagram of a NAT connection, as [`translate`](super::rewrite::translate) does a packet that is whole.
/// A train too short for its transport header changes its addresses alone.
pub fn translate<P: Packet>(
    datagram: &mut Datagram<P>,
    ipv6: bool,
    entry: &Entry,
    direction: Direction,
    end: NewEnd,
) {
    for fragment in &mut datagram.fragments {
        let place = (fragment.place.l3, ipv6);
        translate_addresses(fragment.packet.bytes_mut(), place, entry, direction, end.address);
    }
    let Some((protocol, at)) = datagram.transport() else { return };
    let delta = Delta(entry.delta_l4);
    let delta = if direction == Direction::Out { delta.reversed() } else { delta };
    match protocol {
        protocol::TCP => {
            let Some(sum) = word(datagram, at + TCP_SUM_AT) else { return };
            put(datagram, at + TCP_SUM_AT, delta.patch(U16::new(sum)).get());
            put(datagram, at + port_at(direction), end.l4_port);
        }
        protocol::UDP => {
            let Some(sum) = word(datagram, at + UDP_SUM_AT) else { return };
            put(datagram, at + port_at(direction), end.l4_port);
            let sum = match sum {
                // As in `rewrite`: a datagram without a checksum leaves with one.
                0 => udp_sum(addresses(datagram, ipv6), datagram.payload_from(at)),
                sum => never_zero(delta.patch(U16::new(sum))),
            };
            put(datagram, at + UDP_SUM_AT, sum.get());
        }
        protocol::SCTP => {
            let old = word(datagram, at + port_at(direction));
            // The first write also finds out whether there is a whole header.
            if old != Some(end.l4_port) && datagram.write(at + SCTP_CRC_AT, &[0; 4]) {
                put(datagram, at + port_at(direction), end.l4_port);
                let crc = sctp_crc(datagram.payload_from(at));
                _ = datagram.write(at + SCTP_CRC_AT, &crc.to_le_bytes());
            }
        }
        _ => {}
    }
}

fn port_at(direction: Direction) -> usize {
    if direction == Direction::In { 2 } else { 0 }
}

fn word<P: Packet>(datagram: &Datagram<P>, at: usize) -> Option<u16> {
    let mut bytes = [0; 2];
    datagram.read(at, &mut bytes).then_some(u16::from_be_bytes(bytes))
}

/// Writes a word of a header whose end was read before.
fn put<P: Packet>(datagram: &mut Datagram<P>, at: usize, word: u16) {
    _ = datagram.write(at, &word.to_be_bytes());
}

/// The sum of the addresses, which are those of any of the fragments.
fn addresses<P: Packet>(datagram: &Datagram<P>, ipv6: bool) -> u64 {
    let Some(first) = datagram.fragments.first() else { return 0 };
    let l3 = usize::from(first.place.l3);
    let range = if ipv6 { l3 + 8..l3 + 40 } else { l3 + 12..l3 + 20 };
    first.packet.bytes().get(range).map_or(0, checksum::sum)
}

#[cfg(test)]
mod tests;

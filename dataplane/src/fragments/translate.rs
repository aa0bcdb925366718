//! Rewriting of a datagram that came in fragments: each fragment gets the new addresses, the transport header the new
//! ports, and a checksum that cannot be patched is computed over all fragments.
//!
//! A transport header may be spread over several fragments, so it is read and written through the [`Datagram`] and not
//! as a view.

use zerocopy::network_endian::U16;

use crate::forward::rewrite::{self, Rewrite, never_zero, sctp_crc, udp_sum};
use crate::fragments::Datagram;
use crate::packet::Packet;
use crate::wire::{checksum, protocol};

/// Offsets of the checksums of TCP, UDP and SCTP.
const TCP_SUM_AT: usize = 16;
const UDP_SUM_AT: usize = 6;
const SCTP_CRC_AT: usize = 8;

/// Rewrites a datagram, as [`rewrite::apply`] does a packet that came whole. A datagram too short for its transport
/// header gets new addresses alone.
pub fn translate<P: Packet>(datagram: &mut Datagram<P>, rewrite: &Rewrite) {
    let ipv6 = datagram.ipv6;
    for fragment in &mut datagram.fragments {
        rewrite::apply_to_header(fragment.packet.bytes_mut(), fragment.position.l3, ipv6, rewrite);
    }
    let Some((protocol, at)) = datagram.transport() else { return };
    match protocol {
        protocol::TCP => {
            let Some(sum) = word(datagram, at + TCP_SUM_AT) else { return };
            put(datagram, at + TCP_SUM_AT, rewrite.patch_l4(sum));
            put_ports(datagram, at, rewrite);
        }
        protocol::UDP => {
            let Some(sum) = word(datagram, at + UDP_SUM_AT) else { return };
            put_ports(datagram, at, rewrite);
            if sum != U16::ZERO {
                put(datagram, at + UDP_SUM_AT, never_zero(rewrite.patch_l4(sum)));
            } else if !rewrite.is_none() {
                // As in `rewrite`: a datagram without a checksum leaves with one.
                let sum = udp_sum(addresses(datagram), datagram.payload_from(at));
                put(datagram, at + UDP_SUM_AT, sum);
            }
        }
        protocol::SCTP => {
            // A datagram that ends before its CRC has no whole header.
            let whole = word(datagram, at + SCTP_CRC_AT + 2).is_some();
            if whole && put_ports(datagram, at, rewrite) && datagram.write(at + SCTP_CRC_AT, &[0; 4]) {
                let crc = sctp_crc(datagram.payload_from(at));
                _ = datagram.write(at + SCTP_CRC_AT, &crc.to_le_bytes());
            }
        }
        _ => {}
    }
}

/// Replaces the ports, which begin every transport header. Returns whether that changed any.
fn put_ports<P: Packet>(datagram: &mut Datagram<P>, at: usize, rewrite: &Rewrite) -> bool {
    let (Some(mut src), Some(mut dst)) = (word(datagram, at), word(datagram, at + 2)) else { return false };
    let changed = rewrite.set_ports(&mut src, &mut dst);
    put(datagram, at, src);
    put(datagram, at + 2, dst);
    changed
}

fn word<P: Packet>(datagram: &Datagram<P>, at: usize) -> Option<U16> {
    let mut bytes = [0; 2];
    datagram.read(at, &mut bytes).then_some(U16::from_bytes(bytes))
}

/// Writes a word of a header that is known to be whole.
fn put<P: Packet>(datagram: &mut Datagram<P>, at: usize, word: U16) {
    _ = datagram.write(at, &word.to_bytes());
}

/// The checksum's sum of the addresses, which all fragments have.
fn addresses<P: Packet>(datagram: &Datagram<P>) -> u64 {
    let Some(first) = datagram.fragments.first() else { return 0 };
    let l3 = usize::from(first.position.l3);
    let range = if datagram.ipv6 { l3 + 8..l3 + 40 } else { l3 + 12..l3 + 20 };
    first.packet.bytes().get(range).map_or(0, checksum::sum)
}

#[cfg(test)]
mod tests;

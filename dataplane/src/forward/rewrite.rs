//! Translation of addresses, ports and their checksums; hops taken off.

use zerocopy::network_endian::U16;

use crate::conn::{Direction, Entry};
use crate::flow::Key;
use crate::parse::Parsed;
use crate::wire::checksum::{self, Delta};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::{protocol, sctp::SctpHdr, tcp::TcpHdr, udp::UdpHdr, view_mut};

/// An end of a packet that is replaced: its new address and port. IPv4 addresses are in the low 32 bits.
#[derive(Clone, Copy, Debug)]
pub struct NewEnd {
    /// The new address.
    pub address: u128,
    /// The new L4 port.
    pub l4_port: u16,
}

/// Hops a packet has left, or none for a frame that is no IP packet.
#[inline]
pub fn hops_left(frame: &[u8], parsed: &Parsed) -> u8 {
    let at = usize::from(parsed.l3) + if matches!(parsed.key, Key::V4(_)) { 8 } else { 7 };
    frame.get(at).copied().unwrap_or(0)
}

/// Takes one hop off; the caller knows that there are at least two.
#[inline]
pub fn take_hop(frame: &mut [u8], l3: u16, ipv6: bool) {
    if ipv6 {
        if let Some(ip) = view_mut::<Ipv6Hdr>(frame, l3.into()) {
            ip.hop_limit = ip.hop_limit.wrapping_sub(1);
        }
    } else if let Some(ip) = view_mut::<Ipv4Hdr>(frame, l3.into()) {
        ip.decrement_ttl();
    }
}

/// Translates a packet of a NAT connection: the destination of one from the client, the source of one to it.
#[inline(always)]
pub fn translate(frame: &mut [u8], parsed: &Parsed, entry: &Entry, direction: Direction, end: NewEnd) {
    let ipv6 = matches!(parsed.key, Key::V6(_));
    translate_addresses(frame, (parsed.l3, ipv6), entry, direction, end.address);
    let delta = Delta(entry.delta_l4);
    let delta = if direction == Direction::Out { delta.reversed() } else { delta };
    translate_transport(frame, parsed, direction, end.l4_port, delta);
}

/// Translates the IP header alone: all there is to do for AH and ESP, whose ports nobody can see, and for fragments but
/// the first. `place` is the header's start and whether it is of IPv6.
#[inline]
pub fn translate_addresses(
    frame: &mut [u8],
    (l3, ipv6): (u16, bool),
    entry: &Entry,
    direction: Direction,
    address: u128,
) {
    if ipv6 {
        let Some(ip) = view_mut::<Ipv6Hdr>(frame, l3.into()) else { return };
        match direction {
            Direction::In => ip.dst.set(address),
            Direction::Out => ip.src.set(address),
        }
        return;
    }
    let Some(ip) = view_mut::<Ipv4Hdr>(frame, l3.into()) else { return };
    let mut delta = Delta(entry.delta_l3);
    match direction {
        Direction::In => ip.dst.set(address as u32),
        Direction::Out => {
            ip.src.set(address as u32);
            delta = delta.reversed();
        }
    }
    ip.sum = delta.patch(ip.sum);
}

#[inline]
fn translate_transport(frame: &mut [u8], parsed: &Parsed, direction: Direction, l4_port: u16, delta: Delta) {
    if parsed.key.protocol() == protocol::TCP {
        let Some(tcp) = view_mut::<TcpHdr>(frame, parsed.l4.into()) else { return };
        match direction {
            Direction::In => tcp.dst.set(l4_port),
            Direction::Out => tcp.src.set(l4_port),
        }
        tcp.sum = delta.patch(tcp.sum);
        return;
    }
    if parsed.key.protocol() != protocol::UDP {
        return translate_sctp(frame, parsed, direction, l4_port);
    }
    let Some(udp) = view_mut::<UdpHdr>(frame, parsed.l4.into()) else { return };
    match direction {
        Direction::In => udp.dst.set(l4_port),
        Direction::Out => udp.src.set(l4_port),
    }
    if udp.sum.get() == 0 {
        // A datagram that came without a checksum leaves with one, as from Linux; spec 5.5.
        return fill_udp_sum(frame, parsed);
    }
    udp.sum = never_zero(delta.patch(udp.sum));
}

/// On the wire a UDP checksum of zero means that there is none, so a computed zero is sent as its other form.
#[inline]
pub fn never_zero(sum: U16) -> U16 {
    if sum == U16::ZERO { U16::MAX_VALUE } else { sum }
}

fn fill_udp_sum(frame: &mut [u8], parsed: &Parsed) {
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let end = l3 + usize::from(parsed.len);
    let addresses = match parsed.key {
        Key::V4(_) => checksum::sum(&frame[l3 + 12..l3 + 20]),
        Key::V6(_) => checksum::sum(&frame[l3 + 8..l3 + 40]),
    };
    let sum = udp_sum(addresses, std::iter::once(&frame[l4..end]));
    if let Some(udp) = view_mut::<UdpHdr>(frame, l4) {
        udp.sum = sum;
    }
}

/// The checksum of a UDP datagram between addresses that sum to `addresses`. It may lie in pieces, each but the last of
/// an even length; its checksum field is zero.
pub fn udp_sum<'a>(addresses: u64, fragments: impl Iterator<Item = &'a [u8]>) -> U16 {
    let (len, total) = fragments
        .fold((0, 0), |(len, total), fragment| (len + fragment.len(), total + checksum::sum(fragment)));
    never_zero(U16::new(!checksum::fold(checksum::pseudo(addresses, protocol::UDP, len) + total)))
}

/// The CRC covers no address, so it stays unless the port changes; then it covers too much to be patched.
#[inline(never)]
fn translate_sctp(frame: &mut [u8], parsed: &Parsed, direction: Direction, l4_port: u16) {
    let end = usize::from(parsed.l3) + usize::from(parsed.len);
    let Some(packet) = frame.get_mut(parsed.l4.into()..end) else { return };
    let Some(sctp) = view_mut::<SctpHdr>(packet, 0) else { return };
    if parsed.key.protocol() != protocol::SCTP || !set_sctp_port(sctp, direction, l4_port) {
        return;
    }
    let crc = sctp_crc(std::iter::once(&*packet));
    if let Some(sctp) = view_mut::<SctpHdr>(packet, 0) {
        sctp.crc.set(crc);
    }
}

/// Puts the new port in place and takes the CRC away. Returns false, and changes nothing, when the port is the old one.
pub(super) fn set_sctp_port(sctp: &mut SctpHdr, direction: Direction, l4_port: u16) -> bool {
    let port = if direction == Direction::In { &mut sctp.dst } else { &mut sctp.src };
    let changes = port.get() != l4_port;
    if changes {
        port.set(l4_port);
        sctp.crc.set(0);
    }
    changes
}

/// The CRC of an SCTP packet whose own CRC field is zero. It may lie in pieces of any length.
pub fn sctp_crc<'a>(fragments: impl Iterator<Item = &'a [u8]>) -> u32 {
    fragments.fold(0, crc32c::crc32c_append)
}

#[cfg(test)]
mod tests;

//! Translation of addresses, ports and their checksums; hops taken off.

use crate::conn::{Direction, Entry};
use crate::flow::Key;
use crate::parse::Parsed;
use crate::wire::checksum::{self, Delta};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::{protocol, tcp::TcpHdr, udp::UdpHdr, view_mut};

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
#[inline]
pub fn translate(frame: &mut [u8], parsed: &Parsed, entry: &Entry, direction: Direction, end: NewEnd) {
    let (mut l3, mut l4) = (Delta(entry.delta_l3), Delta(entry.delta_l4));
    if direction == Direction::Out {
        (l3, l4) = (l3.reversed(), l4.reversed());
    }
    match parsed.key {
        Key::V4(_) => {
            let Some(ip) = view_mut::<Ipv4Hdr>(frame, parsed.l3.into()) else { return };
            match direction {
                Direction::In => ip.dst.set(end.address as u32),
                Direction::Out => ip.src.set(end.address as u32),
            }
            ip.sum.set(l3.patch(ip.sum.get()));
        }
        Key::V6(_) => {
            let Some(ip) = view_mut::<Ipv6Hdr>(frame, parsed.l3.into()) else { return };
            match direction {
                Direction::In => ip.dst.set(end.address),
                Direction::Out => ip.src.set(end.address),
            }
        }
    }
    translate_transport(frame, parsed, direction, end.l4_port, l4);
}

#[inline]
fn translate_transport(frame: &mut [u8], parsed: &Parsed, direction: Direction, l4_port: u16, delta: Delta) {
    if parsed.key.protocol() == protocol::TCP {
        let Some(tcp) = view_mut::<TcpHdr>(frame, parsed.l4.into()) else { return };
        match direction {
            Direction::In => tcp.dst.set(l4_port),
            Direction::Out => tcp.src.set(l4_port),
        }
        tcp.sum.set(delta.patch(tcp.sum.get()));
        return;
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
    udp.sum.set(never_zero(delta.patch(udp.sum.get())));
}

/// On the wire a UDP checksum of zero means that there is none, so a computed zero is sent as its other form.
#[inline]
fn never_zero(sum: u16) -> u16 {
    if sum == 0 { 0xffff } else { sum }
}

fn fill_udp_sum(frame: &mut [u8], parsed: &Parsed) {
    let (l3, l4) = (usize::from(parsed.l3), usize::from(parsed.l4));
    let end = l3 + usize::from(parsed.len);
    let addresses = match parsed.key {
        Key::V4(_) => checksum::sum(&frame[l3 + 12..l3 + 20]),
        Key::V6(_) => checksum::sum(&frame[l3 + 8..l3 + 40]),
    };
    let total = checksum::pseudo(addresses, protocol::UDP, end - l4) + checksum::sum(&frame[l4..end]);
    if let Some(udp) = view_mut::<UdpHdr>(frame, l4) {
        udp.sum.set(never_zero(!checksum::fold(total)));
    }
}

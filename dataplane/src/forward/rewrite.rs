//! Rewriting: new addresses and ports for the source of a packet, its destination or both, the checksums that cover
//! them, and the TTL, which forwarding decrements.

use zerocopy::network_endian::U16;

use crate::conn::{Direction, Entry};
use crate::flow::Key;
use crate::parse::{Kind, Parsed};
use crate::service::Method;
use crate::wire::checksum::{self, Delta};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::plain::Ip;
use crate::wire::{protocol, sctp::SctpHdr, tcp::TcpHdr, udp::UdpHdr, view_mut};

/// New address and port of one end of a packet, and how the checksums change by it. `A` is the type of the address; as
/// a `u128` an IPv4 address is in the low 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEnd<A = u128> {
    /// The new address.
    pub address: A,
    /// The new L4 port.
    pub l4_port: U16,
    /// Change of the IPv4 header checksum: the address.
    pub delta_l3: Delta,
    /// Change of the transport checksum: address and port.
    pub delta_l4: Delta,
}

impl<A> NewEnd<A> {
    /// The destination in place of the virtual end. `address` is the destination's.
    #[inline(always)]
    pub fn destination(entry: &Entry, address: A) -> NewEnd<A> {
        let (delta_l3, delta_l4) = (Delta(entry.delta_l3), Delta(entry.delta_l4));
        NewEnd { address, l4_port: entry.destination_port, delta_l3, delta_l4 }
    }

    /// The virtual end in place of the destination. `address` is the virtual address.
    #[inline(always)]
    pub fn virtual_(entry: &Entry, address: A) -> NewEnd<A> {
        let (delta_l3, delta_l4) = (Delta(entry.delta_l3).reversed(), Delta(entry.delta_l4).reversed());
        NewEnd { address, l4_port: entry.virtual_port, delta_l3, delta_l4 }
    }
}

/// New ends of a packet. An end that is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// New source.
    pub src: Option<NewEnd>,
    /// New destination.
    pub dst: Option<NewEnd>,
}

/// Addresses of a connection that a rewrite may put into packets; IPv4 addresses are in the low 32 bits.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The virtual address.
    pub virtual_: u128,
    /// The destination's address.
    pub destination: u128,
}

impl Rewrite {
    /// The rewrite of packets of a connection in one direction, by the connection's forwarding method.
    #[inline(always)]
    pub fn new(entry: &Entry, direction: Direction, addresses: Addresses) -> Rewrite {
        let (src, dst) = match (entry.flags.method(), direction) {
            (Some(Method::Nat), Direction::In) => {
                (None, Some(NewEnd::destination(entry, addresses.destination)))
            }
            (Some(Method::Nat), Direction::Out) => (Some(NewEnd::virtual_(entry, addresses.virtual_)), None),
            // A bypass connection has no method: its packets stay as they are, too.
            (Some(Method::Dr | Method::Tunnel(_)) | None, _) => (None, None),
        };
        Rewrite { src, dst }
    }

    /// The rewrite of packets that travel against those of this one, such as the packet that an ICMP error quotes: its
    /// source is what the other's destination is. The deltas do not fit such a packet.
    #[must_use]
    pub fn mirrored(self) -> Rewrite {
        Rewrite { src: self.dst, dst: self.src }
    }

    /// True if both ends stay.
    #[inline]
    pub fn is_none(&self) -> bool {
        self.src.is_none() && self.dst.is_none()
    }

    #[inline(always)]
    fn ends(&self) -> impl Iterator<Item = &NewEnd> {
        self.src.iter().chain(&self.dst)
    }

    /// Replaces the addresses of an IPv4 header and leaves its checksum.
    #[inline(always)]
    pub fn set_addresses4(&self, ip: &mut Ipv4Hdr) {
        if let Some(src) = &self.src {
            ip.src.set(src.address as u32);
        }
        if let Some(dst) = &self.dst {
            ip.dst.set(dst.address as u32);
        }
    }

    /// Replaces the addresses of an IPv6 header.
    #[inline(always)]
    pub fn set_addresses6(&self, ip: &mut Ipv6Hdr) {
        if let Some(src) = &self.src {
            ip.src.set(src.address);
        }
        if let Some(dst) = &self.dst {
            ip.dst.set(dst.address);
        }
    }

    /// Replaces ports. Returns whether that changed any.
    #[inline(always)]
    pub fn set_ports(&self, src: &mut U16, dst: &mut U16) -> bool {
        let before = (*src, *dst);
        *src = self.src.map_or(*src, |end| end.l4_port);
        *dst = self.dst.map_or(*dst, |end| end.l4_port);
        before != (*src, *dst)
    }

    /// The checksum of an IPv4 header after its addresses were replaced.
    #[inline(always)]
    pub fn patch_l3(&self, sum: U16) -> U16 {
        self.ends().fold(sum, |sum, end| end.delta_l3.patch(sum))
    }

    /// The checksum of TCP or UDP after addresses and ports were replaced.
    #[inline(always)]
    pub fn patch_l4(&self, sum: U16) -> U16 {
        self.ends().fold(sum, |sum, end| end.delta_l4.patch(sum))
    }
}

/// TTL or hop limit of a packet.
#[inline]
pub fn ttl(frame: &[u8], parsed: &Parsed) -> u8 {
    let at = usize::from(parsed.l3) + if matches!(parsed.key, Key::V4(_)) { 8 } else { 7 };
    frame.get(at).copied().unwrap_or(0)
}

/// Decrements TTL or hop limit, which must be two at least.
#[inline]
pub fn decrement_ttl(frame: &mut [u8], l3: u16, ipv6: bool) {
    if ipv6 {
        if let Some(ip) = view_mut::<Ipv6Hdr>(frame, l3.into()) {
            ip.decrement_ttl();
        }
    } else if let Some(ip) = view_mut::<Ipv4Hdr>(frame, l3.into()) {
        ip.decrement_ttl();
    }
}

/// Rewrites a packet: its addresses, the ports of TCP, UDP and SCTP, and the checksums over them. Packets whose ports are
/// not in sight (AH, ESP) get new addresses alone.
#[inline(always)]
pub fn apply(frame: &mut [u8], parsed: &Parsed, rewrite: &Rewrite) {
    apply_to_header(frame, parsed.l3, parsed.is_ipv6(), rewrite);
    if parsed.kind == Kind::Flow {
        apply_to_transport(frame, parsed, rewrite);
    }
}

/// Rewrites the IP header at `l3` and nothing behind it, as for each fragment of a datagram.
#[inline]
pub fn apply_to_header(frame: &mut [u8], l3: u16, ipv6: bool, rewrite: &Rewrite) {
    if ipv6 {
        if let Some(ip) = view_mut::<Ipv6Hdr>(frame, l3.into()) {
            rewrite.set_addresses6(ip);
        }
    } else if let Some(ip) = view_mut::<Ipv4Hdr>(frame, l3.into()) {
        rewrite.set_addresses4(ip);
        ip.sum = rewrite.patch_l3(ip.sum);
    }
}

#[inline]
fn apply_to_transport(frame: &mut [u8], parsed: &Parsed, rewrite: &Rewrite) {
    if parsed.key.protocol() == protocol::TCP {
        let Some(tcp) = view_mut::<TcpHdr>(frame, parsed.l4.into()) else { return };
        rewrite.set_ports(&mut tcp.src, &mut tcp.dst);
        tcp.sum = rewrite.patch_l4(tcp.sum);
        return;
    }
    if parsed.key.protocol() != protocol::UDP {
        return apply_to_sctp(frame, parsed, rewrite);
    }
    let Some(udp) = view_mut::<UdpHdr>(frame, parsed.l4.into()) else { return };
    rewrite.set_ports(&mut udp.src, &mut udp.dst);
    if udp.sum != U16::ZERO {
        udp.sum = never_zero(rewrite.patch_l4(udp.sum));
    } else if !rewrite.is_none() {
        // A datagram that came without a checksum leaves with one, as from Linux; spec 5.5.
        fill_udp_sum(frame, parsed);
    }
}

/// A UDP checksum of zero means "no checksum", so a computed zero is sent as 0xffff, the other zero of one's complement.
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

/// The checksum of a UDP datagram whose checksum field is zero, between addresses that sum to `addresses`. It may lie in
/// fragments; all but the last have an even length.
pub fn udp_sum<'a>(addresses: u64, fragments: impl Iterator<Item = &'a [u8]>) -> U16 {
    let (len, total) = fragments
        .fold((0, 0), |(len, total), fragment| (len + fragment.len(), total + checksum::sum(fragment)));
    never_zero(U16::new(!checksum::fold(checksum::pseudo(addresses, protocol::UDP, len) + total)))
}

/// The CRC covers no address, so it stays unless a port changes; then it covers too much to be patched.
#[inline(never)]
fn apply_to_sctp(frame: &mut [u8], parsed: &Parsed, rewrite: &Rewrite) {
    let end = usize::from(parsed.l3) + usize::from(parsed.len);
    let Some(packet) = frame.get_mut(parsed.l4.into()..end) else { return };
    let Some(sctp) = view_mut::<SctpHdr>(packet, 0) else { return };
    if parsed.key.protocol() != protocol::SCTP || !rewrite.set_ports(&mut sctp.src, &mut sctp.dst) {
        return;
    }
    sctp.crc.set(0);
    let crc = sctp_crc(std::iter::once(&*packet));
    if let Some(sctp) = view_mut::<SctpHdr>(packet, 0) {
        sctp.crc.set(crc);
    }
}

/// The CRC of an SCTP packet whose CRC field is zero. It may lie in fragments of any length.
pub fn sctp_crc<'a>(fragments: impl Iterator<Item = &'a [u8]>) -> u32 {
    fragments.fold(0, crc32c::crc32c_append)
}

#[cfg(test)]
pub(crate) mod tests;

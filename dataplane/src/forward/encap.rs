//! Encapsulation: outer headers in front of a packet, with the fields of spec 6.6.
//!
//! IP in IP (RFC 2003, RFC 2473), generic UDP encapsulation and generic routing encapsulation (RFC 2784), any family in
//! any family. Each header is written once, in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U32, U128};

use super::rewrite::never_zero;
use crate::flow::Ports;
use crate::packet::Packet;
use crate::service::Tunnel;
use crate::verdict::DropReason;
use crate::wire::gre::{self, GreHdr};
use crate::wire::gue::{self, GueHdr};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::udp::{self, UdpHdr};
use crate::wire::{IpSpan, checksum, ether, protocol, view, view_mut};

/// Range of the UDP source ports of GUE: the default `ip_local_port_range` of Linux.
const FIRST_L4_PORT: u16 = 32768;
const LAST_L4_PORT: u16 = 60999;

/// Outer headers of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Our address.
    pub source: IpAddr,
    /// Address of the tunnel's other end, of the family of `source`.
    pub target: IpAddr,
    /// Headers between the outer IP header and the packet.
    pub tunnel: Tunnel,
    /// True if the outer header copies "don't fragment" from the packet: the setting `pmtu_disc`.
    pub keep_df: bool,
}

/// Fields of the inner packet that the outer header depends on.
struct Inner {
    tos: u8,
    ttl: u8,
    dont_fragment: bool,
    ipv6: bool,
}

/// Bytes that a tunnel to `target` adds, by which the MTU for the packet inside is smaller.
#[inline]
pub fn overhead(tunnel: Tunnel, target: &IpAddr) -> u16 {
    (ip_len(target) + between(tunnel)) as u16
}

#[inline]
fn ip_len(address: &IpAddr) -> usize {
    if address.is_ipv4() { ipv4::LEN } else { ipv6::LEN }
}

/// Bytes between the outer IP header and the packet.
#[inline]
fn between(tunnel: Tunnel) -> usize {
    match tunnel {
        Tunnel::Ipip => 0,
        Tunnel::Gue { .. } => udp::LEN + gue::LEN,
        Tunnel::Gre { checksum: false } => gre::LEN,
        Tunnel::Gre { checksum: true } => gre::SUMMED_LEN,
    }
}

/// UDP source port for the packets of a flow, so that queues and links that hash ports spread flows.
#[inline]
pub(super) fn source_l4_port(flow_hash: u64) -> u16 {
    let count = u64::from(LAST_L4_PORT - FIRST_L4_PORT) + 1;
    FIRST_L4_PORT + (((flow_hash >> 32) * count) >> 32) as u16
}

/// ECN of the outer header: "congestion experienced" inside becomes "capable" outside, as in Linux (RFC 3168, full
/// functionality).
#[inline]
pub(super) fn outer_tos(tos: u8) -> u8 {
    if tos & 3 == 3 { tos & !3 | 2 } else { tos }
}

impl Inner {
    #[inline]
    fn read(frame: &[u8], l3: usize, ipv6: bool) -> Option<Inner> {
        if ipv6 {
            let ip: &Ipv6Hdr = view(frame, l3)?;
            return Some(Inner { tos: ip.class(), ttl: ip.hop_limit, dont_fragment: false, ipv6 });
        }
        let ip: &Ipv4Hdr = view(frame, l3)?;
        Some(Inner { tos: ip.tos, ttl: ip.ttl, dont_fragment: ip.dont_fragment(), ipv6 })
    }

    fn protocol(&self) -> u8 {
        if self.ipv6 { protocol::IPV6 } else { protocol::IPV4 }
    }
}

/// Puts the headers of a tunnel in front of an IP packet and returns where the outer header starts. `ip_id` is the last
/// identification of an outer header that may be fragmented.
///
/// # Errors
/// When the buffer has no room in front, the frame does not hold the packet, the packet is too long for an outer header, or
/// the outer addresses are of two families.
#[inline]
pub fn tunnel<P: Packet>(
    packet: &mut P,
    span: IpSpan,
    outer: &Outer,
    flow_hash: u64,
    ip_id: &mut u16,
) -> Result<u16, DropReason> {
    let (l3, len) = (usize::from(span.l3), usize::from(span.len));
    let (head, between) = (usize::from(overhead(outer.tunnel, &outer.target)), between(outer.tunnel));
    let inner = Inner::read(packet.bytes(), l3, span.ipv6).ok_or(DropReason::ShortIp)?;
    let payload_len = between + len;
    if payload_len > usize::from(u16::MAX) - ipv4::LEN {
        return Err(DropReason::TooBig);
    }
    let grow = head.saturating_sub(l3);
    // The old frame header is no longer needed: its bytes are room too.
    if grow > 0 && !packet.push_front(grow) {
        return Err(DropReason::NoHeadroom);
    }
    let at = l3 + grow - head;
    let frame = packet.bytes_mut().get_mut(at..at + head + len).ok_or(DropReason::ShortIp)?;
    let next = next_of(outer.tunnel, &inner);
    let addresses = match (outer.source, outer.target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let id = if outer.keep_df && inner.dont_fragment {
                None
            } else {
                *ip_id = ip_id.wrapping_add(1);
                Some(*ip_id)
            };
            put4(frame, &inner, &OuterIp { source, target, next, payload_len }, id)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            put6(frame, &inner, &OuterIp { source, target, next, payload_len })
        }
        _ => return Err(DropReason::NoRoute),
    };
    let rest = &mut frame[head - between..];
    match outer.tunnel {
        Tunnel::Ipip => {}
        Tunnel::Gue { l4_port, checksum } => {
            let ports = Ports::new(source_l4_port(flow_hash), l4_port);
            put_gue(rest, ports, inner.protocol(), checksum.then_some(addresses));
        }
        Tunnel::Gre { checksum } => put_gre(rest, span.ipv6, checksum),
    }
    Ok(at as u16)
}

/// Writes the headers of a tunnel without a checksum, with zeros in the fields that depend on the packet. Returns `None`
/// if the outer addresses are of two families.
pub(super) fn put_template(head: &mut [u8], outer: &Outer, inner_ipv6: bool) -> Option<()> {
    let inner = Inner { tos: 0, ttl: 0, dont_fragment: false, ipv6: inner_ipv6 };
    let (next, payload_len) = (next_of(outer.tunnel, &inner), 0);
    match (outer.source, outer.target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            put4(head, &inner, &OuterIp { source, target, next, payload_len }, Some(0));
            let ip = view_mut::<Ipv4Hdr>(head, 0)?;
            (ip.len, ip.sum) = (U16::new(0), U16::new(0));
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            put6(head, &inner, &OuterIp { source, target, next, payload_len });
        }
        _ => return None,
    }
    let rest = head.get_mut(ip_len(&outer.target)..)?;
    match outer.tunnel {
        Tunnel::Ipip => {}
        Tunnel::Gue { l4_port, .. } => put_gue(rest, Ports::new(0, l4_port), inner.protocol(), None),
        Tunnel::Gre { .. } => put_gre(rest, inner_ipv6, false),
    }
    Some(())
}

/// Protocol number of what follows the outer IP header.
fn next_of(tunnel: Tunnel, inner: &Inner) -> u8 {
    match tunnel {
        Tunnel::Ipip => inner.protocol(),
        Tunnel::Gue { .. } => protocol::UDP,
        Tunnel::Gre { .. } => protocol::GRE,
    }
}

/// Fields of an outer IP header that do not come from the inner packet. `A` is an address.
struct OuterIp<A> {
    source: A,
    target: A,
    /// Protocol number of what follows.
    next: u8,
    /// Bytes of what follows.
    payload_len: usize,
}

/// Writes an IPv4 header, with "don't fragment" if it has no identification, and returns the sum of its addresses. The
/// checksum is computed from the fields and not from the header: reading back what was just written in other units stalls
/// the processor.
#[inline]
fn put4(frame: &mut [u8], inner: &Inner, outer: &OuterIp<Ipv4Addr>, id: Option<u16>) -> u64 {
    let (fragment, id) = id.map_or((ipv4::DF, 0), |id| (0, id));
    let next = outer.next;
    let (tos, len) = (outer_tos(inner.tos), (ipv4::LEN + outer.payload_len) as u16);
    let (src, dst) = (outer.source.to_bits(), outer.target.to_bits());
    let addresses = checksum::of_u32(src) + checksum::of_u32(dst);
    let first = u64::from(u16::from_be_bytes([0x45, tos])) + u64::from(len) + u64::from(id);
    let second = u64::from(fragment) + u64::from(u16::from_be_bytes([inner.ttl, next]));
    if let Some(ip) = view_mut::<Ipv4Hdr>(frame, 0) {
        *ip = Ipv4Hdr {
            version_ihl: 0x45,
            tos,
            len: U16::new(len),
            id: U16::new(id),
            fragment: U16::new(fragment),
            ttl: inner.ttl,
            protocol: next,
            sum: U16::new(!checksum::fold(first + second + addresses)),
            src: U32::new(src),
            dst: U32::new(dst),
        };
    }
    addresses
}

/// Writes an IPv6 header and returns the sum of its addresses.
#[inline]
fn put6(frame: &mut [u8], inner: &Inner, outer: &OuterIp<Ipv6Addr>) -> u64 {
    let (src, dst) = (outer.source.to_bits(), outer.target.to_bits());
    if let Some(ip) = view_mut::<Ipv6Hdr>(frame, 0) {
        *ip = Ipv6Hdr {
            version_class_flow: U32::new(6 << 28 | u32::from(outer_tos(inner.tos)) << 20),
            len: U16::new(outer.payload_len as u16),
            next: outer.next,
            hop_limit: inner.ttl,
            src: U128::new(src),
            dst: U128::new(dst),
        };
    }
    checksum::of_u128(src) + checksum::of_u128(dst)
}

/// Writes the UDP and the GUE header at the start of `datagram`, with a checksum if the sum of the addresses is given.
/// `inner` is the protocol number of the packet inside.
#[inline]
fn put_gue(datagram: &mut [u8], ports: Ports, inner: u8, addresses: Option<u64>) {
    let len = datagram.len();
    if let Some(udp) = view_mut::<UdpHdr>(datagram, 0) {
        let (src, dst) = (U16::new(ports.src()), U16::new(ports.dst()));
        *udp = UdpHdr { src, dst, len: U16::new(len as u16), sum: U16::new(0) };
    }
    if let Some(gue) = view_mut::<GueHdr>(datagram, udp::LEN) {
        *gue = GueHdr { variant_hlen: 0, protocol: inner, flags: U16::new(0) };
    }
    let Some(addresses) = addresses else { return };
    let total = checksum::pseudo(addresses, protocol::UDP, len) + checksum::sum(datagram);
    if let Some(udp) = view_mut::<UdpHdr>(datagram, 0) {
        udp.sum = never_zero(U16::new(!checksum::fold(total)));
    }
}

/// Writes the GRE header at the start of `packet`.
#[inline]
fn put_gre(packet: &mut [u8], ipv6: bool, summed: bool) {
    let (kind, flags) = (if ipv6 { ether::IPV6 } else { ether::IPV4 }, if summed { gre::SUMMED } else { 0 });
    if let Some(gre) = view_mut::<GreHdr>(packet, 0) {
        *gre = GreHdr { flags: U16::new(flags), kind: U16::new(kind) };
    }
    if summed {
        packet[gre::LEN..gre::SUMMED_LEN].fill(0);
        let sum = !checksum::fold(checksum::sum(packet));
        packet[gre::LEN..gre::LEN + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;

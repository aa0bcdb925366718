//! Tunnels: an outer header in front of the packet, fields as in spec 6.6.
//!
//! IP in IP (RFC 2003, RFC 2473), generic UDP encapsulation and generic routing encapsulation (RFC 2784), any family in
//! any family. Each header is written once, where it is to lie.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U32, U128};

use super::rewrite::never_zero;
use crate::packet::Packet;
use crate::service::Tunnel;
use crate::verdict::DropReason;
use crate::wire::gre::{self, GreHdr};
use crate::wire::gue::{self, GueHdr};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::udp::{self, UdpHdr};
use crate::wire::{checksum, ether, protocol, view, view_mut};

/// The UDP source ports of GUE: what Linux takes for ports of its own, `ip_local_port_range`.
const FIRST_L4_PORT: u16 = 32768;
const LAST_L4_PORT: u16 = 60999;

/// What is put around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// Our address.
    pub source: IpAddr,
    /// Where the tunnel ends; of the family of `source`.
    pub target: IpAddr,
    /// What lies between the outer header and the packet.
    pub tunnel: Tunnel,
    /// Whether the outer header takes over "don't fragment"; the setting pmtu_disc.
    pub keep_df: bool,
}

/// What the outer header takes from the inner packet.
struct Inner {
    tos: u8,
    hops: u8,
    dont_fragment: bool,
    ipv6: bool,
}

/// Bytes a tunnel to `target` adds: what its way's MTU is less by for the packet inside.
#[inline]
pub fn overhead(tunnel: Tunnel, target: &IpAddr) -> u16 {
    (ip_len(target) + between(tunnel)) as u16
}

#[inline]
fn ip_len(outer: &IpAddr) -> usize {
    if outer.is_ipv4() { ipv4::LEN } else { ipv6::LEN }
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

/// The UDP source port of a flow's packets: spreads flows over the queues and links that hash it.
#[inline]
pub(super) fn source_l4_port(flow_hash: u64) -> u16 {
    let count = u64::from(LAST_L4_PORT - FIRST_L4_PORT) + 1;
    FIRST_L4_PORT + (((flow_hash >> 32) * count) >> 32) as u16
}

/// Congestion experienced inside becomes "capable" outside: RFC 3168's full functionality, which Linux keeps.
#[inline]
pub(super) fn outer_tos(tos: u8) -> u8 {
    if tos & 3 == 3 { tos & !3 | 2 } else { tos }
}

impl Inner {
    #[inline]
    fn read(frame: &[u8], l3: usize, ipv6: bool) -> Option<Inner> {
        if ipv6 {
            let ip: &Ipv6Hdr = view(frame, l3)?;
            return Some(Inner { tos: ip.class(), hops: ip.hop_limit, dont_fragment: false, ipv6 });
        }
        let ip: &Ipv4Hdr = view(frame, l3)?;
        Some(Inner { tos: ip.tos, hops: ip.ttl, dont_fragment: ip.dont_fragment(), ipv6 })
    }

    fn protocol(&self) -> u8 {
        if self.ipv6 { protocol::IPV6 } else { protocol::IPV4 }
    }
}

/// Puts `outer` in front of an IP packet; gives the outer header's start. `place` is the packet's start in the frame,
/// whether it is IPv6, and its length. `ip_id` counts the identifications of outer headers that may be fragmented.
///
/// # Errors
/// When the buffer has no room in front, the packet is not all there or too long for an outer header, or the outer
/// addresses are of two families.
#[inline]
pub fn tunnel<P: Packet>(
    packet: &mut P,
    (l3, ipv6, len): (u16, bool, u16),
    outer: &Outer,
    flow_hash: u64,
    ip_id: &mut u16,
) -> Result<u16, DropReason> {
    let (l3, head, between) =
        (usize::from(l3), usize::from(overhead(outer.tunnel, &outer.target)), between(outer.tunnel));
    let inner = Inner::read(packet.bytes(), l3, ipv6).ok_or(DropReason::ShortIp)?;
    let payload_len = between + usize::from(len);
    if payload_len > usize::from(u16::MAX) - ipv4::LEN {
        return Err(DropReason::TooBig);
    }
    let grow = head.saturating_sub(l3);
    // The frame header in front is no longer needed: its bytes are room too.
    if grow > 0 && !packet.push_front(grow) {
        return Err(DropReason::NoHeadroom);
    }
    let at = l3 + grow - head;
    let frame = packet.bytes_mut().get_mut(at..at + head + usize::from(len)).ok_or(DropReason::ShortIp)?;
    let next = next_of(outer.tunnel, &inner);
    let addresses = match (outer.source, outer.target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let dont_fragment = outer.keep_df && inner.dont_fragment;
            put4(frame, &inner, (source, target), (next, payload_len), (dont_fragment, ip_id))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            put6(frame, &inner, (source, target), (next, payload_len))
        }
        _ => return Err(DropReason::NoRoute),
    };
    let rest = &mut frame[head - between..];
    match outer.tunnel {
        Tunnel::Ipip => {}
        Tunnel::Gue { l4_port, checksum } => {
            let sum_of = checksum.then_some(addresses);
            put_gue(rest, (source_l4_port(flow_hash), l4_port), inner.protocol(), sum_of);
        }
        Tunnel::Gre { checksum } => put_gre(rest, ipv6, checksum),
    }
    Ok(at as u16)
}

/// Writes the headers of a tunnel without a checksum, with zeros where they depend on the packet; `None` when the outer
/// addresses are of two families.
pub(super) fn put_template(head: &mut [u8], outer: &Outer, inner_ipv6: bool) -> Option<()> {
    let inner = Inner { tos: 0, hops: 0, dont_fragment: false, ipv6: inner_ipv6 };
    let next = next_of(outer.tunnel, &inner);
    match (outer.source, outer.target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            put4(head, &inner, (source, target), (next, 0), (false, &mut 0));
            // What was filled in for the one packet that there is not.
            let ip = view_mut::<Ipv4Hdr>(head, 0)?;
            (ip.len, ip.id, ip.sum) = (U16::new(0), U16::new(0), U16::new(0));
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            put6(head, &inner, (source, target), (next, 0));
        }
        _ => return None,
    }
    let rest = head.get_mut(ip_len(&outer.target)..)?;
    match outer.tunnel {
        Tunnel::Ipip => {}
        Tunnel::Gue { l4_port, .. } => put_gue(rest, (0, l4_port), inner.protocol(), None),
        Tunnel::Gre { .. } => put_gre(rest, inner_ipv6, false),
    }
    Some(())
}

/// What the outer header says it carries.
fn next_of(tunnel: Tunnel, inner: &Inner) -> u8 {
    match tunnel {
        Tunnel::Ipip => inner.protocol(),
        Tunnel::Gue { .. } => protocol::UDP,
        Tunnel::Gre { .. } => protocol::GRE,
    }
}

/// Writes an IPv4 header; gives the sum of its addresses. The checksum is made of the fields in hand: reading back what
/// was just written in other pieces would stall.
#[inline]
fn put4(
    frame: &mut [u8],
    inner: &Inner,
    (source, target): (Ipv4Addr, Ipv4Addr),
    (next, payload_len): (u8, usize),
    (dont_fragment, ip_id): (bool, &mut u16),
) -> u64 {
    let (fragment, id) = if dont_fragment {
        (ipv4::DF, 0)
    } else {
        *ip_id = ip_id.wrapping_add(1);
        (0, *ip_id)
    };
    let (tos, len) = (outer_tos(inner.tos), (ipv4::LEN + payload_len) as u16);
    let (src, dst) = (source.to_bits(), target.to_bits());
    let addresses = checksum::of_u32(src) + checksum::of_u32(dst);
    let first = u64::from(u16::from_be_bytes([0x45, tos])) + u64::from(len) + u64::from(id);
    let second = u64::from(fragment) + u64::from(u16::from_be_bytes([inner.hops, next]));
    if let Some(place) = view_mut::<Ipv4Hdr>(frame, 0) {
        *place = Ipv4Hdr {
            version_ihl: 0x45,
            tos,
            len: U16::new(len),
            id: U16::new(id),
            fragment: U16::new(fragment),
            ttl: inner.hops,
            protocol: next,
            sum: U16::new(!checksum::fold(first + second + addresses)),
            src: U32::new(src),
            dst: U32::new(dst),
        };
    }
    addresses
}

/// Writes an IPv6 header; gives the sum of its addresses.
#[inline]
fn put6(
    frame: &mut [u8],
    inner: &Inner,
    (source, target): (Ipv6Addr, Ipv6Addr),
    (next, payload_len): (u8, usize),
) -> u64 {
    let (src, dst) = (source.to_bits(), target.to_bits());
    if let Some(place) = view_mut::<Ipv6Hdr>(frame, 0) {
        *place = Ipv6Hdr {
            version_class_flow: U32::new(6 << 28 | u32::from(outer_tos(inner.tos)) << 20),
            len: U16::new(payload_len as u16),
            next,
            hop_limit: inner.hops,
            src: U128::new(src),
            dst: U128::new(dst),
        };
    }
    checksum::of_u128(src) + checksum::of_u128(dst)
}

/// Writes the UDP and the GUE header at the start of `datagram`; with a checksum if the sum of the addresses is given.
#[inline]
fn put_gue(datagram: &mut [u8], (src, dst): (u16, u16), inner: u8, sum_of: Option<u64>) {
    let len = datagram.len();
    if let Some(place) = view_mut::<UdpHdr>(datagram, 0) {
        *place =
            UdpHdr { src: U16::new(src), dst: U16::new(dst), len: U16::new(len as u16), sum: U16::new(0) };
    }
    if let Some(place) = view_mut::<GueHdr>(datagram, udp::LEN) {
        *place = GueHdr { variant_hlen: 0, protocol: inner, flags: U16::new(0) };
    }
    let Some(addresses) = sum_of else { return };
    let total = checksum::pseudo(addresses, protocol::UDP, len) + checksum::sum(datagram);
    if let Some(place) = view_mut::<UdpHdr>(datagram, 0) {
        place.sum = never_zero(U16::new(!checksum::fold(total)));
    }
}

/// Writes the GRE header at the start of `packet`.
#[inline]
fn put_gre(packet: &mut [u8], ipv6: bool, summed: bool) {
    let (kind, flags) = (if ipv6 { ether::IPV6 } else { ether::IPV4 }, if summed { gre::SUMMED } else { 0 });
    if let Some(place) = view_mut::<GreHdr>(packet, 0) {
        *place = GreHdr { flags: U16::new(flags), kind: U16::new(kind) };
    }
    if summed {
        packet[gre::LEN..gre::SUMMED_LEN].fill(0);
        let sum = !checksum::fold(checksum::sum(packet));
        packet[gre::LEN..gre::LEN + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;

//! Precomputed tunnel headers: frame header, outer IP header and the headers between it and the packet, complete except
//! for the few fields that depend on the packet.
//!
//! Tunnels with a checksum over the packet have none: [`encap`] serves those. For the others the two write the same
//! headers.

use std::net::IpAddr;

use zerocopy::network_endian::{U16, U32};

use super::encap::{self, Outer, outer_tos, source_l4_port};
use super::plain;
use crate::packet::Packet;
use crate::service::Tunnel;
use crate::wire::ether;
use crate::wire::gue;
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::plain::Ip;
use crate::wire::udp::{self, UdpHdr};
use crate::wire::{checksum, view_mut};

/// Room for the longest headers: Ethernet, IPv6, UDP and GUE, rounded up. All headers end at the end of it, so that
/// copying them is always the same few moves; the bytes copied in front of their start fall into free room.
const ROOM: usize = 80;

/// Bytes of the shortest headers: Ethernet and IPv4.
const BARE: usize = ether::LEN + ipv4::LEN;

/// Headers for packets of one family to one destination.
#[derive(Clone, Debug)]
#[repr(align(32))]
pub struct TunnelHeader {
    bytes: [u8; ROOM],
    /// The checksum's sum of the outer IPv4 header as precomputed.
    sum: u32,
    /// Bytes of the outer IP header and the headers behind it.
    overhead: u8,
    /// Bytes between the outer IP header and the packet.
    between: u8,
    outer_ipv6: bool,
    inner_ipv6: bool,
    /// The UDP source port depends on the flow.
    shows_flow: bool,
}

/// Settings and state of the worker that outer headers depend on.
pub struct Numbers<'a> {
    /// True if the outer header copies "don't fragment" from the packet: the setting `pmtu_disc`.
    pub keep_df: bool,
    /// Last identification of an outer header that may be fragmented.
    pub ip_id: &'a mut u16,
}

impl TunnelHeader {
    /// The headers of a tunnel for packets of one family, in frames with these Ethernet addresses. Returns `None` for a
    /// tunnel with a checksum.
    pub fn new(outer: &Outer, inner_ipv6: bool, frame: &[u8; ether::ADDRESSES]) -> Option<TunnelHeader> {
        let shows_flow = match outer.tunnel {
            Tunnel::Ipip | Tunnel::Gre { checksum: false } => false,
            Tunnel::Gue { checksum: false, .. } => true,
            Tunnel::Gre { checksum: true } | Tunnel::Gue { checksum: true, .. } => return None,
        };
        let overhead = usize::from(encap::overhead(outer.tunnel, &outer.target));
        let outer_ipv6 = outer.target.is_ipv6();
        let mut bytes = [0; ROOM];
        let head = &mut bytes[ROOM - overhead - ether::LEN..];
        head[..ether::ADDRESSES].copy_from_slice(frame);
        let kind = if outer_ipv6 { ether::IPV6 } else { ether::IPV4 };
        head[ether::ADDRESSES..ether::LEN].copy_from_slice(&kind.to_be_bytes());
        encap::put_template(&mut head[ether::LEN..], outer, inner_ipv6)?;
        let sum = match outer.target {
            IpAddr::V4(_) => checksum::fold(checksum::sum(&head[ether::LEN..ether::LEN + ipv4::LEN])).into(),
            IpAddr::V6(_) => 0,
        };
        let between = overhead - if outer_ipv6 { ipv6::LEN } else { ipv4::LEN };
        let (overhead, between) = (overhead as u8, between as u8);
        Some(TunnelHeader { bytes, sum, overhead, between, outer_ipv6, inner_ipv6, shows_flow })
    }

    /// Bytes by which the MTU for packets is smaller than that of the route.
    #[inline(always)]
    pub fn overhead(&self) -> u16 {
        self.overhead.into()
    }

    /// True if the headers are for packets of this family.
    #[inline(always)]
    pub fn is_for(&self, ipv6: bool) -> bool {
        self.inner_ipv6 == ipv6
    }

    /// True if [`TunnelHeader::wrap`] needs the hash of the flow.
    #[inline(always)]
    pub fn shows_flow(&self) -> bool {
        self.shows_flow
    }

    /// Decrements the TTL of a plain packet and puts the headers in front of it, in place of its frame header. Returns
    /// `None`, and changes nothing, if there is not enough room or the TTL expires.
    #[inline(always)]
    pub fn wrap<I: Ip, P: Packet>(
        &self,
        packet: &mut P,
        len: u16,
        flow: u64,
        numbers: Numbers,
    ) -> Option<()> {
        let (head, _) = plain::split::<I>(packet.bytes_mut())?;
        if head.ip.ttl() <= 1 {
            return None;
        }
        let inner = Inner { tos: head.ip.tos(), ttl: head.ip.ttl() - 1, keeps_df: head.ip.dont_fragment() };
        if self.is_bare() {
            // By far the most frequent case, and all offsets are constants.
            if !packet.push_front(ipv4::LEN) {
                return None;
            }
            let (room, rest) = packet.bytes_mut().split_first_chunk_mut::<BARE>()?;
            view_mut::<I>(rest, 0)?.decrement_ttl();
            *room = *self.bytes.last_chunk()?;
            let ip: &mut [u8; ipv4::LEN] = room.last_chunk_mut()?;
            self.fill4(zerocopy::transmute_mut!(ip), &inner, len, numbers);
            return Some(());
        }
        if !packet.push_front(ROOM - ether::LEN) {
            return None;
        }
        let (room, rest) = packet.bytes_mut().split_first_chunk_mut::<ROOM>()?;
        view_mut::<I>(rest, 0)?.decrement_ttl();
        *room = self.bytes;
        let start = ROOM - usize::from(self.overhead);
        if self.outer_ipv6 {
            self.fill6(view_mut(room, start)?, &inner, len);
        } else {
            self.fill4(view_mut(room, start)?, &inner, len, numbers);
        }
        if self.shows_flow {
            let udp = view_mut::<UdpHdr>(room, ROOM - udp::LEN - gue::LEN)?;
            udp.src.set(source_l4_port(flow));
            udp.len.set(u16::from(self.between) + len);
        }
        packet.pull_front(start - ether::LEN).then_some(())
    }

    /// True for an IPv4 header with nothing behind it.
    #[inline(always)]
    fn is_bare(&self) -> bool {
        self.between == 0 && !self.outer_ipv6
    }

    #[inline(always)]
    fn fill4(&self, ip: &mut Ipv4Hdr, inner: &Inner, len: u16, numbers: Numbers) {
        let (mut fragment, mut id) = (ipv4::DF, 0);
        if !(numbers.keep_df && inner.keeps_df) {
            *numbers.ip_id = numbers.ip_id.wrapping_add(1);
            (fragment, id) = (0, *numbers.ip_id);
        }
        let (tos, len, ttl) = (outer_tos(inner.tos), len + self.overhead(), inner.ttl);
        let words = u32::from(len) + u32::from(id) + u32::from(fragment);
        let sum = self.sum + words + u32::from(tos) + (u32::from(ttl) << 8);
        (ip.tos, ip.ttl) = (tos, ttl);
        (ip.len, ip.id, ip.fragment) = (U16::new(len), U16::new(id), U16::new(fragment));
        // The sum is of six words at most, so folding twice is enough.
        let sum = (sum & 0xffff) + (sum >> 16);
        ip.sum.set(!(sum + (sum >> 16)) as u16);
    }

    #[inline(always)]
    fn fill6(&self, ip: &mut Ipv6Hdr, inner: &Inner, len: u16) {
        ip.version_class_flow = U32::new(6 << 28 | u32::from(outer_tos(inner.tos)) << 20);
        ip.len.set(u16::from(self.between) + len);
        ip.hop_limit = inner.ttl;
    }
}

/// Fields of the packet that outer headers depend on, with the TTL decremented.
struct Inner {
    tos: u8,
    ttl: u8,
    keeps_df: bool,
}

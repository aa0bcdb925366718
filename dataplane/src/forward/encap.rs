//! IP in IP: an outer header in front of the packet, RFC 2003 (IPv4) and RFC 2473 (IPv6), fields as in spec 6.6.

use std::net::IpAddr;

use zerocopy::network_endian::{U16, U32, U128};

use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::{checksum, protocol, view, view_mut};

/// What the outer header takes from the inner packet.
struct Inner {
    tos: u8,
    hops: u8,
    dont_fragment: bool,
    len: u16,
    protocol: u8,
}

/// Bytes the outer header adds.
pub fn overhead(outer: &IpAddr) -> u16 {
    if outer.is_ipv4() { ipv4::LEN as u16 } else { ipv6::LEN as u16 }
}

/// Congestion experienced inside becomes "capable" outside: RFC 3168's full functionality, which Linux keeps.
fn outer_tos(tos: u8) -> u8 {
    if tos & 3 == 3 { tos & !3 | 2 } else { tos }
}

fn inner(frame: &[u8], l3: usize, ipv6: bool, len: u16) -> Option<Inner> {
    if ipv6 {
        let ip: &Ipv6Hdr = view(frame, l3)?;
        let (tos, hops) = (ip.class(), ip.hop_limit);
        return Some(Inner { tos, hops, dont_fragment: false, len, protocol: protocol::IPV6 });
    }
    let ip: &Ipv4Hdr = view(frame, l3)?;
    let dont_fragment = ip.dont_fragment();
    Some(Inner { tos: ip.tos, hops: ip.ttl, dont_fragment, len, protocol: protocol::IPV4 })
}

/// Puts an outer header from `source` to `target` in front of the IP packet at `l3`; gives the outer header's start.
///
/// `id` is the identification of an outer header that may be fragmented; `keep_df` copies the inner DF.
///
/// # Errors
/// When the buffer has no room in front.
pub fn ipip<P: Packet>(
    packet: &mut P,
    (l3, ipv6, len): (u16, bool, u16),
    (source, target): (IpAddr, IpAddr),
    keep_df: bool,
    id: &mut u16,
) -> Result<u16, DropReason> {
    let inner = inner(packet.bytes(), l3.into(), ipv6, len).ok_or(DropReason::ShortIp)?;
    let grow = usize::from(overhead(&target)).saturating_sub(l3.into());
    // The frame header in front is no longer needed: its bytes are room too.
    if grow > 0 && !packet.push_front(grow) {
        return Err(DropReason::NoHeadroom);
    }
    let outer = usize::from(l3) + grow - usize::from(overhead(&target));
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let fragment = if inner.dont_fragment && keep_df { ipv4::DF } else { 0 };
            *id = id.wrapping_add(1);
            let header = Ipv4Hdr {
                version_ihl: 0x45,
                tos: outer_tos(inner.tos),
                len: U16::new(inner.len + ipv4::LEN as u16),
                id: U16::new(if fragment == 0 { *id } else { 0 }),
                fragment: U16::new(fragment),
                ttl: inner.hops,
                protocol: inner.protocol,
                sum: U16::new(0),
                src: U32::new(source.to_bits()),
                dst: U32::new(target.to_bits()),
            };
            let place: &mut Ipv4Hdr = view_mut(packet.bytes_mut(), outer).ok_or(DropReason::NoHeadroom)?;
            *place = header;
            let sum = checksum::sum(zerocopy::IntoBytes::as_bytes(place));
            place.sum.set(!checksum::fold(sum));
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let place: &mut Ipv6Hdr = view_mut(packet.bytes_mut(), outer).ok_or(DropReason::NoHeadroom)?;
            *place = Ipv6Hdr {
                version_class_flow: U32::new(6 << 28 | u32::from(outer_tos(inner.tos)) << 20),
                len: U16::new(inner.len),
                next: inner.protocol,
                hop_limit: inner.hops,
                src: U128::new(source.to_bits()),
                dst: U128::new(target.to_bits()),
            };
        }
        _ => return Err(DropReason::NoRoute),
    }
    Ok(outer as u16)
}

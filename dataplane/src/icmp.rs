//! ICMP errors: rewritten if they quote a packet of a NAT connection, and made for packets that are refused.

pub mod rate_limit;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use zerocopy::network_endian::{U16, U32, U128};

use crate::flow::Key;
use crate::forward::rewrite::Rewrite;
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::icmp::{self, IcmpHdr};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::{checksum, protocol, view, view_mut};

/// Largest messages that are made, with their IP header: RFC 1812 4.3.2.3 and RFC 4443 2.4.
const MAX_LEN4: usize = 576;
const MAX_LEN6: usize = 1280;

/// An ICMP error to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The reason, for the counters.
    pub reason: IcmpReason,
    /// The MTU to report, for [`IcmpReason::FragmentationNeeded`].
    pub mtu: u16,
    /// Type, code and second word of the received error to repeat, for [`IcmpReason::TunnelError`].
    pub like: (u8, u8, u32),
}

impl Message {
    /// A message without an MTU.
    pub fn new(reason: IcmpReason) -> Message {
        Message { reason, mtu: 0, like: (0, 0, 0) }
    }

    /// Whether rate limits apply; they do not to errors about the MTU.
    pub fn is_limited(self, ipv6: bool) -> bool {
        !matches!((self.type_code(ipv6), ipv6), ((3, 4), false) | ((2, _), true))
    }

    fn type_code(self, ipv6: bool) -> (u8, u8) {
        match (self.reason, ipv6) {
            (IcmpReason::NoDestination | IcmpReason::NoConnection, false) => (3, 3),
            (IcmpReason::NoDestination | IcmpReason::NoConnection, true) => (1, 4),
            (IcmpReason::TtlExceeded, false) => (11, 0),
            (IcmpReason::TtlExceeded, true) => (3, 0),
            (IcmpReason::FragmentationNeeded, false) => (3, 4),
            (IcmpReason::FragmentationNeeded, true) => (2, 0),
            (IcmpReason::TunnelError, _) => (self.like.0, self.like.1),
        }
    }
}

/// The bytes of an ICMP message in its frame.
fn message(frame: &[u8], parsed: &Parsed) -> Option<Range<usize>> {
    let at = parsed.l4.into()..parsed.end(frame)?;
    frame.get(at.clone()).map(|_| at)
}

/// The checksum's sum over the message at `at`, with the pseudo header of ICMPv6.
fn sum(frame: &[u8], parsed: &Parsed, at: Range<usize>) -> u64 {
    let (l3, len) = (usize::from(parsed.l3), at.len());
    let pseudo = match parsed.key {
        Key::V4(_) => 0,
        Key::V6(_) => checksum::pseudo(checksum::sum(&frame[l3 + 8..l3 + 40]), protocol::ICMPV6, len),
    };
    pseudo + checksum::sum(&frame[at])
}

/// Whether the checksum of an ICMP error is right.
pub fn checksum_is_right(frame: &[u8], parsed: &Parsed) -> bool {
    message(frame, parsed).is_some_and(|at| checksum::fold(sum(frame, parsed, at)) == 0xffff)
}

/// Whether the checksum of an ICMPv6 error is right without the pseudo header, as Linux 6.1 checks it behind NAT.
pub fn checksum_is_right_without_pseudo(frame: &[u8], parsed: &Parsed) -> bool {
    message(frame, parsed).is_some_and(|at| checksum::fold(checksum::sum(&frame[at])) == 0xffff)
}

/// The MTU in an ICMPv4 "fragmentation needed" error, RFC 1191.
pub fn next_mtu(frame: &[u8], parsed: &Parsed) -> Option<u16> {
    let icmp: &IcmpHdr = view(frame, parsed.l4.into())?;
    (icmp.kind == 3 && icmp.code == 4).then(|| icmp.rest.get() as u16)
}

/// Type, code and second word of an ICMP message.
pub fn type_code_word(frame: &[u8], parsed: &Parsed) -> (u8, u8, u32) {
    view::<IcmpHdr>(frame, parsed.l4.into()).map_or((3, 0, 0), |icmp| (icmp.kind, icmp.code, icmp.rest.get()))
}

/// Rewrites an ICMP error and the packet it quotes. The error travels against that packet, so the mirrored rewrite applies
/// to it; a quoted AH or ESP packet has no ports. All checksums are computed in full, because those of a quoted packet may
/// be wrong. The quoted transport checksum stays, as in Linux.
pub fn translate(frame: &mut [u8], parsed: &Parsed, rewrite: &Rewrite) {
    let (outer, quoted) = (usize::from(parsed.l3), usize::from(parsed.quoted_l3));
    let mirrored = rewrite.mirrored();
    if parsed.ports_quoted
        && let Some([src, dst]) = view_mut::<[U16; 2]>(frame, parsed.quoted_l4.into())
    {
        mirrored.set_ports(src, dst);
    }
    for (l3, rewrite) in [(quoted, &mirrored), (outer, rewrite)] {
        match parsed.key {
            Key::V4(_) => {
                if let Some(ip) = view_mut(frame, l3) {
                    rewrite.set_addresses4(ip);
                    ipv4::fill_checksum(&mut frame[l3..]);
                }
            }
            Key::V6(_) => {
                if let Some(ip) = view_mut(frame, l3) {
                    rewrite.set_addresses6(ip);
                }
            }
        }
    }
    fill_checksum(frame, parsed);
}

fn fill_checksum(frame: &mut [u8], parsed: &Parsed) {
    let Some(at) = message(frame, parsed) else { return };
    if let Some(message) = view_mut::<IcmpHdr>(frame, at.start) {
        message.sum.set(0);
    }
    let sum = !checksum::fold(sum(frame, parsed, at.clone()));
    if let Some(message) = view_mut::<IcmpHdr>(frame, at.start) {
        message.sum.set(sum);
    }
}

/// Turns a packet into an ICMP error to its sender, in the same buffer, and returns the start of the new IP header.
///
/// The error quotes the packet as it is in the buffer, cut to the largest size of a message.
///
/// # Errors
/// When the buffer has no room in front.
pub fn make_error<P: Packet>(
    packet: &mut P,
    parsed: &Parsed,
    source: IpAddr,
    message: Message,
    id: &mut u16,
) -> Result<u16, DropReason> {
    let (l3, ipv6) = (usize::from(parsed.l3), matches!(parsed.key, Key::V6(_)));
    let (headers, most) =
        if ipv6 { (ipv6::LEN + icmp::LEN, MAX_LEN6) } else { (ipv4::LEN + icmp::LEN, MAX_LEN4) };
    let quoted = usize::from(parsed.len).min(most - headers);
    packet.truncate(l3 + quoted);
    let grow = headers.saturating_sub(l3);
    if grow > 0 && !packet.push_front(grow) {
        return Err(DropReason::NoHeadroom);
    }
    let at = l3 + grow - headers;
    let frame = packet.bytes_mut();
    let (kind, code) = message.type_code(ipv6);
    let icmp_at = at + headers - icmp::LEN;
    let header =
        IcmpHdr { kind, code, sum: U16::new(0), rest: U32::new(message.like.2 | u32::from(message.mtu)) };
    *view_mut(frame, icmp_at).ok_or(DropReason::NoHeadroom)? = header;
    let len = (headers + quoted) as u16;
    match source {
        IpAddr::V4(source) => {
            *id = id.wrapping_add(1);
            let quoted = view::<Ipv4Hdr>(frame, at + headers).ok_or(DropReason::ShortIp)?;
            let header = outer4(quoted, len, source, *id);
            *view_mut(frame, at).ok_or(DropReason::NoHeadroom)? = header;
            ipv4::fill_checksum(&mut frame[at..]);
        }
        IpAddr::V6(source) => {
            let quoted = view::<Ipv6Hdr>(frame, at + headers).ok_or(DropReason::ShortIp)?;
            let header = outer6(quoted, len, source);
            *view_mut(frame, at).ok_or(DropReason::NoHeadroom)? = header;
        }
    }
    let made = Parsed { l3: at as u16, l4: icmp_at as u16, len, ..*parsed };
    fill_checksum(frame, &made);
    Ok(at as u16)
}

/// IPv4 header of an ICMP error of `len` bytes to the sender of the quoted packet.
fn outer4(quoted: &Ipv4Hdr, len: u16, source: Ipv4Addr, id: u16) -> Ipv4Hdr {
    Ipv4Hdr {
        version_ihl: 0x45,
        // Precedence "internetwork control" (RFC 1812 4.3.2.5) and the packet's own type of service.
        tos: 0xc0 | quoted.tos & 0x1e,
        len: U16::new(len),
        id: U16::new(id),
        fragment: U16::new(0),
        ttl: 64,
        protocol: protocol::ICMP,
        sum: U16::new(0),
        src: U32::new(source.to_bits()),
        dst: quoted.src,
    }
}

/// IPv6 header of an ICMP error of `len` bytes to the sender of the quoted packet.
fn outer6(quoted: &Ipv6Hdr, len: u16, source: Ipv6Addr) -> Ipv6Hdr {
    Ipv6Hdr {
        version_class_flow: U32::new(6 << 28),
        len: U16::new(len - ipv6::LEN as u16),
        next: protocol::ICMPV6,
        hop_limit: 64,
        src: U128::new(source.to_bits()),
        dst: quoted.src,
    }
}

#[cfg(test)]
mod tests;

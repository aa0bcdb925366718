//! The only code that writes packets, [`icmp`](crate::icmp) and [`fragments`](crate::fragments) aside: rewriting,
//! encapsulation, and the frame header of the next hop.
//!
//! A forwarding method is data: [`crate::pipeline`] decides what changes, the functions here change it.
//!
//! - [`rewrite`]: new source and destination of any packet, for NAT.
//! - [`encap`]: tunnel headers in front of any packet.
//! - [`plain`], [`tunnel_header`]: the same two for plain packets on the fast path; laws in the tests keep them equal.

pub mod encap;
pub mod plain;
pub mod rewrite;
pub mod tunnel_header;

use crate::network::{Hop, NextHop};
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::ether;

/// How a packet leaves: the start of its IP header, its next hop and the MTU on the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Start of the IP header. The bytes before it are those of the received frame.
    pub l3: u16,
    /// True for IPv6.
    pub ipv6: bool,
    /// The next hop.
    pub next: NextHop,
    /// Largest IP packet on the route.
    pub mtu: u16,
}

/// Replaces the frame header of a packet with that of its next hop.
///
/// # Errors
/// When the new header is longer and the buffer has no room in front.
#[inline]
pub fn frame<P: Packet>(packet: &mut P, egress: &Egress, hop: &Hop) -> Result<(), DropReason> {
    let (old, new) = (usize::from(egress.l3), usize::from(hop.header_len));
    let fits = match old.cmp(&new) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => packet.push_front(new - old),
        std::cmp::Ordering::Greater => packet.pull_front(old - new),
    };
    let kind = if egress.ipv6 { ether::IPV6 } else { ether::IPV4 }.to_be_bytes();
    // One call for each length: a copy of a length that the compiler does not know would call memcpy.
    let written = match new {
        ether::LEN => put::<{ ether::LEN }>(packet.bytes_mut(), &hop.header, kind),
        _ => put::<{ ether::TAGGED_LEN }>(packet.bytes_mut(), &hop.header, kind),
    };
    written.filter(|()| fits).ok_or(DropReason::NoHeadroom)
}

#[inline]
fn put<const LEN: usize>(frame: &mut [u8], header: &[u8; ether::TAGGED_LEN], kind: [u8; 2]) -> Option<()> {
    let to = frame.first_chunk_mut::<LEN>()?;
    to.copy_from_slice(header.first_chunk::<LEN>()?);
    *to.last_chunk_mut()? = kind;
    Some(())
}

//! The only writers of packets: translation, encapsulation, and the frame header of the next hop.
//!
//! A forwarding method is data: what it changes is decided in [`crate::pipeline`], done by the functions here.

pub mod encap;
pub mod plain;
pub mod rewrite;
pub mod tunnel_header;

use crate::network::{Hop, NextHop};
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::ether;

/// A packet ready to leave: where its IP header starts in the buffer, what it is, and to whom it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Start of the IP header; what is before it belongs to the frame it came in.
    pub l3: u16,
    /// Whether it is IPv6.
    pub ipv6: bool,
    /// The receiver.
    pub next: NextHop,
    /// Largest IP packet on the way.
    pub mtu: u16,
}

/// Gives the packet its new frame header in place of the old one.
///
/// # Errors
/// When the buffer has no room in front for a longer header than it came with.
#[inline]
pub fn frame<P: Packet>(packet: &mut P, departure: &Egress, hop: &Hop) -> Result<(), DropReason> {
    let (had, wants) = (usize::from(departure.l3), usize::from(hop.header_len));
    let fits = match had.cmp(&wants) {
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Less => packet.push_front(wants - had),
        std::cmp::Ordering::Greater => packet.pull_front(had - wants),
    };
    let kind = if departure.ipv6 { ether::IPV6 } else { ether::IPV4 }.to_be_bytes();
    // Each length on its own: a copy of a length that is not known would be a call.
    let written = match wants {
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

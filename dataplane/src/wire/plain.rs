//! The start of a plain frame as one view.
//!
//! Nearly all packets are plain: untagged, without IP options or extension headers, not fragmented, with a whole TCP or UDP
//! header.

use zerocopy::network_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ether;
use super::ipv4::Ipv4Hdr;
use super::ipv6::Ipv6Hdr;
use super::{
    Header,
    checksum::{Delta, TTL_DELTA},
};

/// The start of a plain frame whose IP header is an `I`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Head<I> {
    /// Receiver and sender of the frame.
    pub ether: [u8; ether::ADDRESSES],
    /// EtherType.
    pub kind: U16,
    /// The IP header.
    pub ip: I,
    /// Source and destination port.
    pub l4_ports: [U16; 2],
}

/// The IP header of a plain packet, of either family.
pub trait Ip: Header {
    /// An address.
    type Address: Copy;
    /// True for IPv6.
    const IPV6: bool;
    /// DSCP and ECN.
    fn tos(&self) -> u8;
    /// The "don't fragment" flag of IPv4; false for IPv6.
    fn dont_fragment(&self) -> bool;
    /// TTL, or hop limit of IPv6.
    fn ttl(&self) -> u8;
    /// Decrements it.
    fn decrement_ttl(&mut self);
    /// Decrements it and applies `delta`, another change of the header's checksum, if it has one.
    fn decrement_ttl_and(&mut self, delta: Delta);
    /// Replaces the source.
    fn set_src(&mut self, address: Self::Address);
    /// Replaces the destination.
    fn set_dst(&mut self, address: Self::Address);
}

impl Ip for Ipv4Hdr {
    type Address = U32;
    const IPV6: bool = false;

    #[inline(always)]
    fn tos(&self) -> u8 {
        self.tos
    }

    #[inline(always)]
    fn dont_fragment(&self) -> bool {
        Ipv4Hdr::dont_fragment(self)
    }

    #[inline(always)]
    fn ttl(&self) -> u8 {
        self.ttl
    }

    /// A TTL that is less by one adds 0x0100 to the checksum, and 0xffff is written as 0; RFC 1624. TTL and checksum are in
    /// one 32-bit word, the TTL in its lowest byte, so one addition changes both.
    #[inline(always)]
    fn decrement_ttl(&mut self) {
        let Some(bytes) = self.as_mut_bytes()[8..].first_chunk_mut() else { return };
        let word = u32::from_le_bytes(*bytes);
        let carry = if word >= 0xfffe_0000 { 0x1_0000 } else { 0 };
        *bytes = word.wrapping_add(0xffff).wrapping_add(carry).to_le_bytes();
    }

    #[inline(always)]
    fn decrement_ttl_and(&mut self, delta: Delta) {
        self.ttl = self.ttl.wrapping_sub(1);
        self.sum = delta.and(TTL_DELTA).patch(self.sum);
    }

    #[inline(always)]
    fn set_src(&mut self, address: U32) {
        self.src = address;
    }

    #[inline(always)]
    fn set_dst(&mut self, address: U32) {
        self.dst = address;
    }
}

impl Ip for Ipv6Hdr {
    type Address = U128;
    const IPV6: bool = true;

    #[inline(always)]
    fn tos(&self) -> u8 {
        self.class()
    }

    #[inline(always)]
    fn dont_fragment(&self) -> bool {
        false
    }

    #[inline(always)]
    fn ttl(&self) -> u8 {
        self.hop_limit
    }

    #[inline(always)]
    fn decrement_ttl(&mut self) {
        self.hop_limit = self.hop_limit.wrapping_sub(1);
    }

    #[inline(always)]
    fn decrement_ttl_and(&mut self, _: Delta) {
        self.decrement_ttl();
    }

    #[inline(always)]
    fn set_src(&mut self, address: U128) {
        self.src = address;
    }

    #[inline(always)]
    fn set_dst(&mut self, address: U128) {
        self.dst = address;
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    /// For every checksum.
    #[test]
    fn decrementing_the_ttl_changes_the_checksum_as_its_delta_does() {
        for sum in 0..=u16::MAX {
            let mut plain = Ipv4Hdr::new_zeroed();
            plain.ttl = 64;
            plain.sum.set(sum);
            let mut with_delta = Ipv4Hdr::new_zeroed();
            with_delta.as_mut_bytes().copy_from_slice(plain.as_bytes());
            plain.decrement_ttl();
            with_delta.decrement_ttl_and(Delta::default());
            assert_eq!(plain.as_bytes(), with_delta.as_bytes(), "{sum:#06x}");
        }
    }
}

//! Rewriting of plain packets: untagged, without IP options or extension headers, not fragmented, with a whole TCP or UDP
//! header. All fields that change are in one view of the start of the frame.

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use super::rewrite::NewEnd;
use crate::wire::Header;
use crate::wire::checksum::Delta;
use crate::wire::plain::{Head, Ip};

/// The start of a frame with a UDP datagram.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpStart<I> {
    /// The headers up to the ports.
    pub head: Head<I>,
    len: U16,
    /// The checksum of the datagram; zero means none.
    pub sum: U16,
}

/// The start of a frame with a TCP segment.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpStart<I> {
    /// The headers up to the ports.
    pub head: Head<I>,
    between: [u8; 12],
    /// The checksum of the segment.
    pub sum: U16,
}

/// The start of a frame.
#[inline(always)]
pub fn start<T: Header>(frame: &mut [u8]) -> Option<&mut T> {
    T::mut_from_prefix(frame).ok().map(|(start, _)| start)
}

/// The start of a plain frame, and the bytes behind it.
#[inline(always)]
pub fn split<I: Ip>(frame: &mut [u8]) -> Option<(&mut Head<I>, &mut [u8])> {
    Head::mut_from_prefix(frame).ok()
}

/// One end of a plain packet in a [`PlainRewrite`]: [`Unchanged`] or [`NewEnd`], so that which ends change is known when
/// the code is compiled.
pub trait End<A>: Copy {
    /// Change of the IPv4 header checksum.
    fn delta_l3(&self) -> Delta;
    /// Change of the transport checksum.
    fn delta_l4(&self) -> Delta;
    /// New address and port, if the end changes.
    fn new_end(&self) -> Option<(A, U16)>;
}

/// An end that stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Unchanged;

impl<A> End<A> for Unchanged {
    #[inline(always)]
    fn delta_l3(&self) -> Delta {
        Delta::default()
    }

    #[inline(always)]
    fn delta_l4(&self) -> Delta {
        Delta::default()
    }

    #[inline(always)]
    fn new_end(&self) -> Option<(A, U16)> {
        None
    }
}

impl<A: Copy> End<A> for NewEnd<A> {
    #[inline(always)]
    fn delta_l3(&self) -> Delta {
        self.delta_l3
    }

    #[inline(always)]
    fn delta_l4(&self) -> Delta {
        self.delta_l4
    }

    #[inline(always)]
    fn new_end(&self) -> Option<(A, U16)> {
        Some((self.address, self.l4_port))
    }
}

/// The rewrite of a plain packet; [`Rewrite`](super::rewrite::Rewrite) is that of any packet.
#[derive(Clone, Copy, Debug)]
pub struct PlainRewrite<S, D> {
    /// New source.
    pub src: S,
    /// New destination.
    pub dst: D,
}

impl<S, D> PlainRewrite<S, D> {
    /// Replaces the ends, decrements the TTL and corrects the header's checksum.
    #[inline(always)]
    pub fn apply<I: Ip>(&self, head: &mut Head<I>)
    where
        S: End<I::Address>,
        D: End<I::Address>,
    {
        if let Some((address, l4_port)) = self.src.new_end() {
            head.ip.set_src(address);
            head.l4_ports[0] = l4_port;
        }
        if let Some((address, l4_port)) = self.dst.new_end() {
            head.ip.set_dst(address);
            head.l4_ports[1] = l4_port;
        }
        head.ip.decrement_ttl_and(self.src.delta_l3().and(self.dst.delta_l3()));
    }

    /// The transport checksum after the change.
    #[inline(always)]
    pub fn patch<A>(&self, sum: U16) -> U16
    where
        S: End<A>,
        D: End<A>,
    {
        self.src.delta_l4().and(self.dst.delta_l4()).patch(sum)
    }
}

#[cfg(test)]
mod tests;

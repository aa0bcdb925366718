//! Plain packets rewritten: untagged, without IP options or extension headers, in one piece, with a whole TCP or UDP
//! header. All that changes lies in one view of the frame's start.

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::conn::{Direction, Entry};
use crate::wire::Header;
use crate::wire::checksum::Delta;
use crate::wire::plain::{Head, Ip};

/// The start of a frame with a UDP datagram.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpStart<I> {
    /// Up to the ports.
    pub head: Head<I>,
    len: U16,
    /// The datagram's checksum; zero is none.
    pub sum: U16,
}

/// The start of a frame with a TCP segment.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TcpStart<I> {
    /// Up to the ports.
    pub head: Head<I>,
    between: [u8; 12],
    /// The segment's checksum.
    pub sum: U16,
}

/// The start of a frame.
#[inline(always)]
pub fn start<T: Header>(frame: &mut [u8]) -> Option<&mut T> {
    T::mut_from_prefix(frame).ok().map(|(start, _)| start)
}

/// The start of a plain frame and what follows.
#[inline(always)]
pub fn split<I: Ip>(frame: &mut [u8]) -> Option<(&mut Head<I>, &mut [u8])> {
    Head::mut_from_prefix(frame).ok()
}

/// What NAT puts into a packet; `A` is an address.
pub struct Change<A> {
    /// Which end is replaced: the destination of a packet from the client, the source of one to it.
    direction: Direction,
    /// The new address.
    address: A,
    /// The new L4 port.
    l4_port: U16,
    /// How the header's checksum changes.
    delta_l3: Delta,
    /// How the transport checksum changes.
    delta_l4: Delta,
}

impl<A> Change<A> {
    /// What a packet of this connection that goes in `direction` needs.
    #[inline(always)]
    pub fn new(entry: &Entry, direction: Direction, address: A) -> Change<A> {
        let (delta_l3, delta_l4) = (Delta(entry.delta_l3), Delta(entry.delta_l4));
        match direction {
            Direction::In => {
                Change { direction, address, l4_port: entry.destination_port, delta_l3, delta_l4 }
            }
            Direction::Out => {
                let (l4_port, delta_l3, delta_l4) =
                    (entry.virtual_port, delta_l3.reversed(), delta_l4.reversed());
                Change { direction, address, l4_port, delta_l3, delta_l4 }
            }
        }
    }

    /// Replaces one end and takes a hop off.
    #[inline(always)]
    pub fn apply<I: Ip<Address = A>>(&self, head: &mut Head<I>)
    where
        A: Copy,
    {
        match self.direction {
            Direction::In => {
                head.ip.set_dst(self.address);
                head.l4_ports[1] = self.l4_port;
            }
            Direction::Out => {
                head.ip.set_src(self.address);
                head.l4_ports[0] = self.l4_port;
            }
        }
        head.ip.take_hop_and(self.delta_l3);
    }

    /// The transport checksum after the change.
    #[inline(always)]
    pub fn patch(&self, sum: U16) -> U16 {
        self.delta_l4.patch(sum)
    }
}

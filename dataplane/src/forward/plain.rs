//! Plain packets rewritten: untagged, without IP options or extension headers, in one piece, with a whole TCP or UDP
//! header. All that changes lies in one view of the frame's start.

use zerocopy::FromBytes;
use zerocopy::network_endian::U16;

use super::rewrite::never_zero;
use crate::conn::{Direction, Entry};
use crate::wire::checksum::Delta;
use crate::wire::plain::{Head, Ip};
use crate::wire::protocol;

/// Where the checksum of a UDP datagram and of a TCP segment lies behind the ports.
const UDP_SUM: usize = 2;
const TCP_SUM: usize = 12;

/// The start of a plain frame and what follows.
#[inline(always)]
pub fn split<I: Ip>(frame: &mut [u8]) -> Option<(&mut Head<I>, &mut [u8])> {
    Head::mut_from_prefix(frame).ok()
}

/// The transport checksum in what follows a head; `None` of a datagram without one.
#[inline(always)]
pub fn transport_sum(rest: &mut [u8], protocol: u8) -> Option<&mut U16> {
    let udp = protocol == protocol::UDP;
    let (sum, _) = U16::mut_from_prefix(rest.get_mut(if udp { UDP_SUM } else { TCP_SUM }..)?).ok()?;
    (!udp || sum.get() != 0).then_some(sum)
}

/// What NAT puts into a packet; `A` is an address.
pub struct Change<A> {
    /// Which end is replaced: the destination of a packet from the client, the source of one to it.
    direction: Direction,
    /// The new address.
    address: A,
    /// The new L4 port.
    l4_port: u16,
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
                    (entry.ports_in().dst(), delta_l3.reversed(), delta_l4.reversed());
                Change { direction, address, l4_port, delta_l3, delta_l4 }
            }
        }
    }

    /// Replaces one end and takes a hop off. `sum` is the checksum of the packet's transport `protocol`.
    #[inline(always)]
    pub fn apply<I: Ip<Address = A>>(self, head: &mut Head<I>, sum: &mut U16, protocol: u8) {
        match self.direction {
            Direction::In => {
                head.ip.set_dst(self.address);
                head.l4_ports[1].set(self.l4_port);
            }
            Direction::Out => {
                head.ip.set_src(self.address);
                head.l4_ports[0].set(self.l4_port);
            }
        }
        head.ip.take_hop_and(self.delta_l3);
        let patched = self.delta_l4.patch(sum.get());
        sum.set(if protocol == protocol::UDP { never_zero(patched) } else { patched });
    }
}

//! Decisions of the slow path, as data. The packet's bytes change only when the decision is carried out, on
//! the packet itself or on each fragment of it.

use crate::config::NextHop;
use crate::conn::{ConnId, Direction};
use crate::forward::rewrite;
use crate::icmp::Message;
use crate::parse::Parsed;
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::ipv4;

/// A decision about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sent to its next hop.
    Forward(Forward),
    /// Its sender gets an ICMP error.
    SendIcmp(Message, Transit),
    /// Passed to the kernel.
    ToKernel,
    /// Dropped.
    Drop(DropReason),
}

impl Decision {
    /// An ICMP error about the packet as it arrived.
    pub fn icmp(reason: IcmpReason) -> Decision {
        Decision::SendIcmp(Message::new(reason), Transit::default())
    }
}

/// How a packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The next hop.
    pub next: NextHop,
    /// Largest IP packet that the next hop's link takes, in bytes.
    pub mtu: u16,
    /// Changes that routing makes to the IP header.
    pub transit: Transit,
    /// Change that the forwarding method makes to the packet.
    pub transform: Transform,
}

/// Change that a forwarding method makes to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing: direct routing, bypass, and tunnels to a server on this machine.
    None,
    /// Addresses, ports and checksums are rewritten.
    Nat,
    /// Headers of the destination's tunnel go in front.
    Tunnel,
}

/// Changes that a router makes to the IP header of a packet in transit. ICMP errors show them too: they quote the packet as
/// the router left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transit {
    /// TTL or hop limit is decremented.
    pub decrement_ttl: bool,
    /// Our address goes into the record-route option.
    pub record_route: bool,
}

impl Transit {
    /// Changes the header of a packet.
    pub fn apply(self, frame: &mut [u8], parsed: &Parsed) {
        if self.record_route {
            ipv4::record_route(frame, parsed.l3);
        }
        if self.decrement_ttl {
            rewrite::decrement_ttl(frame, parsed.l3, parsed.is_ipv6());
        }
    }
}

/// A packet's connection and the packet's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The connection.
    pub id: ConnId,
    /// From the client or from the server.
    pub direction: Direction,
}

/// A decision, and what the slow path did to reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// The connection that the packet belongs to. A forwarded packet always has one.
    pub flow: Option<Flow>,
    /// The packet was counted for its connection's destination.
    pub counted: bool,
}

impl From<Decision> for Outcome {
    /// The outcome of a packet that belongs to no connection.
    fn from(decision: Decision) -> Outcome {
        Outcome { decision, flow: None, counted: false }
    }
}

impl Outcome {
    /// A packet of no connection is dropped.
    pub fn drop(why: DropReason) -> Outcome {
        Decision::Drop(why).into()
    }
}

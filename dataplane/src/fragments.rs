//! Fragments: reassembly for the decision, rewriting, and fragmentation of packets that are too long.
//!
//! Only the first fragment has the ports, so no fragment can be forwarded before all are known. In the order of the flow:
//!
//! 1. [`FragmentInfo`] reads the headers of a fragment: which datagram, and which part of it.
//! 2. [`Reassembler`] holds fragments, in any order, until their datagram is complete. Memory is fixed: when it is full,
//!    the oldest incomplete datagrams are dropped. A fragment that contradicts the others drops them all, with a drop
//!    reason of its own: overlapping fragments are a way around filters (RFC 1858, RFC 5722).
//! 3. [`Datagram`] is a complete datagram, still in its fragments. [`ReassemblyBuffer`] holds the packet that it was, and the
//!    slow path decides about that one.
//! 4. [`translate`] rewrites all fragments of the datagram for NAT. They are sent in the sizes in which they came.
//! 5. [`head`] makes the beginning of the packet, for an ICMP error to quote.
//! 6. [`split`] fragments any packet that is longer than the MTU of its link.

mod datagram;
pub mod head;
mod info;
pub mod reassembly_buffer;
pub mod split;
mod store;
pub mod translate;

pub use datagram::{Datagram, Fragment, MAX_FRAGMENTS};
pub use info::{FragmentInfo, FragmentPosition};
pub use reassembly_buffer::ReassemblyBuffer;

use crate::flow::{Key, Seed};
use crate::packet::Packet;
use crate::time::{Millis, Tick};
use crate::verdict::DropReason;
use crate::wire::ipv6;
use arrayvec::ArrayVec;
use store::{PartialId, Store};

/// How long an incomplete datagram is held, for IPv4 and IPv6: as in Linux. RFC 1122 asks for at least 60 s for IPv4; RFC
/// 8200 asks for 60 s.
const TIMEOUT: [Millis; 2] = [Millis::from_secs(30), Millis::from_secs(60)];

/// Bytes of the longest IP packet.
const LONGEST: u32 = 65535;

/// Limits of what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Incomplete datagrams.
    pub datagrams: u16,
    /// Fragments of all datagrams.
    pub fragments: u16,
    /// Bytes of their frames.
    pub bytes: usize,
}

impl Default for Limits {
    /// 4 MiB, as in Linux, and a number of packets that a worker's pool of buffers can spare.
    fn default() -> Limits {
        Limits { datagrams: 256, fragments: 1024, bytes: 4 << 20 }
    }
}

/// Result of [`Reassembler::take`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would allocate for every datagram")]
pub enum Outcome<P> {
    /// The fragment is held until the others are there.
    Held,
    /// The fragment completed its datagram.
    Complete(Datagram<P>),
    /// The fragment is returned to be dropped.
    Refused(P, DropReason),
}

/// The incomplete datagrams of one worker.
pub struct Reassembler<P> {
    store: Store<P>,
    bytes: usize,
}

impl<P: Packet> Reassembler<P> {
    /// Allocates all memory. The seed keeps senders from choosing hash buckets.
    pub fn new(limits: Limits, seed: Seed) -> Reassembler<P> {
        Reassembler { store: Store::new(&limits, seed), bytes: limits.bytes }
    }

    /// Number of fragments held.
    pub fn held(&self) -> usize {
        self.store.fragments
    }

    /// Bytes of the frames held.
    pub fn held_bytes(&self) -> usize {
        self.store.bytes
    }

    /// Takes a fragment. `on_drop` gets the fragments that are dropped: those of datagrams that timed out, that make room, or
    /// that this fragment contradicts.
    pub fn take(
        &mut self,
        packet: P,
        info: &FragmentInfo,
        now: Tick,
        mut on_drop: impl FnMut(P, DropReason),
    ) -> Outcome<P> {
        self.expire(now, |packet| on_drop(packet, DropReason::FragmentTimeout));
        let position = info.position;
        if let Err(why) = check(info) {
            return Outcome::Refused(packet, why);
        }
        if position.offset == 0 && !position.more {
            return Outcome::Complete(unfragmented(packet, info));
        }
        let found = self.store.find(&info.datagram);
        if let Some(partial) = found
            && let Err(why) = self.fits(partial, &position)
        {
            if why != DropReason::FragmentDuplicate {
                self.store.close(partial, |fragment| on_drop(fragment.packet, why));
            }
            return Outcome::Refused(packet, why);
        }
        if !self.make_room(found, packet.bytes().len(), &mut on_drop) {
            if let Some(partial) = found {
                self.store.close(partial, |fragment| on_drop(fragment.packet, DropReason::FragmentsFull));
            }
            return Outcome::Refused(packet, DropReason::FragmentsFull);
        }
        let Some(partial) = found.or_else(|| self.store.open(info.datagram, now)) else {
            return Outcome::Refused(packet, DropReason::FragmentsFull);
        };
        self.put(partial, packet, info)
    }

    /// Drops the datagrams that timed out.
    pub fn expire(&mut self, now: Tick, mut each: impl FnMut(P)) {
        for (family, timeout) in TIMEOUT.into_iter().enumerate() {
            while let Some(partial) = self.store.oldest(family)
                && now.since(self.store.partial(partial).begun) >= timeout
            {
                self.store.close(partial, |fragment| each(fragment.packet));
            }
        }
    }

    /// Checks a fragment against those of its datagram that are held.
    fn fits(&self, partial: PartialId, new: &FragmentPosition) -> Result<(), DropReason> {
        let (previous, next) = self.store.neighbours(partial, new.offset);
        let position = |slot: Option<_>| slot.and_then(|slot| self.store.position(slot));
        let (previous, next) = (position(previous), position(next));
        if next.is_some_and(|next| (next.offset, next.len, next.more) == (new.offset, new.len, new.more)) {
            return Err(DropReason::FragmentDuplicate);
        }
        let known = self.store.partial(partial);
        let beyond = known.total.is_some_and(|total| new.end() > total);
        if beyond || !new.more && (next.is_some() || known.total.is_some()) {
            return Err(DropReason::FragmentEnd);
        }
        let overlaps = previous.is_some_and(|previous| previous.end() > u32::from(new.offset))
            || next.is_some_and(|next| new.end() > u32::from(next.offset));
        if overlaps {
            return Err(DropReason::FragmentOverlap);
        }
        if usize::from(known.count) == MAX_FRAGMENTS { Err(DropReason::FragmentsTooMany) } else { Ok(()) }
    }

    /// Drops the oldest datagrams until there is room for a fragment of `len` bytes, and for a datagram if it is the first.
    fn make_room(
        &mut self,
        own: Option<PartialId>,
        len: usize,
        on_drop: &mut impl FnMut(P, DropReason),
    ) -> bool {
        if len > self.bytes {
            return false;
        }
        loop {
            let has_partial = own.is_some() || self.store.has_free_partial();
            if has_partial && self.store.has_free_slot() && self.store.bytes + len <= self.bytes {
                return true;
            }
            let Some(oldest) = self.store.oldest_but(own) else { return false };
            self.store.close(oldest, |fragment| on_drop(fragment.packet, DropReason::FragmentsFull));
        }
    }

    fn put(&mut self, partial: PartialId, packet: P, info: &FragmentInfo) -> Outcome<P> {
        let position = info.position;
        let (previous, _) = self.store.neighbours(partial, position.offset);
        if let Some(fragment) = self.store.insert(partial, previous, Fragment { packet, position }) {
            return Outcome::Refused(fragment.packet, DropReason::FragmentsFull);
        }
        let known = self.store.partial_mut(partial);
        if position.offset == 0 {
            known.protocol = info.protocol;
        }
        if !position.more {
            known.total = Some(position.end());
        }
        // Fragments do not overlap, so the datagram is complete when the sum of their lengths is its length.
        if known.total != Some(known.received) {
            return Outcome::Held;
        }
        let (ipv6, len, protocol) = (info.is_ipv6(), known.received as u16, known.protocol);
        let mut fragments = ArrayVec::new();
        self.store.close(partial, |fragment| fragments.push(fragment));
        Outcome::Complete(Datagram { fragments, ipv6, len, protocol })
    }
}

/// Checks whether a fragment can be part of any datagram.
fn check(info: &FragmentInfo) -> Result<(), DropReason> {
    let position = &info.position;
    let datagram = position.offset == 0 && !position.more;
    if position.len == 0 && !datagram || position.more && !position.len.is_multiple_of(8) {
        return Err(DropReason::FragmentLength);
    }
    let headers = usize::from(position.payload - position.l3);
    let counted = match info.datagram {
        Key::V4(_) => headers,
        Key::V6(_) => headers.saturating_sub(ipv6::LEN + ipv6::FRAGMENT_LEN),
    };
    if counted as u32 + position.end() > LONGEST { Err(DropReason::FragmentTooFar) } else { Ok(()) }
}

/// The datagram of a fragment that is first and last. It is independent of others with its identification; RFC 6946.
fn unfragmented<P>(packet: P, info: &FragmentInfo) -> Datagram<P> {
    let position = info.position;
    let fragments = std::iter::once(Fragment { packet, position }).collect();
    Datagram { fragments, ipv6: info.is_ipv6(), len: position.len, protocol: info.protocol }
}

#[cfg(test)]
mod tests;

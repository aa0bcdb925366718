//! Fragments of one datagram, gathered in any order until all are here; then they go on together, still in pieces.
//!
//! Only the first fragment tells the ports, so the others wait for it, and the checksum of a whole datagram may have to
//! be made. Memory is fixed: when it is full, what has waited longest makes room. What is not clearly a part of one
//! datagram is refused by name: fragments that lie about themselves are how filters are passed by (RFC 1858, RFC 5722).

mod datagram;
pub mod head;
mod info;
pub mod reassembly_buffer;
pub mod split;
mod store;
pub mod translate;

pub use datagram::{Datagram, Fragment, MAX_FRAGMENTS};
pub use info::{FragmentInfo, Place};
pub use reassembly_buffer::ReassemblyBuffer;

use crate::flow::{Key, Seed};
use crate::packet::Packet;
use crate::time::{Millis, Tick};
use crate::verdict::DropReason;
use crate::wire::ipv6;
use arrayvec::ArrayVec;
use store::{PartialId, Store};

/// How long a train waits: as in Linux, which for IPv4 is less than RFC 1122 asks for and for IPv6 what RFC 8200 does.
const PATIENCE: [Millis; 2] = [Millis::from_secs(30), Millis::from_secs(60)];

/// The longest packet.
const LONGEST: u32 = 65535;

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Datagrams.
    pub datagrams: u16,
    /// Fragments in all.
    pub fragments: u16,
    /// Bytes of their frames in all.
    pub bytes: usize,
}

impl Default for Limits {
    /// 4 MiB, as in Linux; packets so many that a worker's pool of buffers can spare them.
    fn default() -> Limits {
        Limits { datagrams: 256, fragments: 1024, bytes: 4 << 20 }
    }
}

/// What became of a fragment.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would allocate for every datagram")]
pub enum Outcome<P> {
    /// It waits for others.
    Held,
    /// It was the last one missing.
    Complete(Datagram<P>),
    /// It is given back to be dropped.
    Refused(P, DropReason),
}

/// The trains of fragments of one worker.
pub struct Reassembler<P> {
    store: Store<P>,
    bytes: usize,
}

impl<P: Packet> Reassembler<P> {
    /// Takes all the memory there will be. The seed keeps others from choosing where their trains are looked for.
    pub fn new(limits: Limits, seed: Seed) -> Reassembler<P> {
        Reassembler { store: Store::new(&limits, seed), bytes: limits.bytes }
    }

    /// How many fragments wait.
    pub fn held(&self) -> usize {
        self.store.fragments
    }

    /// How many bytes their frames have.
    pub fn held_bytes(&self) -> usize {
        self.store.bytes
    }

    /// Takes a fragment. `gone` gets the fragments that die by it or have died meanwhile: those of a train whose time
    /// is over, that makes room, or that this fragment contradicts.
    pub fn take(
        &mut self,
        packet: P,
        info: &FragmentInfo,
        now: Tick,
        mut gone: impl FnMut(P, DropReason),
    ) -> Outcome<P> {
        self.expire(now, |packet| gone(packet, DropReason::FragmentTimeout));
        let place = info.place;
        if let Err(why) = sound(info) {
            return Outcome::Refused(packet, why);
        }
        if place.offset == 0 && !place.more {
            return Outcome::Complete(alone(packet, info));
        }
        let found = self.store.find(&info.datagram);
        if let Some(partial) = found
            && let Err(why) = self.fits(partial, &place)
        {
            if why != DropReason::FragmentDuplicate {
                self.store.close(partial, |fragment| gone(fragment.packet, why));
            }
            return Outcome::Refused(packet, why);
        }
        if !self.make_room(found, packet.bytes().len(), &mut gone) {
            if let Some(partial) = found {
                self.store.close(partial, |fragment| gone(fragment.packet, DropReason::FragmentsFull));
            }
            return Outcome::Refused(packet, DropReason::FragmentsFull);
        }
        let Some(partial) = found.or_else(|| self.store.open(info.datagram, now)) else {
            return Outcome::Refused(packet, DropReason::FragmentsFull);
        };
        self.put(partial, packet, info)
    }

    /// Gives up the trains whose time is over.
    pub fn expire(&mut self, now: Tick, mut each: impl FnMut(P)) {
        for (family, patience) in PATIENCE.into_iter().enumerate() {
            while let Some(partial) = self.store.oldest(family)
                && now.since(self.store.partial(partial).begun) >= patience
            {
                self.store.close(partial, |fragment| each(fragment.packet));
            }
        }
    }

    /// Whether a fragment agrees with those of its train that are here.
    fn fits(&self, partial: PartialId, new: &Place) -> Result<(), DropReason> {
        let (previous, next) = self.store.neighbours(partial, new.offset);
        let place = |slot: Option<_>| slot.and_then(|slot| self.store.place(slot));
        let (previous, next) = (place(previous), place(next));
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

    /// Lets old trains go until there is room for a fragment of `len` bytes, and for a train if it has none.
    fn make_room(
        &mut self,
        own: Option<PartialId>,
        len: usize,
        gone: &mut impl FnMut(P, DropReason),
    ) -> bool {
        if len > self.bytes {
            return false;
        }
        loop {
            let has_train = own.is_some() || self.store.has_free_partial();
            if has_train && self.store.has_free_slot() && self.store.bytes + len <= self.bytes {
                return true;
            }
            let Some(oldest) = self.store.oldest_but(own) else { return false };
            self.store.close(oldest, |fragment| gone(fragment.packet, DropReason::FragmentsFull));
        }
    }

    fn put(&mut self, partial: PartialId, packet: P, info: &FragmentInfo) -> Outcome<P> {
        let place = info.place;
        let (previous, _) = self.store.neighbours(partial, place.offset);
        if let Some(fragment) = self.store.insert(partial, previous, Fragment { packet, place }) {
            return Outcome::Refused(fragment.packet, DropReason::FragmentsFull);
        }
        let known = self.store.partial_mut(partial);
        if place.offset == 0 {
            known.protocol = info.protocol;
        }
        if !place.more {
            known.total = Some(place.end());
        }
        // They do not overlap, so all bytes are here when enough are.
        if known.total != Some(known.received) {
            return Outcome::Held;
        }
        let (ipv6, len, protocol) = (info.is_ipv6(), known.received as u16, known.protocol);
        let mut fragments = ArrayVec::new();
        self.store.close(partial, |fragment| fragments.push(fragment));
        Outcome::Complete(Datagram { fragments, ipv6, len, protocol })
    }
}

/// Whether a fragment can be a part of any datagram.
fn sound(info: &FragmentInfo) -> Result<(), DropReason> {
    let place = &info.place;
    let datagram = place.offset == 0 && !place.more;
    if place.len == 0 && !datagram || place.more && !place.len.is_multiple_of(8) {
        return Err(DropReason::FragmentLength);
    }
    let headers = usize::from(place.payload - place.l3);
    let counted = match info.datagram {
        Key::V4(_) => headers,
        Key::V6(_) => headers.saturating_sub(ipv6::LEN + ipv6::FRAGMENT_LEN),
    };
    if counted as u32 + place.end() > LONGEST { Err(DropReason::FragmentTooFar) } else { Ok(()) }
}

/// A fragment that is first and last has nothing to do with others of its identification; RFC 6946.
fn alone<P>(packet: P, info: &FragmentInfo) -> Datagram<P> {
    let place = info.place;
    let fragments = std::iter::once(Fragment { packet, place }).collect();
    Datagram { fragments, ipv6: info.is_ipv6(), len: place.len, protocol: info.protocol }
}

#[cfg(test)]
mod tests;

//! The memory of the reassembler: a list of fragments for each incomplete datagram, a hash table of those, and a list of
//! them by age. All of it is allocated at start.

use super::Limits;
use super::datagram::Fragment;
use super::info::FragmentPosition;
use crate::flow::{Key, Seed};
use crate::packet::Packet;
use crate::time::Tick;

/// The index of nothing.
const NONE: u32 = u32::MAX;

/// An incomplete datagram.
pub(super) struct PartialDatagram {
    pub(super) datagram: Key,
    pub(super) begun: Tick,
    /// Bytes of payload received.
    pub(super) received: u32,
    /// Bytes of payload in all, known once the last fragment was received.
    pub(super) total: Option<u32>,
    /// Protocol number, from the first fragment.
    pub(super) protocol: u8,
    pub(super) count: u8,
    first: u32,
    last: u32,
    /// The next in the same bucket, or the next free one.
    next: u32,
    older: u32,
    newer: u32,
}

impl PartialDatagram {
    fn new(datagram: Key, begun: Tick, next: u32) -> PartialDatagram {
        PartialDatagram {
            datagram,
            begun,
            received: 0,
            total: None,
            protocol: 0,
            count: 0,
            first: NONE,
            last: NONE,
            next,
            older: NONE,
            newer: NONE,
        }
    }
}

/// Names an incomplete datagram until it is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PartialId(u32);

/// Names a fragment that is held.
#[derive(Clone, Copy)]
pub(super) struct SlotId(u32);

struct Slot<P> {
    fragment: Option<Fragment<P>>,
    /// The next fragment of the datagram, or the next free slot.
    next: u32,
}

/// Incomplete datagrams of one family, the oldest first.
#[derive(Clone, Copy)]
struct AgeList {
    oldest: u32,
    newest: u32,
}

pub(super) struct Store<P> {
    seed: Seed,
    slots: Box<[Slot<P>]>,
    free_slot: u32,
    partials: Box<[PartialDatagram]>,
    free_partial: u32,
    /// By hash: the first incomplete datagram.
    buckets: Box<[u32]>,
    /// IPv4 and IPv6: their timeouts differ, but within a family datagrams time out in the order in which they were opened.
    age_lists: [AgeList; 2],
    pub(super) fragments: usize,
    pub(super) bytes: usize,
}

fn family(datagram: &Key) -> usize {
    usize::from(matches!(datagram, Key::V6(_)))
}

impl<P: Packet> Store<P> {
    pub(super) fn new(limits: &Limits, seed: Seed) -> Store<P> {
        let (slots, partials) = (u32::from(limits.fragments), u32::from(limits.datagrams));
        let after = |n, count| if n + 1 < count { n + 1 } else { NONE };
        let first = |count| if count > 0 { 0 } else { NONE };
        let nothing = crate::parse::Parsed::NOTHING.key;
        let partial = |n| PartialDatagram::new(nothing, Tick(0), after(n, partials));
        Store {
            seed,
            slots: (0..slots).map(|n| Slot { fragment: None, next: after(n, slots) }).collect(),
            free_slot: first(slots),
            partials: (0..partials).map(partial).collect(),
            free_partial: first(partials),
            buckets: vec![NONE; usize::from(limits.datagrams).next_power_of_two()].into(),
            age_lists: [AgeList { oldest: NONE, newest: NONE }; 2],
            fragments: 0,
            bytes: 0,
        }
    }

    fn bucket(&self, datagram: &Key) -> usize {
        self.seed.hash(datagram) as usize & (self.buckets.len() - 1)
    }

    pub(super) fn partial(&self, id: PartialId) -> &PartialDatagram {
        &self.partials[id.0 as usize]
    }

    pub(super) fn partial_mut(&mut self, id: PartialId) -> &mut PartialDatagram {
        &mut self.partials[id.0 as usize]
    }

    pub(super) fn find(&self, datagram: &Key) -> Option<PartialId> {
        let mut at = self.buckets[self.bucket(datagram)];
        while at != NONE && self.partials[at as usize].datagram != *datagram {
            at = self.partials[at as usize].next;
        }
        (at != NONE).then_some(PartialId(at))
    }

    /// Opens a datagram, the newest of its family. Returns `None` if there is no free one.
    pub(super) fn open(&mut self, datagram: Key, now: Tick) -> Option<PartialId> {
        let at = self.free_partial;
        if at == NONE {
            return None;
        }
        let bucket = self.bucket(&datagram);
        let ages = &mut self.age_lists[family(&datagram)];
        let older = std::mem::replace(&mut ages.newest, at);
        if older == NONE {
            ages.oldest = at;
        } else {
            self.partials[older as usize].newer = at;
        }
        let partial = &mut self.partials[at as usize];
        self.free_partial = partial.next;
        let next = std::mem::replace(&mut self.buckets[bucket], at);
        *partial = PartialDatagram { older, ..PartialDatagram::new(datagram, now, next) };
        Some(PartialId(at))
    }

    /// Closes a datagram and passes its fragments on in order.
    pub(super) fn close(&mut self, id: PartialId, mut each: impl FnMut(Fragment<P>)) {
        self.forget(id);
        let partial = &mut self.partials[id.0 as usize];
        partial.next = std::mem::replace(&mut self.free_partial, id.0);
        let mut at = partial.first;
        while at != NONE {
            let slot = &mut self.slots[at as usize];
            let next = std::mem::replace(&mut slot.next, self.free_slot);
            self.free_slot = at;
            if let Some(fragment) = slot.fragment.take() {
                self.fragments -= 1;
                self.bytes -= fragment.packet.bytes().len();
                each(fragment);
            }
            at = next;
        }
    }

    /// Removes a datagram from its bucket and its age list.
    fn forget(&mut self, id: PartialId) {
        let (datagram, older, newer, next) = {
            let partial = self.partial(id);
            (partial.datagram, partial.older, partial.newer, partial.next)
        };
        let bucket = self.bucket(&datagram);
        let mut link = &mut self.buckets[bucket];
        while *link != id.0 {
            link = &mut self.partials[*link as usize].next;
        }
        *link = next;
        let ages = &mut self.age_lists[family(&datagram)];
        match older {
            NONE => ages.oldest = newer,
            older => self.partials[older as usize].newer = newer,
        }
        match newer {
            NONE => ages.newest = older,
            newer => self.partials[newer as usize].older = older,
        }
    }

    /// The oldest datagram of a family: 0 is IPv4, 1 is IPv6.
    pub(super) fn oldest(&self, family: usize) -> Option<PartialId> {
        let at = self.age_lists[family].oldest;
        (at != NONE).then_some(PartialId(at))
    }

    /// The oldest datagram of all except this one.
    pub(super) fn oldest_but(&self, but: Option<PartialId>) -> Option<PartialId> {
        let oldest_of = |family| {
            let front: Option<PartialId> = self.oldest(family);
            let behind = front.filter(|front| Some(*front) == but).map(|front| self.partial(front).newer);
            match behind {
                None => front,
                Some(NONE) => None,
                Some(newer) => Some(PartialId(newer)),
            }
        };
        [oldest_of(0), oldest_of(1)].into_iter().flatten().min_by_key(|id| self.partial(*id).begun)
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.free_slot != NONE
    }

    pub(super) fn has_free_partial(&self) -> bool {
        self.free_partial != NONE
    }

    pub(super) fn position(&self, slot: SlotId) -> Option<&FragmentPosition> {
        self.slots[slot.0 as usize].fragment.as_ref().map(|fragment| &fragment.position)
    }

    /// The fragments of a datagram between which one with this offset belongs. A fragment with the same offset counts as the
    /// second.
    pub(super) fn neighbours(&self, id: PartialId, offset: u16) -> (Option<SlotId>, Option<SlotId>) {
        let some = |at| (at != NONE).then_some(SlotId(at));
        let before = |at| {
            some(at).and_then(|slot| self.position(slot)).is_some_and(|position| position.offset < offset)
        };
        let partial = self.partial(id);
        // Fragments mostly come in order.
        if before(partial.last) {
            return (some(partial.last), None);
        }
        let (mut previous, mut at) = (NONE, partial.first);
        while before(at) {
            (previous, at) = (at, self.slots[at as usize].next);
        }
        (some(previous), some(at))
    }

    /// Inserts a fragment into a datagram, behind `previous` or at its front. Returns it if there is no free slot.
    pub(super) fn insert(
        &mut self,
        id: PartialId,
        previous: Option<SlotId>,
        fragment: Fragment<P>,
    ) -> Option<Fragment<P>> {
        let at = self.free_slot;
        let Some(slot) = self.slots.get_mut(at as usize) else { return Some(fragment) };
        self.free_slot = slot.next;
        self.fragments += 1;
        self.bytes += fragment.packet.bytes().len();
        let (partial, len) = (&mut self.partials[id.0 as usize], u32::from(fragment.position.len));
        slot.fragment = Some(fragment);
        (partial.count, partial.received) = (partial.count + 1, partial.received + len);
        let next = match previous {
            None => std::mem::replace(&mut partial.first, at),
            Some(previous) => std::mem::replace(&mut self.slots[previous.0 as usize].next, at),
        };
        self.slots[at as usize].next = next;
        if next == NONE {
            partial.last = at;
        }
        None
    }
}

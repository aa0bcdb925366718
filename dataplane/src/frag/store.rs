//! The memory of the gatherer: fragments in lists by train, trains found by datagram and lined up by age. All of it is
//! taken at the start.

use super::Limits;
use super::info::Place;
use super::whole::Piece;
use crate::flow::{Key, Seed};
use crate::packet::Packet;
use crate::time::Tick;

/// An index that is none.
const NONE: u32 = u32::MAX;

/// A train that waits for fragments.
pub(super) struct Train {
    pub(super) datagram: Key,
    pub(super) begun: Tick,
    /// Payload bytes that are here.
    pub(super) gathered: u32,
    /// Bytes of payload, once the last fragment is here.
    pub(super) total: Option<u32>,
    /// What the first fragment says the payload is.
    pub(super) protocol: u8,
    pub(super) count: u8,
    first: u32,
    last: u32,
    /// The next train with the same hash, or the next free train.
    next: u32,
    older: u32,
    newer: u32,
}

impl Train {
    fn new(datagram: Key, begun: Tick, next: u32) -> Train {
        Train {
            datagram,
            begun,
            gathered: 0,
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

/// Names a train until it is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TrainId(u32);

/// Names a fragment of an open train.
#[derive(Clone, Copy)]
pub(super) struct SlotId(u32);

struct Slot<P> {
    piece: Option<Piece<P>>,
    /// The next fragment of the train, or the next free slot.
    next: u32,
}

/// Trains of one family, the oldest first.
#[derive(Clone, Copy)]
struct Line {
    oldest: u32,
    newest: u32,
}

pub(super) struct Store<P> {
    seed: Seed,
    slots: Box<[Slot<P>]>,
    free_slot: u32,
    trains: Box<[Train]>,
    free_train: u32,
    /// By hash: the first train.
    buckets: Box<[u32]>,
    /// IPv4, IPv6: their trains live for different times, but each family's die in the order they came.
    lines: [Line; 2],
    pub(super) fragments: usize,
    pub(super) bytes: usize,
}

fn family(datagram: &Key) -> usize {
    usize::from(matches!(datagram, Key::V6(_)))
}

impl<P: Packet> Store<P> {
    pub(super) fn new(limits: &Limits, seed: Seed) -> Store<P> {
        let (slots, trains) = (u32::from(limits.fragments), u32::from(limits.trains));
        let after = |n, count| if n + 1 < count { n + 1 } else { NONE };
        let first = |count| if count > 0 { 0 } else { NONE };
        let nothing = crate::parse::Parsed::NOTHING.key;
        let train = |n| Train::new(nothing, Tick(0), after(n, trains));
        Store {
            seed,
            slots: (0..slots).map(|n| Slot { piece: None, next: after(n, slots) }).collect(),
            free_slot: first(slots),
            trains: (0..trains).map(train).collect(),
            free_train: first(trains),
            buckets: vec![NONE; usize::from(limits.trains).next_power_of_two()].into(),
            lines: [Line { oldest: NONE, newest: NONE }; 2],
            fragments: 0,
            bytes: 0,
        }
    }

    fn bucket(&self, datagram: &Key) -> usize {
        self.seed.hash(datagram) as usize & (self.buckets.len() - 1)
    }

    pub(super) fn train(&self, id: TrainId) -> &Train {
        &self.trains[id.0 as usize]
    }

    pub(super) fn train_mut(&mut self, id: TrainId) -> &mut Train {
        &mut self.trains[id.0 as usize]
    }

    pub(super) fn find(&self, datagram: &Key) -> Option<TrainId> {
        let mut at = self.buckets[self.bucket(datagram)];
        while at != NONE && self.trains[at as usize].datagram != *datagram {
            at = self.trains[at as usize].next;
        }
        (at != NONE).then_some(TrainId(at))
    }

    /// A new train, the youngest of its family; none when there are as many as there may be.
    pub(super) fn open(&mut self, datagram: Key, now: Tick) -> Option<TrainId> {
        let at = self.free_train;
        if at == NONE {
            return None;
        }
        let bucket = self.bucket(&datagram);
        let line = &mut self.lines[family(&datagram)];
        let older = std::mem::replace(&mut line.newest, at);
        if older == NONE {
            line.oldest = at;
        } else {
            self.trains[older as usize].newer = at;
        }
        let train = &mut self.trains[at as usize];
        self.free_train = train.next;
        let next = std::mem::replace(&mut self.buckets[bucket], at);
        *train = Train { older, ..Train::new(datagram, now, next) };
        Some(TrainId(at))
    }

    /// Ends a train and gives its fragments away in order.
    pub(super) fn close(&mut self, id: TrainId, mut each: impl FnMut(Piece<P>)) {
        self.forget(id);
        let train = &mut self.trains[id.0 as usize];
        train.next = std::mem::replace(&mut self.free_train, id.0);
        let mut at = train.first;
        while at != NONE {
            let slot = &mut self.slots[at as usize];
            let next = std::mem::replace(&mut slot.next, self.free_slot);
            self.free_slot = at;
            if let Some(piece) = slot.piece.take() {
                self.fragments -= 1;
                self.bytes -= piece.packet.bytes().len();
                each(piece);
            }
            at = next;
        }
    }

    /// Takes a train out of its bucket and its line.
    fn forget(&mut self, id: TrainId) {
        let (datagram, older, newer, next) = {
            let train = self.train(id);
            (train.datagram, train.older, train.newer, train.next)
        };
        let bucket = self.bucket(&datagram);
        let mut link = &mut self.buckets[bucket];
        while *link != id.0 {
            link = &mut self.trains[*link as usize].next;
        }
        *link = next;
        let line = &mut self.lines[family(&datagram)];
        match older {
            NONE => line.oldest = newer,
            older => self.trains[older as usize].newer = newer,
        }
        match newer {
            NONE => line.newest = older,
            newer => self.trains[newer as usize].older = older,
        }
    }

    /// The oldest train of a family: 0 is IPv4, 1 IPv6.
    pub(super) fn oldest(&self, family: usize) -> Option<TrainId> {
        let at = self.lines[family].oldest;
        (at != NONE).then_some(TrainId(at))
    }

    /// The oldest train of all but this one.
    pub(super) fn oldest_but(&self, but: Option<TrainId>) -> Option<TrainId> {
        let of = |family| {
            let front: Option<TrainId> = self.oldest(family);
            let behind = front.filter(|front| Some(*front) == but).map(|front| self.train(front).newer);
            match behind {
                None => front,
                Some(NONE) => None,
                Some(newer) => Some(TrainId(newer)),
            }
        };
        [of(0), of(1)].into_iter().flatten().min_by_key(|id| self.train(*id).begun)
    }

    pub(super) fn has_free_slot(&self) -> bool {
        self.free_slot != NONE
    }

    pub(super) fn has_free_train(&self) -> bool {
        self.free_train != NONE
    }

    pub(super) fn place(&self, slot: SlotId) -> Option<&Place> {
        self.slots[slot.0 as usize].piece.as_ref().map(|piece| &piece.place)
    }

    /// The fragments of a train before and behind which one with this offset belongs; one of the same offset is behind.
    pub(super) fn neighbours(&self, id: TrainId, offset: u16) -> (Option<SlotId>, Option<SlotId>) {
        let some = |at| (at != NONE).then_some(SlotId(at));
        let before =
            |at| some(at).and_then(|slot| self.place(slot)).is_some_and(|place| place.offset < offset);
        let train = self.train(id);
        // Mostly they come in order.
        if before(train.last) {
            return (some(train.last), None);
        }
        let (mut previous, mut at) = (NONE, train.first);
        while before(at) {
            (previous, at) = (at, self.slots[at as usize].next);
        }
        (some(previous), some(at))
    }

    /// Puts a fragment into a train, behind `previous` or at its front. Without a free slot it is given back.
    pub(super) fn insert(
        &mut self,
        id: TrainId,
        previous: Option<SlotId>,
        piece: Piece<P>,
    ) -> Option<Piece<P>> {
        let at = self.free_slot;
        let Some(slot) = self.slots.get_mut(at as usize) else { return Some(piece) };
        self.free_slot = slot.next;
        self.fragments += 1;
        self.bytes += piece.packet.bytes().len();
        let (train, len) = (&mut self.trains[id.0 as usize], u32::from(piece.place.len));
        slot.piece = Some(piece);
        (train.count, train.gathered) = (train.count + 1, train.gathered + len);
        let next = match previous {
            None => std::mem::replace(&mut train.first, at),
            Some(previous) => std::mem::replace(&mut self.slots[previous.0 as usize].next, at),
        };
        self.slots[at as usize].next = next;
        if next == NONE {
            train.last = at;
        }
        None
    }
}

//! From the hash of a flow to its connection: buckets of one cache line, with eight tags that are compared at once.
//!
//! The upper half of the hash gives the flow's home bucket, the lower half its tag. If the home bucket is full, the flow is
//! in one of the following buckets. Every bucket that it was moved past counts it, so that a search stops at the first bucket
//! with a count of zero.

use zerocopy::FromZeros;

use super::entry::{ConnId, Direction};
use super::slab::{Slab, prefetch_at};
use crate::cpu::{Cpu, Generic};

const WAYS: usize = 8;
/// Most buckets that a search accesses. Few searches access a second one.
const PROBES: usize = 32;
/// Share of the slots that are in use when the table is full: three quarters.
const LOAD: (usize, usize) = (3, 4);

#[derive(FromZeros)]
#[repr(C, align(64))]
struct Bucket {
    /// 0 is an empty slot.
    tags: [u16; WAYS],
    slots: [u32; WAYS],
    /// Number of flows that were moved past this bucket because it was full.
    passed: u32,
    unused: [u32; 3],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Content of a slot: a connection, and the direction of the packets that are found by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

impl Slot {
    /// No slot: its id is larger than any other.
    pub const NONE: Slot = Slot(u32::MAX);

    /// For packets of `id` in `direction`. Ids are below 2^31.
    #[inline]
    pub fn new(id: ConnId, direction: Direction) -> Slot {
        Slot(id.0 << 1 | u32::from(direction == Direction::Out))
    }

    /// The connection.
    #[inline]
    pub fn id(self) -> ConnId {
        ConnId(self.0 >> 1)
    }

    /// True if the slot is for packets from the destination.
    #[inline]
    pub fn out(self) -> bool {
        self.0 & 1 != 0
    }

    /// The direction of the packets.
    #[inline]
    pub fn direction(self) -> Direction {
        if self.out() { Direction::Out } else { Direction::In }
    }
}

/// Where the search for a flow begins: its home bucket and its tag.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeStart {
    home: u32,
    tag: u16,
}

/// The index of one worker's table.
pub struct Index {
    buckets: Slab<Bucket>,
    /// Number of buckets that can be a home. The buckets after them only hold flows that were moved.
    homes: usize,
}

#[inline(always)]
fn tag(hash: u64) -> u16 {
    hash as u16 | 1
}

impl Index {
    /// An index with room for `flows` keys.
    ///
    /// # Errors
    /// The kernel's, if there is not enough memory.
    pub fn new(flows: usize) -> std::io::Result<Index> {
        let homes = Index::homes(flows);
        Ok(Index { buckets: Slab::new(homes + PROBES)?, homes })
    }

    fn homes(flows: usize) -> usize {
        (flows * LOAD.1).div_ceil(WAYS * LOAD.0).max(4)
    }

    /// Bytes that an index with room for `flows` keys takes.
    pub fn bytes_for(flows: usize) -> usize {
        (Index::homes(flows) + PROBES) * size_of::<Bucket>()
    }

    /// Bytes taken from the machine.
    pub fn bytes(&self) -> usize {
        self.buckets.bytes()
    }

    /// The upper half of the hash, scaled to the number of buckets by a multiplication, which is faster than a division.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.homes as u64) >> 32) as usize
    }

    /// Where the search for a flow with this hash begins.
    #[inline(always)]
    pub fn probe_start(&self, hash: u64) -> ProbeStart {
        ProbeStart { home: self.home(hash) as u32, tag: tag(hash) }
    }

    /// Prefetches the home bucket.
    #[inline(always)]
    pub fn prefetch(&self, probe_start: ProbeStart) {
        prefetch_at(&self.buckets, probe_start.home as usize);
    }

    /// The first slot in the home bucket with the right tag, which is nearly always the right slot, so its entry is worth
    /// prefetching.
    #[inline(always)]
    pub fn candidate<C: Cpu>(&self, cpu: C, probe_start: ProbeStart) -> Slot {
        let Some(bucket) = self.buckets.get(probe_start.home as usize) else { return Slot::NONE };
        let hits = cpu.equal_lanes(&bucket.tags, probe_start.tag);
        if hits == 0 { Slot::NONE } else { Slot(bucket.slots[way(hits)]) }
    }

    /// The slot with this hash that `is_it` accepts.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let home = self.home(hash);
        for bucket in &self.buckets[home..home + PROBES] {
            let mut hits = Generic.equal_lanes(&bucket.tags, tag(hash));
            while hits != 0 {
                let slot = Slot(bucket.slots[way(hits)]);
                if is_it(slot) {
                    return Some(slot);
                }
                hits &= !(3 << (2 * way(hits)));
            }
            if bucket.passed == 0 {
                return None;
            }
        }
        None
    }

    /// Inserts `slot` under `hash`, before the slots for which `is_same` says that they have the same key, so that the
    /// newest is found first. Returns false, and changes nothing, if all buckets that it could be in are full.
    #[must_use]
    pub fn insert(&mut self, hash: u64, slot: Slot, is_same: impl Fn(Slot) -> bool) -> bool {
        let home = self.home(hash);
        let buckets = &mut self.buckets[home..home + PROBES];
        let free = |bucket: &Bucket| bucket.tags.iter().position(|&tag| tag == 0);
        let Some((distance, way)) =
            buckets.iter().enumerate().find_map(|(distance, bucket)| Some((distance, free(bucket)?)))
        else {
            return false;
        };
        for passed in &mut buckets[..distance] {
            passed.passed += 1;
        }
        let before =
            buckets[..=distance].iter_mut().flat_map(|bucket| bucket.tags.iter().zip(&mut bucket.slots));
        let mut carried = slot.0;
        for (_, held) in before
            .take(distance * WAYS + way)
            .filter(|(held, slot)| **held == tag(hash) && is_same(Slot(**slot)))
        {
            std::mem::swap(held, &mut carried);
        }
        (buckets[distance].tags[way], buckets[distance].slots[way]) = (tag(hash), carried);
        true
    }

    /// Removes `slot`, which was inserted under `hash`. Changes nothing if it is not there.
    pub fn remove(&mut self, hash: u64, slot: Slot) {
        let home = self.home(hash);
        let buckets = &mut self.buckets[home..home + PROBES];
        let held = |bucket: &Bucket| {
            (0..WAYS).find(|&way| bucket.tags[way] == tag(hash) && bucket.slots[way] == slot.0)
        };
        let Some((distance, way)) =
            buckets.iter().enumerate().find_map(|(distance, bucket)| Some((distance, held(bucket)?)))
        else {
            return;
        };
        buckets[distance].tags[way] = 0;
        for passed in &mut buckets[..distance] {
            passed.passed -= 1;
        }
    }
}

/// Position of the lowest match.
#[inline(always)]
fn way(hits: u32) -> usize {
    (hits.trailing_zeros() / 2) as usize & (WAYS - 1)
}

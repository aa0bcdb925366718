//! From a packet's key to its connection, in three steps for a burst; and keys that get their slots later.

use super::Table;
use crate::conn::entry::{Addresses6, ConnId, Direction, Entry};
use crate::conn::index::{Slot, Spot};
use crate::conn::slab::prefetch_at;
use crate::cpu::{self, Cpu};
use crate::flow::{Key, Key4, Key6};

/// A key that is yet to be put into the index: its line is on its way from memory meanwhile, for as long as the next
/// connections take. Searches know of it, so nobody else can tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingInsert {
    pub(super) hash: u64,
    pub(super) id: ConnId,
}

/// How many connections' keys may be owed.
pub(super) const MAX_PENDING: usize = 8;

impl Table {
    /// First of three steps of a burst's lookup: asks for the index line, and tells where it is.
    #[inline(always)]
    pub fn prefetch_line(&self, hash: u64) -> Spot {
        let spot = self.index.spot(hash);
        self.index.prefetch(spot);
        spot
    }

    /// Second step: asks for the entry that the line most probably names. It holds until [`Table::changes`] changes.
    #[inline(always)]
    pub fn prefetch_entry<C: Cpu>(&self, cpu: C, spot: Spot) -> Slot {
        let slot = self.index.candidate(cpu, spot);
        let id = slot.id().0;
        prefetch_at(&self.entries, id as usize);
        if id >= self.sizes.ipv4 {
            prefetch_at(&self.addresses, (id - self.sizes.ipv4) as usize);
        }
        slot
    }

    /// How many connections have come and gone.
    #[inline(always)]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Third step for plain packets of IPv4: the connection in a slot that [`Table::prefetch_entry`] gave, if it is the
    /// one that [`Table::find`] would find.
    #[inline(always)]
    pub fn confirm<C: Cpu>(&self, cpu: C, slot: Slot, key: &Key4) -> Option<(ConnId, Direction)> {
        let id = slot.id();
        let entry = self.entries.get(id.0 as usize)?;
        entry.matches4(cpu, key, slot.out()).then(|| (id, slot.direction()))
    }

    /// The same of IPv6.
    #[inline(always)]
    pub fn confirm6<C: Cpu>(&self, cpu: C, slot: Slot, key: &Key6) -> Option<(ConnId, Direction)> {
        let id = slot.id();
        let addresses = self.addresses.get(id.0.checked_sub(self.sizes.ipv4)? as usize)?;
        let entry = self.entries.get(id.0 as usize)?;
        addresses.matches(cpu, entry, key, slot.out()).then(|| (id, slot.direction()))
    }

    /// Third step of any packet: the connection a packet with this key belongs to, and which way the packet goes.
    #[inline]
    pub fn find(&self, hash: u64, key: &Key) -> Option<(ConnId, Direction)> {
        let is_it = |slot| is_named((&self.entries, &self.addresses, self.sizes.ipv4), slot, key);
        // The newest is found first, and none is newer than those that are owed.
        let owed = self.owed.iter().rev().filter(|owed| owed.hash == hash);
        let mut owed = owed.map(|owed| Slot::new(owed.id, Direction::Out));
        let slot = owed.find(|&slot| is_it(slot)).or_else(|| self.index.find(hash, is_it));
        slot.map(|slot| (slot.id(), slot.direction()))
    }

    /// Puts a key into the index once others have waited behind it.
    pub(super) fn defer_insert(&mut self, owed: PendingInsert) {
        if self.owed.is_full() {
            let first = self.owed.remove(0);
            self.settle(first);
        }
        self.owed.push(owed);
    }

    /// Puts all keys into the index that are owed.
    pub fn flush_pending(&mut self) {
        for owed in std::mem::take(&mut self.owed) {
            self.settle(owed);
        }
    }

    fn settle(&mut self, PendingInsert { hash, id }: PendingInsert) {
        let Some(key) = self.endpoints(id).key_out(self.entry(id).protocol) else { return };
        // An index that has a quarter of its slots free has one in the lines of every key, but for a chance that no
        // table lives to see: then replies are not the connection's.
        let _ = self.put(hash, Slot::new(id, Direction::Out), &key);
    }
}

/// Whether a packet with this key belongs to the connection in a slot, given the entries, the addresses of IPv6, and
/// the first id of those.
#[inline]
pub(super) fn is_named(
    (entries, addresses, ipv4): (&[Entry], &[Addresses6], u32),
    slot: Slot,
    key: &Key,
) -> bool {
    let id = slot.id().0;
    let entry = &entries[id as usize];
    match (key, id.checked_sub(ipv4)) {
        (Key::V4(key), None) => entry.matches4(cpu::Any, key, slot.out()),
        (Key::V6(key), Some(six)) => addresses[six as usize].matches(cpu::Any, entry, key, slot.out()),
        _ => false,
    }
}

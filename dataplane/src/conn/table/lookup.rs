//! From a packet's key to its connection, in three steps for a burst; and index insertions that are deferred.

use super::Table;
use crate::conn::entry::{ConnId, Direction};
use crate::conn::index::{ProbeStart, Slot};
use crate::conn::sizes::Kind;
use crate::conn::slab::prefetch_at;
use crate::cpu::Cpu;
use crate::flow::{Key, Key4, Key6};

/// A deferred insertion: the key of a connection's replies, whose index bucket is being prefetched while the next
/// connections are added. Lookups also scan the pending keys, so the delay is not visible.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingInsert {
    pub(super) hash: u64,
    pub(super) id: ConnId,
}

/// Most insertions that are pending at once.
pub(super) const MAX_PENDING: usize = 8;

impl Table {
    /// First of three steps of a burst's lookup: prefetches the index bucket and returns where it is.
    #[inline(always)]
    pub fn prefetch_bucket(&self, hash: u64) -> ProbeStart {
        let probe_start = self.index.probe_start(hash);
        self.index.prefetch(probe_start);
        probe_start
    }

    /// Second step: prefetches the entry of the most probable slot of the line. The slot is valid until
    /// [`Table::changes`] changes.
    #[inline(always)]
    pub fn prefetch_entry<C: Cpu>(&self, cpu: C, probe_start: ProbeStart) -> Slot {
        let slot = self.index.candidate(cpu, probe_start);
        prefetch_at(&self.records.entries, slot.id().0 as usize);
        match self.kind(slot.id()) {
            Kind::Ipv4 => {}
            Kind::Ipv6(record) => prefetch_at(&self.records.addresses, record as usize),
        }
        slot
    }

    /// Number of changes of the index so far.
    #[inline(always)]
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Third step for plain IPv4 packets: the connection in a slot from [`Table::prefetch_entry`], if
    /// [`Table::find`] would find the same one.
    #[inline(always)]
    pub fn confirm<C: Cpu>(&self, cpu: C, slot: Slot, key: &Key4) -> Option<(ConnId, Direction)> {
        let id = slot.id();
        let entry = self.records.entries.get(id.0 as usize)?;
        entry.matches4(cpu, key, slot.out()).then(|| (id, slot.direction()))
    }

    /// As [`Table::confirm`], for plain IPv6 packets.
    #[inline(always)]
    pub fn confirm6<C: Cpu>(&self, cpu: C, slot: Slot, key: &Key6) -> Option<(ConnId, Direction)> {
        let id = slot.id();
        let Kind::Ipv6(record) = self.kind(id) else { return None };
        let addresses = self.records.addresses.get(record as usize)?;
        let entry = self.records.entries.get(id.0 as usize)?;
        addresses.matches(cpu, entry, key, slot.out()).then(|| (id, slot.direction()))
    }

    /// Third step for any packet: the connection that a packet with this key belongs to, and the packet's direction.
    #[inline]
    pub fn find(&self, hash: u64, key: &Key) -> Option<(ConnId, Direction)> {
        let is_it = |slot| self.records.is_named(slot, key);
        // The newest connection with a key is found first, and pending ones are newer than indexed ones.
        let pending = self.pending.iter().rev().filter(|pending| pending.hash == hash);
        let mut pending = pending.map(|pending| Slot::new(pending.id, Direction::Out));
        let slot = pending.find(|&slot| is_it(slot)).or_else(|| self.index.find(hash, is_it));
        slot.map(|slot| (slot.id(), slot.direction()))
    }

    /// Defers an insertion until others were deferred after it.
    pub(super) fn defer_insert(&mut self, pending: PendingInsert) {
        if self.pending.is_full() {
            let first = self.pending.remove(0);
            self.insert_reply(first);
        }
        self.pending.push(pending);
    }

    /// Performs all pending insertions.
    pub fn flush_pending(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.insert_reply(pending);
        }
    }

    fn insert_reply(&mut self, PendingInsert { hash, id }: PendingInsert) {
        let Some(key) = self.records.key_out(id) else { return };
        // Cannot fail in practice: a quarter of the slots are free even in a full table, so that all buckets of a key are
        // full with negligible probability. If they were, the connection's replies would not be recognised.
        let _ = self.put(hash, Slot::new(id, Direction::Out), &key);
    }
}

//! One worker's connections: their records, index and timers, in memory taken at start.

mod access;
mod lookup;
mod timers;

use arrayvec::ArrayVec;

use super::entry::{ConnId, Direction, Endpoints, Entry, Flags};
use super::extra::Extra;
use super::free::FreeList;
use super::index::{Index, Slot};
use super::records::Records;
use super::sizes::{Kind, Sizes};
use super::slab::prefetch;
use super::template::Handle;
use crate::flow::{Key, Seed};
use crate::time::wheel::Wheel;
use crate::time::{Millis, Tick};

use lookup::{MAX_PENDING, PendingInsert};

/// The data of a new connection.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection {
    /// Client, virtual and destination endpoint.
    pub endpoints: Endpoints,
    /// Protocol number.
    pub protocol: u8,
    /// Index of the destination in the snapshot.
    pub destination: u32,
    /// Flags, above all those of the forwarding method. A connection keeps its method for life, whatever is edited.
    pub flags: Flags,
    /// The template that controls it.
    pub template: Option<Handle>,
    /// Time to live if no further packet comes.
    pub timeout: Millis,
}

/// All connections of one worker.
pub struct Table {
    records: Records,
    index: Index,
    wheel: Wheel,
    seed: Seed,
    free4: FreeList,
    free6: FreeList,
    /// Place in its range of ids where the search for an entry to evict continues.
    rover: u32,
    /// Counts changes of the index.
    changes: u32,
    /// Keys of replies that are not in the index yet.
    pending: ArrayVec<PendingInsert, MAX_PENDING>,
}

impl Table {
    /// Takes memory for `sizes` connections.
    ///
    /// # Errors
    /// The kernel's, if there is not enough memory.
    pub fn new(sizes: Sizes, seed: Seed) -> std::io::Result<Table> {
        Ok(Table {
            records: Records::new(sizes)?,
            index: Index::new(sizes.keys())?,
            wheel: Wheel::new(),
            seed,
            free4: FreeList::new(0, sizes.ipv4),
            free6: FreeList::new(sizes.ipv4, sizes.ipv6),
            rover: 0,
            changes: 0,
            pending: ArrayVec::new(),
        })
    }

    /// Bytes taken from the machine.
    pub fn bytes(&self) -> usize {
        self.records.bytes() + self.index.bytes()
    }

    /// Capacity by kind of connection.
    pub fn sizes(&self) -> Sizes {
        self.records.sizes
    }

    /// Capacity for connections of all kinds: ids are below it.
    pub fn capacity(&self) -> u32 {
        self.records.entries.len() as u32
    }

    /// Number of connections, by kind.
    pub fn used(&self) -> Sizes {
        Sizes { ipv4: self.free4.used, ipv6: self.free6.used, extra: self.records.extras().used() }
    }

    /// How often [`Table::set_extra`] found no free record.
    pub fn extras_refused(&self) -> u64 {
        self.records.extras().refused()
    }

    /// Bytes of memory that one IPv4 connection costs, including its two index slots.
    pub fn bytes_per_ipv4(&self) -> usize {
        let index = self.index.bytes() / self.records.entries.len().max(1);
        size_of::<Entry>() + size_of::<u32>() + index
    }

    /// The hash of a key, for all lookups of a packet.
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        self.seed.hash(key)
    }

    /// The seed of the hash.
    #[inline(always)]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// Adds a connection. Returns `None` if there is no room for it.
    pub fn insert(&mut self, new: &NewConnection, now: Tick) -> Option<ConnId> {
        let key = new.endpoints.key_in(new.protocol)?;
        let free = if let Key::V4(_) = key { &mut self.free4 } else { &mut self.free6 };
        let id = ConnId(free.take(&self.records.entries)?);
        let out = new.flags.has(Flags::NAT).then(|| new.endpoints.key_out(new.protocol)).flatten();
        let out = out.map(|key| self.seed.hash(&key));
        // Its index bucket arrives while the entry is filled and the next connections are added.
        out.iter().for_each(|hash| _ = self.prefetch_bucket(*hash));
        self.records.fill(id, new, &key, now);
        if new.flags.has(Flags::OPS) {
            return Some(id);
        }
        let hash = self.seed.hash(&key);
        if self.pending.iter().any(|pending| pending.hash == hash) {
            self.flush_pending();
        }
        if !self.put(hash, Slot::new(id, Direction::In), &key) {
            self.free(id);
            return None;
        }
        if let Some(hash) = out {
            self.defer_insert(PendingInsert { hash, id });
        }
        self.wheel.arm(&mut self.records.entries, id.0, now.after(new.timeout));
        Some(id)
    }

    fn put(&mut self, hash: u64, slot: Slot, key: &Key) -> bool {
        self.changes = self.changes.wrapping_add(1);
        let Table { index, records, .. } = self;
        index.insert(hash, slot, |held| records.is_named(held, key))
    }

    /// Gives a connection an extra record, or replaces the one that it has. Returns false, counts it, and changes
    /// nothing, if all records are in use. The record is released when the connection is removed.
    ///
    /// With a fourth end, replies are found by that end in place of the client's, and packets take the slow path.
    pub fn set_extra(&mut self, id: ConnId, extra: Extra) -> bool {
        let is_indexed = !self.entry(id).flags.has(Flags::OPS);
        let before = self.records.key_out(id);
        if !self.records.set_extra(id, extra) {
            return false;
        }
        let after = self.records.key_out(id);
        if is_indexed && before != after {
            self.changes = self.changes.wrapping_add(1);
            self.remove_reply(id, before);
            if let Some(key) = after {
                self.defer_insert(PendingInsert { hash: self.seed.hash(&key), id });
            }
        }
        true
    }

    /// Removes a connection.
    pub fn remove(&mut self, id: ConnId) {
        self.changes = self.changes.wrapping_add(1);
        let entry = self.entry(id);
        if entry.flags.has(Flags::OPS) {
            return self.free(id);
        }
        if let Some(key) = self.endpoints(id).key_in(entry.protocol) {
            self.index.remove(self.seed.hash(&key), Slot::new(id, Direction::In));
        }
        self.remove_reply(id, self.records.key_out(id));
        self.wheel.disarm(&mut self.records.entries, id.0);
        self.free(id);
    }

    /// Removes the key of a connection's replies from the index, or from the pending ones.
    fn remove_reply(&mut self, id: ConnId, key: Option<Key>) {
        if let Some(place) = self.pending.iter().position(|pending| pending.id == id) {
            self.pending.remove(place);
        } else if let Some(key) = key {
            self.index.remove(self.seed.hash(&key), Slot::new(id, Direction::Out));
        }
    }

    fn free(&mut self, id: ConnId) {
        self.records.clear(id);
        let free = match self.kind(id) {
            Kind::Ipv4 => &mut self.free4,
            Kind::Ipv6(_) => &mut self.free6,
        };
        free.give(&mut self.records.entries, id.0);
    }

    /// Prefetches the memory that [`Table::remove`] will access.
    pub fn prefetch_removal(&self, id: ConnId) {
        let key_in = self.endpoints(id).key_in(self.entry(id).protocol);
        for key in key_in.into_iter().chain(self.records.key_out(id)) {
            self.prefetch_bucket(self.seed.hash(&key));
        }
    }

    /// Examines up to `reach` connections of the family of `key` for one that `may_go`, continuing where the last search
    /// stopped.
    pub fn find_evictable(
        &mut self,
        key: &Key,
        reach: u32,
        mut may_go: impl FnMut(&Entry) -> bool,
    ) -> Option<ConnId> {
        let (ids, entries) = (self.sizes().ids(key), &self.records.entries);
        let count = ids.len() as u32;
        for _ in 0..reach.min(count) {
            self.rover = if self.rover + 1 < count { self.rover + 1 } else { 0 };
            let id = ids.start + self.rover;
            prefetch(&entries[(id as usize + 8).min(entries.len() - 1)]);
            let entry = &entries[id as usize];
            if entry.flags.has(Flags::LIVE) && may_go(entry) {
                return Some(ConnId(id));
            }
        }
        None
    }

    /// The first connection at or after `from` among at most `reach` places, and the place to continue at, if there are
    /// more.
    pub fn next_live(&self, from: u32, reach: u32) -> (Option<ConnId>, Option<u32>) {
        let end = self.capacity();
        let stop = from.saturating_add(reach).min(end);
        let found = (from..stop).find(|&place| self.records.scan(place).flags.has(Flags::LIVE));
        let next = found.map_or(stop, |place| place + 1);
        (found.map(ConnId), (next < end).then_some(next))
    }
}

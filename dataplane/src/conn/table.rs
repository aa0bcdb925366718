//! One worker's connections: entries, their index and their timers, in memory taken at start.
//!
//! Ids below `ipv4` are IPv4 connections, the others IPv6 ones, whose addresses lie in a slab of their own: so an id
//! alone tells the family and where everything is.

mod lookup;

use arrayvec::ArrayVec;
use zerocopy::FromZeros;
use zerocopy::network_endian::{U32, U128};

use super::entry::{Addresses6, ConnId, Direction, Endpoints, Entry, Expiry, Flags};
use super::free::Free;
use super::index::{Index, Slot};
use super::slab::{Slab, prefetch, prefetch_at};
use super::template::Handle;
use crate::flow::{self, Key, Seed};
use crate::time::wheel::Wheel;
use crate::time::{Millis, Tick};
use crate::wire::checksum::{Delta, of_u32, of_u128};

use lookup::{MAX_PENDING, PendingInsert};

/// How many connections of each family fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// IPv4 connections.
    pub ipv4: u32,
    /// IPv6 connections.
    pub ipv6: u32,
}

impl Sizes {
    /// Bytes that a table of these sizes will take, huge pages not rounded up.
    pub fn bytes(self) -> usize {
        let (ipv4, ipv6) = (self.ipv4 as usize, self.ipv6 as usize);
        let entries = (ipv4 + ipv6) * (size_of::<Entry>() + size_of::<u32>());
        entries + ipv6 * size_of::<Addresses6>() + Index::bytes_for(2 * (ipv4 + ipv6))
    }
}

/// What a new connection starts with.
#[derive(Clone, Copy, Debug)]
pub struct NewConnection {
    /// Client, virtual and destination endpoint.
    pub endpoints: Endpoints,
    /// Protocol number.
    pub protocol: u8,
    /// Index of the destination in the snapshot.
    pub destination: u32,
    /// What is special about it, its method first of all: that is kept for the connection's life, whatever is edited.
    pub flags: Flags,
    /// The template that controls it.
    pub template: Option<Handle>,
    /// How long it lives when nothing more is heard.
    pub timeout: Millis,
}

/// All connections of one worker.
pub struct Table {
    entries: Slab<Entry>,
    addresses: Slab<Addresses6>,
    /// Handles of templates plus one; by id, and only looked at for [`Flags::CHILD`].
    templates: Slab<u32>,
    index: Index,
    wheel: Wheel,
    seed: Seed,
    sizes: Sizes,
    ipv4: Free,
    ipv6: Free,
    /// Where the search for an entry to give up goes on.
    rover: u32,
    /// Counts changes of the index.
    changes: u32,
    /// Replies' keys that are yet to be put into the index.
    owed: ArrayVec<PendingInsert, MAX_PENDING>,
}

impl Table {
    /// Takes the memory for `sizes` connections.
    ///
    /// # Errors
    /// When there is not enough of it.
    pub fn new(sizes: Sizes, seed: Seed) -> std::io::Result<Table> {
        let entries = sizes.ipv4 as usize + sizes.ipv6 as usize;
        Ok(Table {
            entries: Slab::new(entries)?,
            addresses: Slab::new(sizes.ipv6 as usize)?,
            templates: Slab::new(entries)?,
            index: Index::new(2 * entries)?,
            wheel: Wheel::new(),
            seed,
            sizes,
            ipv4: Free::new(0, sizes.ipv4),
            ipv6: Free::new(sizes.ipv4, sizes.ipv6),
            rover: 0,
            changes: 0,
            owed: ArrayVec::new(),
        })
    }

    /// Bytes taken from the machine: entries, addresses and index.
    pub fn bytes(&self) -> usize {
        self.entries.bytes() + self.addresses.bytes() + self.templates.bytes() + self.index.bytes()
    }

    /// How many connections fit.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// How many connections of both families fit: ids are below this.
    pub fn capacity(&self) -> u32 {
        self.entries.len() as u32
    }

    /// How many connections there are.
    pub fn used(&self) -> Sizes {
        Sizes { ipv4: self.ipv4.used, ipv6: self.ipv6.used }
    }

    /// Bytes of memory that one IPv4 connection costs, its two index slots included.
    pub fn bytes_per_ipv4(&self) -> usize {
        let share = self.index.bytes() / (self.entries.len().max(1));
        size_of::<Entry>() + size_of::<u32>() + share
    }

    /// The hash of a key; all lookups of a packet use the same.
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        self.seed.hash(key)
    }

    /// What keys are hashed with.
    #[inline(always)]
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The entry of a connection.
    #[inline]
    pub fn entry(&self, id: ConnId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    /// The entry of a connection, to be changed.
    #[inline]
    pub fn entry_mut(&mut self, id: ConnId) -> &mut Entry {
        &mut self.entries[id.0 as usize]
    }

    /// Whether a connection is of IPv6.
    pub fn is_ipv6(&self, id: ConnId) -> bool {
        id.0 >= self.sizes.ipv4
    }

    /// The template that controls a connection.
    pub fn template(&self, id: ConnId) -> Option<Handle> {
        let child = self.entry(id).flags.has(Flags::CHILD);
        child.then(|| Handle(self.templates[id.0 as usize].wrapping_sub(1)))
    }

    /// The endpoints of a connection. Of a mixed-family tunnel the destination's address is unspecified: the
    /// snapshot knows it.
    pub fn endpoints(&self, id: ConnId) -> Endpoints {
        let entry = self.entry(id);
        match id.0.checked_sub(self.sizes.ipv4) {
            None => entry.endpoints4(),
            Some(six) => entry.endpoints6(&self.addresses[six as usize]),
        }
    }

    /// The address NAT puts in: the destination's for packets from the client, else the virtual one. IPv4 addresses
    /// are in the low 32 bits.
    #[inline]
    pub fn address(&self, id: ConnId, direction: Direction) -> u128 {
        let entry = self.entry(id);
        match (id.0.checked_sub(self.sizes.ipv4), direction) {
            (None, Direction::In) => entry.destination_address.get().into(),
            (None, Direction::Out) => entry.virtual_address.get().into(),
            (Some(six), Direction::In) => self.addresses[six as usize].destination_address.get(),
            (Some(six), Direction::Out) => self.addresses[six as usize].virtual_address.get(),
        }
    }

    /// An IPv4 connection and the address NAT puts into packets that go in `direction`, in one look.
    #[inline(always)]
    pub fn connection4(&mut self, id: ConnId, direction: Direction) -> Option<(&mut Entry, U32)> {
        let entry = self.entries.get_mut(id.0 as usize)?;
        let address = match direction {
            Direction::In => entry.destination_address,
            Direction::Out => entry.virtual_address,
        };
        Some((entry, address))
    }

    /// The same of an IPv6 connection.
    #[inline(always)]
    pub fn connection6(&mut self, id: ConnId, direction: Direction) -> Option<(&mut Entry, U128)> {
        let addresses = self.addresses.get(id.0.checked_sub(self.sizes.ipv4)? as usize)?;
        let address = match direction {
            Direction::In => addresses.destination_address,
            Direction::Out => addresses.virtual_address,
        };
        Some((self.entries.get_mut(id.0 as usize)?, address))
    }

    /// Makes a connection. `None` when there is no room for it.
    pub fn insert(&mut self, new: &NewConnection, now: Tick) -> Option<ConnId> {
        let key = new.endpoints.key_in(new.protocol)?;
        let free = if matches!(key, Key::V4(_)) { &mut self.ipv4 } else { &mut self.ipv6 };
        let id = ConnId(free.take(&self.entries)?);
        let out = new.flags.has(Flags::NAT).then(|| new.endpoints.key_out(new.protocol)).flatten();
        let out = out.map(|key| (self.seed.hash(&key), key));
        // Its line comes while the entry is filled and the next connections are made.
        out.iter().for_each(|(hash, _)| _ = self.prefetch_line(*hash));
        self.fill(id, new, &key, now);
        if new.flags.has(Flags::OPS) {
            return Some(id);
        }
        let hash = self.seed.hash(&key);
        if self.owed.iter().any(|owed| owed.hash == hash) {
            self.flush_pending();
        }
        if !self.put(hash, Slot::new(id, Direction::In), &key) {
            self.give_back(id);
            return None;
        }
        if let Some((hash, _)) = out {
            self.defer_insert(PendingInsert { hash, id });
        }
        self.wheel.arm(&mut self.entries, id.0, now.after(new.timeout));
        Some(id)
    }

    fn put(&mut self, hash: u64, slot: Slot, key: &Key) -> bool {
        self.changes = self.changes.wrapping_add(1);
        let Table { index, entries, addresses, sizes, .. } = self;
        index.insert(hash, slot, |held| lookup::is_named((entries, addresses, sizes.ipv4), held, key))
    }

    fn fill(&mut self, id: ConnId, new: &NewConnection, key: &Key, now: Tick) {
        let mut entry = Entry::new_zeroed();
        entry.client_port = new.endpoints.client.l4_port.into();
        entry.virtual_port = new.endpoints.virtual_.l4_port.into();
        entry.destination_port = new.endpoints.destination.l4_port.into();
        entry.protocol = new.protocol;
        entry.destination = new.destination;
        entry.seen = now.0 as u32;
        entry.timeout = new.timeout.0;
        entry.flags = new.flags.with(Flags::LIVE).with(Flags::INACTIVE);
        if let Some(Handle(handle)) = new.template {
            entry.flags.set(Flags::CHILD, true);
            self.templates[id.0 as usize] = handle + 1;
        }
        let out = new.endpoints.key_out(new.protocol);
        let key_protocol = if let Key::V6(_) = key { new.protocol ^ flow::IPV6 } else { new.protocol };
        (entry.key_in_protocol, entry.key_out_protocol) = (key_protocol, key_protocol);
        let (mut old, mut fresh) = (u64::from(key.ports().dst()), u64::from(entry.destination_port.get()));
        match (key, out) {
            (Key::V4(key), out) => {
                entry.client = key.src().into();
                entry.virtual_address = key.dst().into();
                if let Some(Key::V4(out)) = out {
                    entry.destination_address = out.src().into();
                }
                let (was, is) = (of_u32(key.dst()), of_u32(entry.destination_address.get()));
                entry.delta_l3 = Delta::new(was, is).0;
                (old, fresh) = (old + was, fresh + is);
            }
            (Key::V6(key), out) => {
                let destination = if let Some(Key::V6(out)) = out { out.src() } else { 0 };
                let [virtual_address, client] = key.addresses;
                self.addresses[(id.0 - self.sizes.ipv4) as usize] =
                    Addresses6::new(virtual_address, client, destination.into());
                (old, fresh) = (old + of_u128(key.dst()), fresh + of_u128(destination));
            }
        }
        entry.delta_l4 = Delta::new(old, fresh).0;
        self.entries[id.0 as usize] = entry;
    }

    /// Forgets a connection.
    pub fn remove(&mut self, id: ConnId) {
        self.changes = self.changes.wrapping_add(1);
        let (endpoints, entry) = (self.endpoints(id), self.entry(id));
        let (protocol, nat) = (entry.protocol, entry.flags.has(Flags::NAT));
        if entry.flags.has(Flags::OPS) {
            return self.give_back(id);
        }
        if let Some(key) = endpoints.key_in(protocol) {
            self.index.remove(self.seed.hash(&key), Slot::new(id, Direction::In));
        }
        if let Some(place) = self.owed.iter().position(|owed| owed.id == id) {
            self.owed.remove(place);
        } else if nat && let Some(key) = endpoints.key_out(protocol) {
            self.index.remove(self.seed.hash(&key), Slot::new(id, Direction::Out));
        }
        self.wheel.disarm(&mut self.entries, id.0);
        self.give_back(id);
    }

    fn give_back(&mut self, id: ConnId) {
        let entry = &mut self.entries[id.0 as usize];
        entry.flags = Flags::default();
        (entry.key_in_protocol, entry.key_out_protocol) = (0, 0);
        let free = if id.0 < self.sizes.ipv4 { &mut self.ipv4 } else { &mut self.ipv6 };
        free.give(&mut self.entries, id.0);
    }

    /// Notes that a packet came and how long the connection now lives without another.
    #[inline(always)]
    pub fn touch(&mut self, id: ConnId, timeout: Millis, now: Tick) {
        let expiry = Expiry::new(timeout, now);
        if self.entries[id.0 as usize].touch(&expiry) {
            self.rearm(id, expiry.end(now));
        }
    }

    /// Puts a connection's timer where [`Entry::touch`] says that it must be.
    #[cold]
    pub fn rearm(&mut self, id: ConnId, deadline: Tick) {
        self.wheel.disarm(&mut self.entries, id.0);
        self.wheel.arm(&mut self.entries, id.0, deadline);
    }

    /// When a connection expires if nothing more is heard of it.
    pub fn deadline(&self, id: ConnId, now: Tick) -> Tick {
        let entry = self.entry(id);
        let age = (now.0 as u32).wrapping_sub(entry.seen);
        Tick((now.0 + u64::from(entry.timeout)).saturating_sub(u64::from(age)))
    }

    /// The next connection whose time is over; the caller takes leave of it and calls [`Table::remove`].
    ///
    /// At most `budget` timers are looked at, and taken off it, so that no burst waits for a mass expiry.
    pub fn pop_expired(&mut self, now: Tick, budget: &mut u32) -> Option<ConnId> {
        while *budget > 0 {
            let id = ConnId(self.wheel.pop(&mut self.entries, now)?);
            *budget -= 1;
            let deadline = self.deadline(id, now);
            if deadline <= now {
                return Some(id);
            }
            self.wheel.arm(&mut self.entries, id.0, deadline);
        }
        None
    }

    /// Asks for all that [`Table::remove`] will look at.
    pub fn prefetch_removal(&self, id: ConnId) {
        let (endpoints, entry) = (self.endpoints(id), self.entry(id));
        let out = entry.flags.has(Flags::NAT).then(|| endpoints.key_out(entry.protocol)).flatten();
        for key in endpoints.key_in(entry.protocol).into_iter().chain(out) {
            self.prefetch_line(self.seed.hash(&key));
        }
    }

    /// Whether [`Table::pop_expired`] may find more at `now`, having used up its budget.
    pub fn is_behind(&self, now: Tick) -> bool {
        self.wheel.is_behind(now)
    }

    /// Looks at up to `reach` connections of the family of `key` for one that `may_go`, going on where it stopped.
    pub fn find_evictable(
        &mut self,
        key: &Key,
        reach: u32,
        mut may_go: impl FnMut(&Entry) -> bool,
    ) -> Option<ConnId> {
        let (from, count) = match key {
            Key::V4(_) => (0, self.sizes.ipv4),
            Key::V6(_) => (self.sizes.ipv4, self.sizes.ipv6),
        };
        for _ in 0..reach.min(count) {
            self.rover = if self.rover + 1 < count { self.rover + 1 } else { 0 };
            let id = from + self.rover;
            prefetch(&self.entries[(id as usize + 8).min(self.entries.len() - 1)]);
            let entry = &self.entries[id as usize];
            if entry.flags.has(Flags::LIVE) && may_go(entry) {
                return Some(ConnId(id));
            }
        }
        None
    }

    /// The first connection at or after `from`, looking at no more than `reach` places; and where to go on, if
    /// anywhere.
    pub fn next_live(&self, from: u32, reach: u32) -> (Option<ConnId>, Option<u32>) {
        let end = self.entries.len() as u32;
        let stop = from.saturating_add(reach).min(end);
        let found = (from..stop).find(|&id| self.glance(id).flags.has(Flags::LIVE));
        let next = found.map_or(stop, |id| id + 1);
        (found.map(ConnId), (next < end).then_some(next))
    }

    /// The entry at a place, for those who go from place to place: those further on are asked for.
    fn glance(&self, place: u32) -> &Entry {
        const AHEAD: usize = 16;
        let ahead = place as usize + AHEAD;
        prefetch_at(&self.entries, ahead);
        if let Some(six) = ahead.checked_sub(self.sizes.ipv4 as usize) {
            prefetch_at(&self.addresses, six);
        }
        &self.entries[place as usize]
    }
}

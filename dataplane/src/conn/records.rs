//! The data of a table's connections, found by id.

use zerocopy::FromZeros;

use super::entry::{Addresses6, ConnId, Endpoints, Entry, Flags};
use super::extra::{Extra, Extras};
use super::index::Slot;
use super::sizes::{Kind, Sizes};
use super::slab::{Slab, prefetch_at};
use super::table::NewConnection;
use super::template::Handle;
use crate::cpu;
use crate::flow::{self, Key};
use crate::time::Tick;
use crate::wire::checksum::{Delta, of_u32, of_u128};

/// Entries and what belongs to them.
pub(super) struct Records {
    pub(super) entries: Slab<Entry>,
    pub(super) addresses: Slab<Addresses6>,
    /// By id. The index of the connection's extra record if its entry has [`Flags::EXTRA`]; else the handle of its
    /// template if it has [`Flags::CHILD`]; else not valid.
    attached: Slab<u32>,
    extras: Extras,
    pub(super) sizes: Sizes,
}

impl Records {
    /// Takes memory for `sizes` connections.
    ///
    /// # Errors
    /// The kernel's, if there is not enough memory.
    pub(super) fn new(sizes: Sizes) -> std::io::Result<Records> {
        Ok(Records {
            entries: Slab::new(sizes.connections())?,
            addresses: Slab::new(sizes.ipv6 as usize)?,
            attached: Slab::new(sizes.connections())?,
            extras: Extras::new(sizes.extra)?,
            sizes,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.bytes() + self.addresses.bytes() + self.attached.bytes() + self.extras.bytes()
    }

    pub(super) fn extras(&self) -> &Extras {
        &self.extras
    }

    #[inline(always)]
    pub(super) fn kind(&self, id: ConnId) -> Kind {
        self.sizes.kind(id)
    }

    #[inline]
    pub(super) fn entry(&self, id: ConnId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, id: ConnId) -> &mut Entry {
        &mut self.entries[id.0 as usize]
    }

    pub(super) fn endpoints(&self, id: ConnId) -> Endpoints {
        match self.kind(id) {
            Kind::Ipv4 => self.entry(id).endpoints4(),
            Kind::Ipv6(record) => self.entry(id).endpoints6(&self.addresses[record as usize]),
        }
    }

    pub(super) fn template(&self, id: ConnId) -> Option<Handle> {
        let (flags, attached) = (self.entry(id).flags, self.attached.get(id.0 as usize)?);
        let handle =
            || if flags.has(Flags::EXTRA) { self.extras.template(*attached) } else { Handle(*attached) };
        flags.has(Flags::CHILD).then(handle)
    }

    pub(super) fn extra(&self, id: ConnId) -> Option<&Extra> {
        let has = self.entry(id).flags.has(Flags::EXTRA);
        has.then(|| self.extras.extra(self.attached[id.0 as usize]))
    }

    /// Stores an extra record; false if there is no room for it. The keys of the connection may change.
    pub(super) fn set_extra(&mut self, id: ConnId, extra: Extra) -> bool {
        let (at, template) = (id.0 as usize, self.template(id));
        if !self.entry(id).flags.has(Flags::EXTRA) {
            let Some(place) = self.extras.take(template.unwrap_or(Handle(0))) else { return false };
            self.attached[at] = place;
        }
        *self.extras.extra_mut(self.attached[at]) = extra;
        let entry = self.entry_mut(id);
        entry.flags.set(Flags::EXTRA, true);
        entry.key_out_protocol = entry.key_in_protocol;
        if extra.local().is_some() {
            // The fast path rewrites one end of a packet, and compares replies with the client's end.
            entry.flags.set(Flags::SLOW, true);
            entry.key_out_protocol = 0;
        }
        true
    }

    /// The key of packets from the connection's NAT destination. They are addressed to the fourth end if there is one,
    /// else to the client.
    pub(super) fn key_out(&self, id: ConnId) -> Option<Key> {
        let (entry, endpoints) = (self.entry(id), self.endpoints(id));
        if !entry.flags.has(Flags::NAT) {
            return None;
        }
        match self.extra(id).and_then(Extra::local) {
            None => endpoints.key_out(entry.protocol),
            Some(local) => Key::between(endpoints.destination, local, entry.protocol),
        }
    }

    /// True if a packet with this key belongs to the connection in a slot.
    #[inline]
    pub(super) fn is_named(&self, slot: Slot, key: &Key) -> bool {
        let (id, entry) = (slot.id(), self.entry(slot.id()));
        let by_entry = match (key, self.kind(id)) {
            (Key::V4(key), Kind::Ipv4) => entry.matches4(cpu::Generic, key, slot.out()),
            (Key::V6(key), Kind::Ipv6(record)) => {
                self.addresses[record as usize].matches(cpu::Generic, entry, key, slot.out())
            }
            (Key::V4(_), Kind::Ipv6(_)) | (Key::V6(_), Kind::Ipv4) => false,
        };
        by_entry || (slot.out() && entry.flags.has(Flags::EXTRA) && self.key_out(id) == Some(*key))
    }

    /// Writes the data of a new connection.
    pub(super) fn fill(&mut self, id: ConnId, new: &NewConnection, key: &Key, now: Tick) {
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
            entry.flags = entry.flags.with(Flags::CHILD).with(Flags::UNCONFIRMED);
            self.attached[id.0 as usize] = handle;
        }
        let out = new.endpoints.key_out(new.protocol);
        let key_protocol = if let Key::V6(_) = key { new.protocol ^ flow::IPV6 } else { new.protocol };
        (entry.key_in_protocol, entry.key_out_protocol) = (key_protocol, key_protocol);
        let (mut old, mut fresh) = (u64::from(key.ports().dst()), u64::from(entry.destination_port.get()));
        match (key, self.kind(id)) {
            (Key::V4(key), Kind::Ipv4) => {
                entry.client = key.src().into();
                entry.virtual_address = key.dst().into();
                if let Some(Key::V4(out)) = out {
                    entry.destination_address = out.src().into();
                }
                let (was, is) = (of_u32(key.dst()), of_u32(entry.destination_address.get()));
                entry.delta_l3 = Delta::new(was, is).0;
                (old, fresh) = (old + was, fresh + is);
            }
            (Key::V6(key), Kind::Ipv6(record)) => {
                let destination = if let Some(Key::V6(out)) = out { out.src() } else { 0 };
                let [virtual_address, client] = key.addresses;
                self.addresses[record as usize] =
                    Addresses6::new(virtual_address, client, destination.into());
                (old, fresh) = (old + of_u128(key.dst()), fresh + of_u128(destination));
            }
            // The table takes the id from the range of the key's family.
            (Key::V4(_), Kind::Ipv6(_)) | (Key::V6(_), Kind::Ipv4) => {}
        }
        entry.delta_l4 = Delta::new(old, fresh).0;
        self.entries[id.0 as usize] = entry;
    }

    /// Ends the life of a connection's data: no packet matches it from now on.
    pub(super) fn clear(&mut self, id: ConnId) {
        if self.entry(id).flags.has(Flags::EXTRA) {
            self.extras.give(self.attached[id.0 as usize]);
        }
        let entry = self.entry_mut(id);
        entry.flags = Flags::default();
        (entry.key_in_protocol, entry.key_out_protocol) = (0, 0);
    }

    /// The entry at a place, for callers that go from place to place: a later one is prefetched.
    pub(super) fn scan(&self, place: u32) -> &Entry {
        const AHEAD: u32 = 16;
        let ahead = ConnId(place.saturating_add(AHEAD));
        prefetch_at(&self.entries, ahead.0 as usize);
        match self.kind(ahead) {
            Kind::Ipv4 => {}
            Kind::Ipv6(record) => prefetch_at(&self.addresses, record as usize),
        }
        &self.entries[place as usize]
    }
}

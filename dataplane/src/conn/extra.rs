//! Extra records: data that few connections need, in a fixed number of cache lines taken at start.
//!
//! An ordinary connection has no record and pays 4 bytes, the word that would hold the record's index. A feature that
//! keeps state of a connection adds a field to [`Extra`]. It needs no structure of its own.

use zerocopy::network_endian::{U16, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::free::{FreeLink, FreeList};
use super::slab::Slab;
use super::template::Handle;
use crate::flow::Endpoint;

/// The data of a connection beyond its entry: plain data, without pointers.
///
/// The fourth end is our own address and port towards the destination, which full NAT puts in place of the client's.
/// Decision 0021 plans the room for further fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Extra {
    /// An IPv4 address is in the low 32 bits.
    local_address: U128,
    local_port: U16,
    /// IP version of the fourth end, which NAT64 does not share with the client; 0 if there is no fourth end.
    local_version: u8,
    unused: u8,
}

impl Extra {
    /// A record with this fourth end.
    pub fn with_local(local: Endpoint) -> Extra {
        let (address, local_version) = match local.address {
            IpAddr::V4(address) => (address.to_bits().into(), 4),
            IpAddr::V6(address) => (address.to_bits(), 6),
        };
        Extra { local_address: address.into(), local_port: local.l4_port.into(), local_version, unused: 0 }
    }

    /// The fourth end, if the connection has one.
    pub fn local(&self) -> Option<Endpoint> {
        let address = match self.local_version {
            4 => Ipv4Addr::from_bits(self.local_address.get() as u32).into(),
            6 => Ipv6Addr::from_bits(self.local_address.get()).into(),
            _ => return None,
        };
        Some(Endpoint { address, l4_port: self.local_port.get() })
    }
}

/// A place in the slab.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
struct Record {
    extra: Extra,
    /// Handle of the connection's template, valid if the entry has [`Flags::CHILD`](super::Flags::CHILD). In a free
    /// record, the next free one plus one.
    template: u32,
    unused: [u8; 40],
}

const _: () = assert!(size_of::<Record>() == 64);

impl FreeLink for Record {
    fn next_free(&self) -> u32 {
        self.template
    }

    fn set_next_free(&mut self, next: u32) {
        self.template = next;
    }
}

/// All extra records of a table. When all are taken, a further one is refused and counted: no connection loses its
/// record to another.
pub(super) struct Extras {
    records: Slab<Record>,
    free: FreeList,
    refused: u64,
}

impl Extras {
    /// Takes memory for `count` records.
    ///
    /// # Errors
    /// The kernel's, if there is not enough memory.
    pub(super) fn new(count: u32) -> std::io::Result<Extras> {
        Ok(Extras { records: Slab::new(count as usize)?, free: FreeList::new(0, count), refused: 0 })
    }

    /// Bytes that `count` records take.
    pub(super) fn bytes_for(count: u32) -> usize {
        count as usize * size_of::<Record>()
    }

    /// Bytes taken from the machine.
    pub(super) fn bytes(&self) -> usize {
        self.records.bytes()
    }

    /// Number of records in use.
    pub(super) fn used(&self) -> u32 {
        self.free.used
    }

    /// How often no record was free.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes a free record, all zero except for the handle of the connection's template.
    pub(super) fn take(&mut self, template: Handle) -> Option<u32> {
        let Some(place) = self.free.take(&self.records) else {
            self.refused += 1;
            return None;
        };
        let record = &mut self.records[place as usize];
        record.zero();
        record.template = template.0;
        Some(place)
    }

    /// Returns a record.
    pub(super) fn give(&mut self, place: u32) {
        self.free.give(&mut self.records, place);
    }

    pub(super) fn template(&self, place: u32) -> Handle {
        Handle(self.records[place as usize].template)
    }

    pub(super) fn extra(&self, place: u32) -> &Extra {
        &self.records[place as usize].extra
    }

    pub(super) fn extra_mut(&mut self, place: u32) -> &mut Extra {
        &mut self.records[place as usize].extra
    }
}

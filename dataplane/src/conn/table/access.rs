//! The data of one connection.

use zerocopy::network_endian::{U32, U128};

use super::Table;
use crate::conn::entry::{ConnId, Direction, Endpoints, Entry};
use crate::conn::extra::Extra;
use crate::conn::sizes::Kind;
use crate::conn::template::Handle;

impl Table {
    /// The kind of a connection.
    #[inline(always)]
    pub fn kind(&self, id: ConnId) -> Kind {
        self.records.kind(id)
    }

    /// The entry of a connection.
    #[inline]
    pub fn entry(&self, id: ConnId) -> &Entry {
        self.records.entry(id)
    }

    /// The entry of a connection, mutable.
    #[inline]
    pub fn entry_mut(&mut self, id: ConnId) -> &mut Entry {
        self.records.entry_mut(id)
    }

    /// True for an IPv6 connection.
    pub fn is_ipv6(&self, id: ConnId) -> bool {
        match self.kind(id) {
            Kind::Ipv4 => false,
            Kind::Ipv6(_) => true,
        }
    }

    /// The template that controls a connection.
    pub fn template(&self, id: ConnId) -> Option<Handle> {
        self.records.template(id)
    }

    /// The extra record of a connection.
    pub fn extra(&self, id: ConnId) -> Option<&Extra> {
        self.records.extra(id)
    }

    /// The endpoints of a connection. In a mixed-family tunnel the destination's address is unspecified: the snapshot
    /// has it.
    pub fn endpoints(&self, id: ConnId) -> Endpoints {
        self.records.endpoints(id)
    }

    /// The address that NAT writes: the destination's into packets from the client, the virtual one into replies. IPv4
    /// addresses are in the low 32 bits.
    #[inline]
    pub fn address(&self, id: ConnId, direction: Direction) -> u128 {
        let (entry, addresses) = (self.entry(id), &self.records.addresses);
        match (self.kind(id), direction) {
            (Kind::Ipv4, Direction::In) => entry.destination_address.get().into(),
            (Kind::Ipv4, Direction::Out) => entry.virtual_address.get().into(),
            (Kind::Ipv6(record), Direction::In) => addresses[record as usize].destination_address.get(),
            (Kind::Ipv6(record), Direction::Out) => addresses[record as usize].virtual_address.get(),
        }
    }

    /// An IPv4 connection, and the address that NAT writes into packets in `direction`, with a single access.
    #[inline(always)]
    pub fn connection4(&mut self, id: ConnId, direction: Direction) -> Option<(&mut Entry, U32)> {
        let entry = self.records.entries.get_mut(id.0 as usize)?;
        let address = match direction {
            Direction::In => entry.destination_address,
            Direction::Out => entry.virtual_address,
        };
        Some((entry, address))
    }

    /// As [`Table::connection4`], for an IPv6 connection.
    #[inline(always)]
    pub fn connection6(&mut self, id: ConnId, direction: Direction) -> Option<(&mut Entry, U128)> {
        let Kind::Ipv6(record) = self.kind(id) else { return None };
        let addresses = self.records.addresses.get(record as usize)?;
        let address = match direction {
            Direction::In => addresses.destination_address,
            Direction::Out => addresses.virtual_address,
        };
        Some((self.records.entries.get_mut(id.0 as usize)?, address))
    }
}

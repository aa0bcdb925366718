//! How many connections of each kind a table holds, and the ids that follow from it.

use std::ops::Range;

use super::entry::{Addresses6, ConnId, Entry};
use super::extra::Extras;
use super::index::Index;
use crate::flow::Key;

/// Capacity of a table, by kind of connection; also how much of it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// IPv4 connections.
    pub ipv4: u32,
    /// IPv6 connections.
    pub ipv6: u32,
    /// Connections of either kind that can have an [extra record](super::Extra).
    pub extra: u32,
}

/// The kind of a connection, which decides where its data is. The id of a connection gives its kind: ids are one range
/// for each kind, in this order. A further kind, such as NAT64, is a further range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4: the entry holds everything.
    Ipv4,
    /// IPv6: the addresses are in this record of [`Addresses6`].
    Ipv6(u32),
}

impl Sizes {
    /// The kind of the connection with this id. This is the only place that compares ids with the ranges.
    #[inline(always)]
    pub fn kind(self, id: ConnId) -> Kind {
        match id.0.checked_sub(self.ipv4) {
            None => Kind::Ipv4,
            Some(record) => Kind::Ipv6(record),
        }
    }

    /// The ids of connections with keys of this family.
    pub fn ids(self, key: &Key) -> Range<u32> {
        match key {
            Key::V4(_) => 0..self.ipv4,
            Key::V6(_) => self.ipv4..self.ipv4 + self.ipv6,
        }
    }

    /// Number of connections of all kinds; ids are below it.
    pub fn connections(self) -> usize {
        self.ipv4 as usize + self.ipv6 as usize
    }

    /// Number of keys in the index of a full table: one for each direction of a connection.
    pub fn keys(self) -> usize {
        2 * self.connections()
    }

    /// Bytes that a table of these sizes takes, without the rounding to huge pages.
    pub fn bytes(self) -> usize {
        let each = self.connections() * (size_of::<Entry>() + size_of::<u32>());
        let addresses = self.ipv6 as usize * size_of::<Addresses6>();
        each + addresses + Extras::bytes_for(self.extra) + Index::bytes_for(self.keys())
    }
}

//! Steering by the device's RSS hash: RSS keys under which the device's queue is the worker that owns the flow, so
//! that no packet is handed off.
//!
//! The Toeplitz hash works on the concatenation of source address, destination address, source port and destination
//! port. Each set bit `i` of this input adds (by exclusive or) bits `i` to `i + 31` of the key. The low bits of the
//! hash index the redirection table (RETA). Only the low seven bits of the hash matter here, so input bit `i`
//! contributes only key bits `i + 25` to `i + 31`; where these are zero, the input bit is ignored. This allows a key
//! under which only the source counts, for client-facing ports, and a key under which only the destination counts,
//! with the same values, for server-facing ports.
//!
//! IPv6 has its addresses at other offsets of the same key. Client-facing ports steer IPv6 correctly as well. The key
//! bits that IPv4 needs for destinations are those of IPv6 sources, so IPv6 packets from servers reach any worker,
//! and are handed off.

use std::net::IpAddr;

use crate::flow::{Endpoint, Seed};

/// Bytes of an RSS key: enough for the longest input, two IPv6 endpoints.
pub const KEY: usize = 40;
/// Number of low bits of the hash that choose the queue.
const BITS: usize = 7;
/// Number of buckets. A device's redirection table must have this many entries or a multiple.
pub const BUCKETS: u16 = 1 << BITS;

/// Role of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facing {
    /// Client-facing: packets come from clients.
    Clients,
    /// Server-facing: packets come from servers.
    Servers,
}

/// Bits of the client-facing key that may be set: those of the source address and source port of IPv4, then those of
/// IPv6. The last bit of each range is always set, so that the low bits of addresses and ports, which vary most, reach
/// every bucket.
const SOURCE_BITS: [std::ops::RangeInclusive<usize>; 4] = [31..=56, 95..=104, 127..=152, 287..=296];
/// Distance from the IPv4 source to the destination, in bits of the input.
const ADDRESS_DISTANCE: usize = 32;
const PORT_DISTANCE: usize = 16;

/// Offsets of the source address and the source port in the hash input, in bits.
const INPUT4: (usize, usize) = (0, 64);
const INPUT6: (usize, usize) = (0, 256);

/// Contribution of each value of a nibble to the hash, by position.
type NibbleTable<const N: usize> = [[u8; 16]; N];

/// The two RSS keys, and lookup tables that compute the same hash in software.
#[derive(Debug)]
pub struct RssKeys {
    clients: [u8; KEY],
    servers: [u8; KEY],
    ipv4: NibbleTable<8>,
    ipv6: NibbleTable<32>,
    ports4: NibbleTable<4>,
    ports6: NibbleTable<4>,
}

impl RssKeys {
    /// Derives the keys from a secret seed, so that outsiders cannot choose flows that all have the same owner.
    pub fn new(seed: Seed) -> RssKeys {
        let (mut clients, mut servers) = ([0; KEY], [0; KEY]);
        let mut random = [seed.0, seed.1, seed.0.rotate_left(32) ^ seed.1].into_iter();
        for (range, distance) in
            SOURCE_BITS.into_iter().zip([Some(ADDRESS_DISTANCE), Some(PORT_DISTANCE), None, None])
        {
            let bits = random.next().unwrap_or(seed.0.rotate_left(17) ^ seed.1.rotate_left(41));
            let last = *range.end();
            for bit in range.filter(|&bit| bit == last || bits >> (bit % 64) & 1 == 1) {
                set(&mut clients, bit);
                if let Some(distance) = distance {
                    set(&mut servers, bit + distance);
                }
            }
        }
        RssKeys {
            ipv4: nibble_table(&clients, INPUT4.0),
            ipv6: nibble_table(&clients, INPUT6.0),
            ports4: nibble_table(&clients, INPUT4.1),
            ports6: nibble_table(&clients, INPUT6.1),
            clients,
            servers,
        }
    }

    /// The RSS key for ports with this role.
    pub fn key(&self, facing: Facing) -> &[u8; KEY] {
        match facing {
            Facing::Clients => &self.clients,
            Facing::Servers => &self.servers,
        }
    }

    /// The bucket of a client: the low bits of the device's hash of its packets.
    pub fn bucket(&self, client: Endpoint) -> u16 {
        let port = client.l4_port.to_be_bytes();
        let hash = match client.address {
            IpAddr::V4(address) => hash(&self.ipv4, &address.octets()) ^ hash(&self.ports4, &port),
            IpAddr::V6(address) => hash(&self.ipv6, &address.octets()) ^ hash(&self.ports6, &port),
        };
        u16::from(hash)
    }
}

fn set(key: &mut [u8; KEY], bit: usize) {
    key[bit / 8] |= 0x80 >> (bit % 8);
}

/// The low bits of the hash that input bit `index` adds.
fn contribution(key: &[u8; KEY], index: usize) -> u8 {
    let at = |bit: usize| key.get(bit / 8).map_or(0, |byte| byte >> (7 - bit % 8) & 1);
    (0..BITS).fold(0, |low, n| low << 1 | at(index + 32 - BITS + n))
}

fn nibble_table<const N: usize>(key: &[u8; KEY], offset: usize) -> NibbleTable<N> {
    let value_of = |place: usize, value: usize| {
        let set = (0..4).filter(|bit| value & (8 >> bit) != 0);
        set.fold(0, |sum, bit| sum ^ contribution(key, offset + 4 * place + bit))
    };
    std::array::from_fn(|place| std::array::from_fn(|value| value_of(place, value)))
}

fn hash<const N: usize>(table: &NibbleTable<N>, bytes: &[u8]) -> u8 {
    let pairs = table.as_chunks::<2>().0.iter().zip(bytes);
    pairs.fold(0, |sum, ([upper, lower], byte)| {
        sum ^ upper[usize::from(byte >> 4)] ^ lower[usize::from(byte & 15)]
    })
}

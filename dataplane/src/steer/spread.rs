//! A rule that devices know too: the queue a device's hash chooses is the worker that owns the flow, so nothing has to
//! be handed over.
//!
//! Devices hash by Toeplitz: every bit of source address, destination address, source and destination port that is set
//! adds (by exclusive or) the 32 bits of the key that begin at its own place, and the low bits of the sum name an entry
//! of a table of queues. The low [`BITS`] bits of the hash are all that is asked, so a bit of the input at `i` counts by
//! the bits `i + 25` to `i + 31` of the key only. Where those are zero it does not count: that makes a key under which
//! only the source, the client of what comes in by a port that faces clients, has a say, and one under which only the
//! destination has, by the same numbers, for ports that face servers.
//!
//! IPv6 has its addresses at other places, in the same key. Ports that face clients spread it as they do IPv4. The bits
//! that IPv4 needs for destinations are those of sources in IPv6, so that servers' packets of IPv6 are spread somehow,
//! and handed over.

use std::net::IpAddr;

use crate::flow::{Endpoint, Seed};

/// Bytes of a key: what the longest input, two IPv6 endpoints, takes.
pub const KEY: usize = 40;
/// Low bits of a hash that choose.
const BITS: usize = 7;
/// What they choose from; a device's table of queues has so many entries or a multiple.
pub const BUCKETS: u16 = 1 << BITS;

/// Whom a port faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facing {
    /// Packets come from clients.
    Clients,
    /// Packets come from servers.
    Servers,
}

/// Bits of the key for clients by which only sources count: their address in IPv4, their port in IPv4, and both in
/// IPv6. Most serve IPv6 also. The last bit of each is set, so that the last bits of an address and of a port, which
/// differ most, reach every bucket.
const SOURCES: [std::ops::RangeInclusive<usize>; 4] = [31..=56, 95..=104, 127..=152, 287..=296];
/// By how much the first two lie further on in the key for servers: from a source to a destination.
const BETWEEN_ADDRESSES: usize = 32;
const BETWEEN_PORTS: usize = 16;

/// Where a client's address and port are in what is hashed of its packets.
const INPUT4: (usize, usize) = (0, 64);
const INPUT6: (usize, usize) = (0, 256);

/// What half a byte adds, by its place.
type Halves<const N: usize> = [[u8; 16]; N];

/// The rule: two keys for devices, and the same sums in tables.
#[derive(Debug)]
pub struct Spread {
    clients: [u8; KEY],
    servers: [u8; KEY],
    ipv4: Halves<8>,
    ipv6: Halves<32>,
    ports4: Halves<4>,
    ports6: Halves<4>,
}

impl Spread {
    /// A rule of which outsiders know nothing.
    pub fn new(seed: Seed) -> Spread {
        let (mut clients, mut servers) = ([0; KEY], [0; KEY]);
        let mut random = [seed.0, seed.1, seed.0.rotate_left(32) ^ seed.1].into_iter();
        for (range, further) in
            SOURCES.into_iter().zip([Some(BETWEEN_ADDRESSES), Some(BETWEEN_PORTS), None, None])
        {
            let bits = random.next().unwrap_or(seed.0.rotate_left(17) ^ seed.1.rotate_left(41));
            let last = *range.end();
            for bit in range.filter(|&bit| bit == last || bits >> (bit % 64) & 1 == 1) {
                set(&mut clients, bit);
                if let Some(further) = further {
                    set(&mut servers, bit + further);
                }
            }
        }
        Spread {
            ipv4: halves(&clients, INPUT4.0),
            ipv6: halves(&clients, INPUT6.0),
            ports4: halves(&clients, INPUT4.1),
            ports6: halves(&clients, INPUT6.1),
            clients,
            servers,
        }
    }

    /// The key for a port's device.
    pub fn key(&self, facing: Facing) -> &[u8; KEY] {
        match facing {
            Facing::Clients => &self.clients,
            Facing::Servers => &self.servers,
        }
    }

    /// The low bits of a device's hash of a packet of this client.
    pub fn bucket(&self, client: Endpoint) -> u16 {
        let port = client.l4_port.to_be_bytes();
        let sum = match client.address {
            IpAddr::V4(address) => add(&self.ipv4, &address.octets()) ^ add(&self.ports4, &port),
            IpAddr::V6(address) => add(&self.ipv6, &address.octets()) ^ add(&self.ports6, &port),
        };
        u16::from(sum)
    }
}

fn set(key: &mut [u8; KEY], bit: usize) {
    key[bit / 8] |= 0x80 >> (bit % 8);
}

/// What a set bit of the input adds to the low bits of the hash.
fn window(key: &[u8; KEY], place: usize) -> u8 {
    let at = |bit: usize| key.get(bit / 8).map_or(0, |byte| byte >> (7 - bit % 8) & 1);
    (0..BITS).fold(0, |low, n| low << 1 | at(place + 32 - BITS + n))
}

fn halves<const N: usize>(key: &[u8; KEY], from: usize) -> Halves<N> {
    let adds = |place: usize, value: usize| {
        let set = (0..4).filter(|bit| value & (8 >> bit) != 0);
        set.fold(0, |sum, bit| sum ^ window(key, from + 4 * place + bit))
    };
    std::array::from_fn(|place| std::array::from_fn(|value| adds(place, value)))
}

fn add<const N: usize>(halves: &Halves<N>, bytes: &[u8]) -> u8 {
    let pairs = halves.as_chunks::<2>().0.iter().zip(bytes);
    pairs.fold(0, |sum, ([upper, lower], byte)| {
        sum ^ upper[usize::from(byte >> 4)] ^ lower[usize::from(byte & 15)]
    })
}

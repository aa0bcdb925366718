//! Maglev hashing: the client decides, by a table in which few slots move when destinations change. Spec 3.12.

use std::net::IpAddr;

use super::fold::fold;
use super::slots::{l4_port, look_up};
use super::{Loads, PickContext, gcd};
use crate::flow::Endpoint;
use crate::service::{Destination, DestinationId};

/// Slots of a table, a prime. A service with more destinations than this is refused with `EINVAL`.
pub const SLOTS: usize = 4093;
/// No destination gets more slots in a row than a number of so many bits says.
const TURN_BITS: u32 = 6;
/// Both words of the key by which clients find slots and destinations their first one.
const FIRST: u64 = 2_654_435_761;
/// Both words of the key by which destinations step on.
const STEP: u64 = 2_654_446_892;

/// A destination while the table is built.
struct Taker {
    id: DestinationId,
    at: usize,
    step: usize,
    turns: u32,
}

/// Destinations take slots in turns, each along its own permutation, in shares of their last weight.
pub fn slots(ipv6: bool, list: &[(DestinationId, &Destination)]) -> Vec<Option<DestinationId>> {
    let mut takers = takers(ipv6, list);
    if takers.iter().all(|taker| taker.turns == 0) {
        return Vec::new();
    }
    let mut slots = vec![None; SLOTS];
    let mut free = SLOTS;
    loop {
        for taker in &mut takers {
            for _ in 0..taker.turns {
                if free == 0 {
                    return slots;
                }
                while slots[taker.at].is_some() {
                    taker.at = (taker.at + taker.step) % SLOTS;
                }
                slots[taker.at] = Some(taker.id);
                free -= 1;
            }
        }
    }
}

fn takers(ipv6: bool, list: &[(DestinationId, &Destination)]) -> Vec<Taker> {
    let weights = || list.iter().map(|(_, destination)| destination.last_weight);
    let unit = weights().fold(0, gcd).max(1);
    let widest = u32::BITS - (weights().max().unwrap_or(0) / unit).leading_zeros();
    let shift = widest.saturating_sub(TURN_BITS);
    let taker = |&(id, destination): &(DestinationId, &Destination)| {
        let Endpoint { address, l4_port } = destination.endpoint;
        let number = u32::from(l4_port).wrapping_add(fold_of_server(ipv6, address));
        let at = siphash13(FIRST, number) as usize % SLOTS;
        let step = siphash13(STEP, number) as usize % (SLOTS - 1) + 1;
        let share = (destination.last_weight / unit) >> shift;
        Taker { id, at, step, turns: share.max(destination.last_weight.min(1)) }
    };
    list.iter().map(taker).collect()
}

/// IPVS folds a server's address as one of the service's family: of an IPv6 server behind an IPv4 service it sees the
/// first word alone.
fn fold_of_server(ipv6: bool, address: IpAddr) -> u32 {
    match address {
        IpAddr::V6(v6) if !ipv6 => (v6.to_bits() >> 96) as u32,
        address => fold(address),
    }
}

/// The client's slot.
pub fn pick<L: Loads>(scene: &PickContext<'_, L>) -> Option<DestinationId> {
    let number = l4_port(scene).wrapping_add(fold(scene.client.address));
    let place = |offset: u32| siphash13(FIRST, offset.wrapping_add(number)) % SLOTS as u32;
    look_up(scene, SLOTS as u32, place)
}

/// The lower half of SipHash-1-3 (Aumasson and Bernstein) of four bytes, under a key of two equal words.
pub(super) fn siphash13(word: u64, number: u32) -> u32 {
    let mut v = [
        word ^ 0x736f_6d65_7073_6575,
        word ^ 0x646f_7261_6e64_6f6d,
        word ^ 0x6c79_6765_6e65_7261,
        word ^ 0x7465_6462_7974_6573,
    ];
    // The one block there is: the bytes as a little-endian number, their count in the uppermost byte.
    let block = u64::from(u32::from_le_bytes(number.to_ne_bytes())) | 4 << 56;
    v[3] ^= block;
    round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

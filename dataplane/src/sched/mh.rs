//! Maglev hashing: a hash of the client chooses a slot of a table in which few slots change when destinations do.
//! Spec 3.12.

use std::net::IpAddr;

use super::fold::fold;
use super::slots::{hashed_l4_port, lookup};
use super::{Loads, PickContext, gcd};
use crate::flow::Endpoint;
use crate::service::{Destination, DestinationId};

/// Slots of a table; a prime number. A service with more destinations is refused with `EINVAL`.
pub const SLOTS: usize = 4093;
/// Limits the slots that a destination takes per round to a number of this many bits.
const TURN_BITS: u32 = 6;
/// The kernel's `hash1` key, twice: for clients' slots, and the first slot of a destination's permutation.
const HASH1: u64 = 2_654_435_761;
/// The kernel's `hash2` key, twice: for the step of a destination's permutation.
const HASH2: u64 = 2_654_446_892;

/// The order in which a destination takes slots: from `at` in steps of `step`, `turns` slots per round.
struct Permutation {
    id: DestinationId,
    at: usize,
    step: usize,
    turns: u32,
}

/// Fills the table. Destinations take slots in rounds, each along its own permutation, in proportion to their last
/// non-zero weight.
pub fn slots(ipv6: bool, list: &[(DestinationId, &Destination)]) -> Vec<Option<DestinationId>> {
    let mut permutations = permutations(ipv6, list);
    if permutations.iter().all(|permutation| permutation.turns == 0) {
        return Vec::new();
    }
    let mut slots = vec![None; SLOTS];
    let mut free = SLOTS;
    loop {
        for permutation in &mut permutations {
            for _ in 0..permutation.turns {
                if free == 0 {
                    return slots;
                }
                while slots[permutation.at].is_some() {
                    permutation.at = (permutation.at + permutation.step) % SLOTS;
                }
                slots[permutation.at] = Some(permutation.id);
                free -= 1;
            }
        }
    }
}

fn permutations(ipv6: bool, list: &[(DestinationId, &Destination)]) -> Vec<Permutation> {
    let weights = || list.iter().map(|(_, destination)| destination.last_weight);
    let unit = weights().fold(0, gcd).max(1);
    let widest = u32::BITS - (weights().max().unwrap_or(0) / unit).leading_zeros();
    let shift = widest.saturating_sub(TURN_BITS);
    let permutation = |&(id, destination): &(DestinationId, &Destination)| {
        let Endpoint { address, l4_port } = destination.endpoint;
        let number = u32::from(l4_port).wrapping_add(fold_server_address(ipv6, address));
        let at = siphash13(HASH1, number) as usize % SLOTS;
        let step = siphash13(HASH2, number) as usize % (SLOTS - 1) + 1;
        let share = (destination.last_weight / unit) >> shift;
        Permutation { id, at, step, turns: share.max(destination.last_weight.min(1)) }
    };
    list.iter().map(permutation).collect()
}

/// Folds a server's address as one of the service's family, as IPVS does: of an IPv6 server behind an IPv4 service only
/// the first word counts.
fn fold_server_address(ipv6: bool, address: IpAddr) -> u32 {
    match address {
        IpAddr::V6(v6) if !ipv6 => (v6.to_bits() >> 96) as u32,
        address => fold(address),
    }
}

/// Chooses the destination of the client's slot.
pub fn pick<L: Loads>(context: &PickContext<'_, L>) -> Option<DestinationId> {
    let number = hashed_l4_port(context).wrapping_add(fold(context.client.address));
    let slot = |offset: u32| siphash13(HASH1, offset.wrapping_add(number)) % SLOTS as u32;
    lookup(context, SLOTS as u32, slot)
}

/// The lower half of SipHash-1-3 (Aumasson and Bernstein) over four bytes. Both words of the key are `word`.
pub(super) fn siphash13(word: u64, number: u32) -> u32 {
    let mut v = [
        word ^ 0x736f_6d65_7073_6575,
        word ^ 0x646f_7261_6e64_6f6d,
        word ^ 0x6c79_6765_6e65_7261,
        word ^ 0x7465_6462_7974_6573,
    ];
    // The only block: the four bytes in little-endian order, and the length in the top byte.
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

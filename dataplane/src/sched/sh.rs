//! Source hashing: a hash of the client chooses a bucket; destinations have buckets in proportion to weight. Spec 3.11.

use super::fold::{bucket, fold};
use super::slots::{hashed_l4_port, lookup};
use super::{Loads, PickContext};
use crate::service::{Destination, DestinationId};

const BITS: u32 = 8;
const SLOTS: u32 = 1 << BITS;

/// Gives each destination in turn as many consecutive buckets as its weight, at least one, until all are taken.
pub fn slots(list: &[(DestinationId, &Destination)]) -> Vec<Option<DestinationId>> {
    if list.is_empty() {
        return Vec::new();
    }
    let mut slots = Vec::with_capacity(SLOTS as usize);
    for &(id, destination) in list.iter().cycle() {
        let room = SLOTS - slots.len() as u32;
        if room == 0 {
            break;
        }
        let share = destination.weight.max(1).min(room);
        slots.extend(std::iter::repeat_n(Some(id), share as usize));
    }
    slots
}

/// Chooses the destination of the client's bucket.
pub fn pick<L: Loads>(context: &PickContext<'_, L>) -> Option<DestinationId> {
    let own = bucket(hashed_l4_port(context).wrapping_add(fold(context.client.address)), BITS);
    lookup(context, SLOTS, |offset| offset.wrapping_add(own) % SLOTS)
}

//! Source hashing: the client decides, by a table in which destinations have buckets by weight. Spec 3.11.

use super::fold::{bucket, fold};
use super::slots::{l4_port, look_up};
use super::{Loads, PickContext};
use crate::service::{Destination, DestinationId};

const BITS: u32 = 8;
const SLOTS: u32 = 1 << BITS;

/// Each destination in turn gets as many buckets in a row as it weighs, but one at least.
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

/// The client's bucket.
pub fn pick<L: Loads>(scene: &PickContext<'_, L>) -> Option<DestinationId> {
    let own = bucket(l4_port(scene).wrapping_add(fold(scene.client.address)), BITS);
    look_up(scene, SLOTS, |offset| offset.wrapping_add(own) % SLOTS)
}

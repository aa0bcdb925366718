//! Destination hashing: the virtual address decides, by a table of buckets that all destinations share. Spec 3.8.

use super::fold::{bucket, fold};
use super::{Loads, PickContext};
use crate::service::{Destination, DestinationId};

const BITS: u32 = 8;

/// The buckets go to the destinations in turn, whatever they weigh.
pub fn slots(list: &[(DestinationId, &Destination)]) -> Vec<Option<DestinationId>> {
    if list.is_empty() {
        return Vec::new();
    }
    list.iter().cycle().take(1 << BITS).map(|&(id, _)| Some(id)).collect()
}

/// The virtual address's bucket.
pub fn pick<L: Loads>(scene: &PickContext<'_, L>) -> Option<DestinationId> {
    let place = bucket(fold(scene.virtual_address), BITS);
    let chosen = (*scene.service.slots.get(place as usize)?)?;
    scene.is_usable(chosen).then_some(chosen)
}

//! Destination hashing: a hash of the virtual address chooses a bucket, and each bucket has a destination. Spec 3.8.

use super::fold::{bucket, fold};
use super::{Loads, PickContext};
use crate::service::{Destination, DestinationId};

const BITS: u32 = 8;

/// Fills the buckets with the destinations in turn, regardless of weight.
pub fn slots(list: &[(DestinationId, &Destination)]) -> Vec<Option<DestinationId>> {
    if list.is_empty() {
        return Vec::new();
    }
    list.iter().cycle().take(1 << BITS).map(|&(id, _)| Some(id)).collect()
}

/// Chooses the destination of the virtual address's bucket.
pub fn pick<L: Loads>(context: &PickContext<'_, L>) -> Option<DestinationId> {
    let index = bucket(fold(context.virtual_address), BITS);
    let chosen = (*context.service.slots.get(index as usize)?)?;
    context.is_usable(chosen).then_some(chosen)
}

//! Round robin: the next usable destination after the one chosen last. Spec 3.1.

use super::{Cursor, Loads, PickContext};
use crate::config::{Event, EventKind};
use crate::service::DestinationId;

/// A removed destination leaves the cursor on the one before it.
pub fn apply_events(cursor: &mut Cursor, event: &Event) {
    if let EventKind::Removed(gone, before) = event.kind
        && cursor.at == Some(gone)
    {
        cursor.at = before;
    }
}

/// Walks once round the list, from the destination after the last one chosen up to that one itself. The cursor stays
/// when there is nobody to choose.
pub fn pick<L: Loads>(cursor: &mut Cursor, scene: &PickContext<'_, L>) -> Option<DestinationId> {
    let list = &scene.service.destinations;
    let start = cursor.at.and_then(|at| list.iter().position(|&id| id == at)).map_or(0, |place| place + 1);
    let (before, after) = list.split_at(start);
    let chosen = after.iter().chain(before).copied().find(|&id| scene.is_usable(id))?;
    cursor.at = Some(chosen);
    Some(chosen)
}

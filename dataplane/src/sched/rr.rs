//! Round robin: the next usable destination after the one chosen last. Spec 3.1.

use super::{Cursor, Loads, PickContext};
use crate::config::{Event, EventKind};
use crate::service::DestinationId;

/// If the destination under the cursor is removed, the cursor moves to the one before it.
pub fn apply_event(cursor: &mut Cursor, event: &Event) {
    if let EventKind::Removed(removed, before) = event.kind
        && cursor.at == Some(removed)
    {
        cursor.at = before;
    }
}

/// Walks the list once, starting after the destination chosen last. The cursor stays where it is if none is usable.
pub fn pick<L: Loads>(cursor: &mut Cursor, context: &PickContext<'_, L>) -> Option<DestinationId> {
    let list = &context.service.destinations;
    let start = cursor.at.and_then(|at| list.iter().position(|&id| id == at)).map_or(0, |index| index + 1);
    let (before, after) = list.split_at(start);
    let chosen = after.iter().chain(before).copied().find(|&id| context.is_usable(id))?;
    cursor.at = Some(chosen);
    Some(chosen)
}

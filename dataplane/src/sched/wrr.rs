//! Interleaved weighted round robin: passes over the list with a current weight that decreases by the gcd. Spec 3.2.

use super::{Cursor, Loads, PickContext};
use crate::config::{Event, EventKind};
use crate::service::DestinationId;

/// Any change returns the cursor to the head of the list and fits the current weight to the new weights.
pub fn apply_event(cursor: &mut Cursor, event: &Event) {
    cursor.at = None;
    cursor.gcd = i64::from(event.gcd);
    cursor.max = match event.max_weight {
        0 => 0,
        max => i64::from(max) - (cursor.gcd - 1),
    };
    if event.kind == EventKind::Reset || cursor.current > cursor.max || cursor.current == 0 {
        cursor.current = cursor.max;
    } else if cursor.gcd > 1 {
        cursor.current = cursor.current / cursor.gcd * cursor.gcd + 1;
    }
}

/// Walks the list from the cursor to the next destination whose weight is at least the current weight.
pub fn pick<L: Loads>(cursor: &mut Cursor, context: &PickContext<'_, L>) -> Option<DestinationId> {
    let list = &context.service.destinations;
    if cursor.max == 0 {
        return None;
    }
    let start = cursor.at.and_then(|at| list.iter().position(|&id| id == at));
    let (mut from, mut last_pass, mut restarted, mut stop) =
        (start.map_or(0, |index| index + 1), false, false, None);
    loop {
        for (index, &id) in list.iter().enumerate().skip(from) {
            let weight = context.services.destination(id).map_or(0, |d| i64::from(d.weight));
            if weight >= cursor.current && !context.loads.is_overloaded(id) {
                cursor.at = Some(id);
                return Some(id);
            }
            if stop == Some(index) {
                return None;
            }
        }
        cursor.current -= cursor.gcd;
        if cursor.current <= 0 {
            cursor.current = cursor.max;
            if last_pass || start.is_none() {
                cursor.at = None;
                return None;
            }
            restarted = true;
        }
        skip_empty_passes(cursor, context);
        last_pass = cursor.current <= cursor.gcd;
        if last_pass && restarted {
            stop = start;
        }
        from = 0;
    }
}

/// Lowers the current weight past the passes in which no destination can be chosen, except the last pass. Otherwise
/// weights of 1 and of two billion could take two billion passes.
fn skip_empty_passes<L: Loads>(cursor: &mut Cursor, context: &PickContext<'_, L>) {
    let greatest = context.available().map(|c| i64::from(c.destination.weight)).max().unwrap_or(0);
    let passes = (cursor.current - greatest).max(0) / cursor.gcd;
    cursor.current -= cursor.gcd * passes.min((cursor.current - 1) / cursor.gcd);
}

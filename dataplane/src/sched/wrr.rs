//! Weighted round robin, interleaved: passes over the list with a weight to reach that falls by the gcd. Spec 3.2.

use super::{Cursor, Loads, PickContext};
use crate::config::{Event, EventKind};
use crate::service::DestinationId;

/// Any change sends the walk back to the head and fits the current weight to the new ones.
pub fn apply_events(cursor: &mut Cursor, event: &Event) {
    cursor.at = None;
    cursor.gcd = i64::from(event.gcd);
    cursor.max = match event.max_weight {
        0 => 0,
        max => i64::from(max) - (cursor.gcd - 1),
    };
    if event.kind == EventKind::Fresh || cursor.current > cursor.max || cursor.current == 0 {
        cursor.current = cursor.max;
    } else if cursor.gcd > 1 {
        cursor.current = cursor.current / cursor.gcd * cursor.gcd + 1;
    }
}

/// Walks the list from the cursor until a destination reaches the current weight.
pub fn pick<L: Loads>(cursor: &mut Cursor, scene: &PickContext<'_, L>) -> Option<DestinationId> {
    let list = &scene.service.destinations;
    if cursor.max == 0 {
        return None;
    }
    let start = cursor.at.and_then(|at| list.iter().position(|&id| id == at));
    let (mut from, mut last_pass, mut restarted, mut stop) =
        (start.map_or(0, |at| at + 1), false, false, None);
    loop {
        for (place, &id) in list.iter().enumerate().skip(from) {
            let weight = scene.services.destination(id).map_or(0, |d| i64::from(d.weight));
            if weight >= cursor.current && !scene.loads.is_overloaded(id) {
                cursor.at = Some(id);
                return Some(id);
            }
            // The cursor is there still.
            if stop == Some(place) {
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
        skip_empty_passes(cursor, scene);
        last_pass = cursor.current <= cursor.gcd;
        if last_pass && restarted {
            stop = start;
        }
        from = 0;
    }
}

/// Lowers the current weight as far as passes would that nobody's weight ends, the last one excepted. Without it a
/// weight of two billion beside a weight of one could cost two billion passes.
fn skip_empty_passes<L: Loads>(cursor: &mut Cursor, scene: &PickContext<'_, L>) {
    let greatest = scene.available().map(|c| i64::from(c.destination.weight)).max().unwrap_or(0);
    let passes = (cursor.current - greatest).max(0) / cursor.gcd;
    cursor.current -= cursor.gcd * passes.min((cursor.current - 1) / cursor.gcd);
}

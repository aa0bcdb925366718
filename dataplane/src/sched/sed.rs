//! Shortest expected delay: the fewest active connections per weight, counting the new one. Spec 3.5.

use super::{Candidate, Load, wlc};
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    wlc::least(available, delay).map(|c| c.id)
}

fn delay(load: Load) -> i32 {
    (load.active as i32).wrapping_add(1)
}

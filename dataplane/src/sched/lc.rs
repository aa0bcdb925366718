//! Least connections: the available destination with the smallest overhead; the first of equals. Spec 3.3.

use super::{Candidate, Load};
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    // `overhead` has a sign, and the first of equals is what `min_by_key` gives.
    available.min_by_key(|c| Load::overhead(c.load)).map(|c| c.id)
}

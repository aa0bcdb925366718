//! Least connections: the available destination with the least overhead; among equals the first. Spec 3.3.

use super::{Candidate, Load};
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    available.min_by_key(|c| Load::overhead(c.load)).map(|c| c.id)
}

//! Least connections: the usable destination with the smallest overhead; the first of equals. Spec 3.3.

use super::Candidate;
use crate::service::DestinationId;

/// Chooses among all candidates.
pub fn pick<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    candidates.filter(Candidate::is_available).min_by_key(|c| c.load.overhead()).map(|c| c.id)
}

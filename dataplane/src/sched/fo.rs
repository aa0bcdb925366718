//! Failover: the heaviest available destination; the first of equals. Spec 3.7.

use super::Candidate;
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    let weight = |c: &Candidate<'_>| c.destination.weight;
    available.reduce(|most, c| if weight(&c) > weight(&most) { c } else { most }).map(|c| c.id)
}

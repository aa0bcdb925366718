//! Weighted failover: the available destination with the highest weight; among equals the first. Spec 3.7.

use super::Candidate;
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    let weight = |c: &Candidate<'_>| c.destination.weight;
    available.reduce(|heaviest, c| if weight(&c) > weight(&heaviest) { c } else { heaviest }).map(|c| c.id)
}

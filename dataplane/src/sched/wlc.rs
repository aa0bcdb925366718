//! Weighted least connections: the smallest overhead per weight; the first of equals. Spec 3.4.

use super::Candidate;
use crate::service::DestinationId;

/// Chooses among all candidates.
pub fn pick<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    let weight = |c: &Candidate<'_>| u128::from(c.destination.weight);
    let overhead = |c: &Candidate<'_>| u128::from(c.load.overhead());
    candidates
        .filter(Candidate::is_available)
        // Fractions are compared by cross multiplication; only a strictly smaller one takes over.
        .reduce(
            |least, c| if overhead(&least) * weight(&c) > overhead(&c) * weight(&least) { c } else { least },
        )
        .map(|c| c.id)
}

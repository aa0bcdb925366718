//! Weighted least connections: the least overhead per weight; among equals the first. Spec 3.4.

use super::{Candidate, Load};
use crate::service::DestinationId;

/// Chooses among the available destinations.
pub fn pick<'a>(available: impl Iterator<Item = Candidate<'a>>) -> Option<DestinationId> {
    least(available, Load::overhead).map(|c| c.id)
}

/// The candidate with the least overhead per weight.
pub fn least<'a>(
    available: impl Iterator<Item = Candidate<'a>>,
    overhead: impl Fn(Load) -> i32,
) -> Option<Candidate<'a>> {
    available.reduce(|least, c| if exceeds(&least, &c, &overhead) { c } else { least })
}

/// Whether `a` has more overhead per weight than `b`. Fractions are compared by cross multiplication.
pub fn exceeds(a: &Candidate<'_>, b: &Candidate<'_>, overhead: impl Fn(Load) -> i32) -> bool {
    let product = |over: &Candidate<'_>, weigh: &Candidate<'_>| {
        i64::from(overhead(over.load)) * i64::from(weigh.destination.weight)
    };
    product(a, b) > product(b, a)
}

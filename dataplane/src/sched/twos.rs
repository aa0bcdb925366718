//! The power of two choices: two random destinations, drawn by weight, and the better of them. Spec 3.13.

use super::{Candidate, Load};
use crate::service::DestinationId;

/// Where draws come from: SplitMix64 (Steele, Lea and Flood). Nobody gains by foreseeing it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draws(pub u64);

impl Draws {
    /// A number of `0..=most`; the bias of the multiplication is beyond notice for sums of weights.
    pub fn draw(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * (u128::from(most) + 1)) >> 64) as u64
    }
}

/// Draws twice, then chooses the one with less overhead per weight; the first of equals.
pub fn pick<'a>(
    available: impl Iterator<Item = Candidate<'a>> + Clone,
    mut draw: impl FnMut(u64) -> u64,
) -> Option<DestinationId> {
    let total: u64 = available.clone().map(|c| u64::from(c.destination.weight)).sum();
    let (first, second) = (draw(total), draw(total));
    let (first, second) = (reached(available.clone(), first)?, reached(available, second)?);
    // 32 bits as in IPVS: heavy products wrap.
    let product = |weigh: &Candidate<'_>, over: &Candidate<'_>| {
        (weigh.destination.weight as i32).wrapping_mul(Load::overhead(over.load))
    };
    Some(if product(&second, &first) > product(&first, &second) { second.id } else { first.id })
}

/// The destination at which the weights so far reach `drawn`. The last one, should one have become overloaded
/// since the weights were summed up.
fn reached<'a>(available: impl Iterator<Item = Candidate<'a>>, drawn: u64) -> Option<Candidate<'a>> {
    let mut sum = 0;
    let mut last = None;
    for candidate in available {
        sum += u64::from(candidate.destination.weight);
        last = Some(candidate);
        if sum >= drawn {
            break;
        }
    }
    last
}

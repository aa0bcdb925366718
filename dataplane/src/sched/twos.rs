//! Power of two choices: draws two random destinations by weight and takes the less loaded one. Spec 3.13.

use super::{Candidate, Load};
use crate::service::DestinationId;

/// Random numbers from SplitMix64 (Steele, Lea and Flood). They need not be unpredictable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random(pub u64);

impl Random {
    /// A number in `0..=max`. The bias of the multiplication is negligible for sums of weights.
    pub fn draw(&mut self, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * (u128::from(max) + 1)) >> 64) as u64
    }
}

/// Draws twice and chooses the destination with less overhead per weight; among equals the first.
pub fn pick<'a>(
    available: impl Iterator<Item = Candidate<'a>> + Clone,
    mut draw: impl FnMut(u64) -> u64,
) -> Option<DestinationId> {
    let total: u64 = available.clone().map(|c| u64::from(c.destination.weight)).sum();
    let (first, second) = (draw(total), draw(total));
    let (first, second) = (at_weight(available.clone(), first)?, at_weight(available, second)?);
    // 32 bits, so that large products wrap as in IPVS.
    let product = |weigh: &Candidate<'_>, over: &Candidate<'_>| {
        (weigh.destination.weight as i32).wrapping_mul(Load::overhead(over.load))
    };
    Some(if product(&second, &first) > product(&first, &second) { second.id } else { first.id })
}

/// The destination at which the running sum of weights reaches `drawn`; the last one if a destination has become
/// overloaded since the total was computed.
fn at_weight<'a>(available: impl Iterator<Item = Candidate<'a>>, drawn: u64) -> Option<Candidate<'a>> {
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

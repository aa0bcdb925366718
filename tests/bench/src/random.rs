//! Pseudo-random numbers that are the same in every run, and Zipf's law.

/// The generator xorshift64*.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts with a seed other than 0.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// Returns any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        (((self.any() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// Returns a number from 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.any() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks from 1 by Zipf's law with exponent 1, by rejection-inversion (Hörmann and Derflinger, 1996).
struct Zipf {
    ranks: f64,
    low: f64,
    high: f64,
    sure: f64,
}

impl Zipf {
    fn new(ranks: u32) -> Zipf {
        let ranks = f64::from(ranks);
        Zipf {
            ranks,
            low: 1.5_f64.ln() - 1.0,
            high: (ranks + 0.5).ln(),
            sure: 2.0 - (2.5_f64.ln() - 0.5).exp(),
        }
    }

    fn rank(&self, random: &mut Random) -> u32 {
        loop {
            let area = self.high + random.unit() * (self.low - self.high);
            let x = area.exp();
            let rank = (x + 0.5).floor().clamp(1.0, self.ranks);
            if rank - x <= self.sure || area >= (rank + 0.5).ln() - 1.0 / rank {
                return rank as u32;
            }
        }
    }
}

/// Returns `count` flows out of `flows`, distributed by Zipf's law. Ranks are assigned to flows in steps of a prime.
pub fn zipf(flows: u32, count: usize, seed: u64) -> Vec<u32> {
    // A prime above any number of flows in use, so that every flow has one rank.
    const STEP: u64 = 2_654_435_761;
    let (law, mut random) = (Zipf::new(flows), Random::new(seed));
    let flow = |rank: u32| (u64::from(rank) * STEP % u64::from(flows)) as u32;
    (0..count).map(|_| flow(law.rank(&mut random))).collect()
}

/// Returns all flows in random order, the same for the same seed.
pub fn shuffled(flows: u32, seed: u64) -> Vec<u32> {
    let (mut order, mut random): (Vec<u32>, _) = ((0..flows).collect(), Random::new(seed));
    for place in (1..flows).rev() {
        order.swap(place as usize, random.below(place + 1) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_halves_from_the_first_to_the_second() {
        let (law, mut random) = (Zipf::new(1000), Random::new(7));
        let mut seen = [0_u32; 1001];
        (0..100_000).for_each(|_| seen[law.rank(&mut random) as usize] += 1);
        // The first has 1 / H(1000) of all, 13.4 %.
        assert!((13_000..13_800).contains(&seen[1]), "{}", seen[1]);
        assert!((6_400..7_000).contains(&seen[2]), "{}", seen[2]);
        assert!(seen[901..].iter().sum::<u32>() > 1000, "rare ones are seen too");
    }

    #[test]
    fn a_shuffle_keeps_all() {
        let mut order = shuffled(1000, 3);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert!(order.iter().enumerate().all(|(place, &flow)| place == flow as usize));
    }
}

//! A histogram of delays, with an error of at most 3 %.

use serde_json::{Value, json};

const STEPS: u32 = 5;

/// Counts of delays, 32 steps per power of two of nanoseconds.
pub struct Histogram {
    counts: Box<[u64]>,
    least: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; 64 << STEPS].into(), least: u64::MAX, most: 0 }
    }
}

impl Histogram {
    /// Counts a delay, in nanoseconds.
    #[inline]
    pub fn add(&mut self, nanos: u64) {
        self.counts[place(nanos)] += 1;
        self.least = self.least.min(nanos);
        self.most = self.most.max(nanos);
    }

    /// Returns the delay at a quantile.
    pub fn quantile(&self, part: f64) -> u64 {
        let all: u64 = self.counts.iter().sum();
        let wanted = (all as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return upper(place).min(self.most);
            }
        }
        self.most
    }

    /// Returns the longest delay.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Returns minimum, median, two high quantiles and maximum, in nanoseconds.
    pub fn summary(&self) -> Summary {
        let least = if self.most == 0 && self.least == u64::MAX { 0 } else { self.least };
        Summary {
            least,
            p50: self.quantile(0.5),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            most: self.most,
        }
    }
}

/// Summary of delays, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Minimum.
    pub least: u64,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Maximum.
    pub most: u64,
}

impl Summary {
    /// JSON for the result file.
    pub fn json(&self) -> Value {
        json!({ "min": self.least, "p50": self.p50, "p99": self.p99, "p99.9": self.p999, "max": self.most })
    }
}

fn place(nanos: u64) -> usize {
    if nanos < 1 << STEPS {
        return nanos as usize;
    }
    let power = nanos.ilog2() - STEPS;
    // The leading bit gives the power of two.
    (((power + 1) << STEPS) as u64 + (nanos >> power) - (1 << STEPS)) as usize
}

/// Returns the longest delay that falls into a slot.
fn upper(place: usize) -> u64 {
    let (power, step) = (place >> STEPS, (place & ((1 << STEPS) - 1)) as u64);
    match power {
        0 => step,
        _ => (((1 << STEPS) + step + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delay_is_in_its_place() {
        for nanos in (0..5000).chain([1 << 20, (1 << 20) + 1, 123_456_789, u64::MAX >> 2]) {
            let place = place(nanos);
            assert!(upper(place) >= nanos && upper(place) <= nanos + nanos / 32, "{nanos} {}", upper(place));
            assert!(place == 0 || upper(place - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|nanos| histogram.add(nanos));
        let summary = histogram.summary();
        assert_eq!((summary.least, summary.most), (1, 1000));
        assert!((500..=516).contains(&summary.p50) && (990..=1000).contains(&summary.p99), "{summary:?}");
    }
}

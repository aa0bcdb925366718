//! The estimator of IPVS: shown counters and rates; spec 2.7.
//!
//! Every two seconds the counters are sampled: the sample is shown, and moving averages of the growth are updated.

mod estimators;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use estimators::Estimators;

use crate::api::view::{Rates, Stats};

/// Interval between samples.
pub const PERIOD: Duration = Duration::from_secs(2);

/// Counters of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Count up to now.
    pub live: Stats,
    /// Count at the last sample, minus the count when the counters were zeroed.
    pub shown: Stats,
    /// Growth per second.
    pub rates: Rates,
}

/// Counters of one destination, one service, or the total.
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    live: Stats,
    /// Count at the last sample.
    sampled: Stats,
    /// Count when the counters were zeroed.
    zero: Stats,
    /// Connections, packets in and out: 1024 times the growth per second.
    counts: [Average; 3],
    /// Bytes in and out: 32 times the growth per second.
    bytes: [Average; 2],
}

impl Estimator {
    /// Adds to the count.
    pub fn add(&mut self, more: Stats) {
        self.live = self.live.plus(more);
    }

    /// Takes a sample, two seconds after the last one.
    pub fn sample(&mut self) {
        let grown = self.live.minus(self.sampled);
        for (average, grown) in
            self.counts.iter_mut().zip([grown.connections, grown.in_packets, grown.out_packets])
        {
            average.update(grown, 9);
        }
        for (average, grown) in self.bytes.iter_mut().zip([grown.in_bytes, grown.out_bytes]) {
            average.update(grown, 4);
        }
        self.sampled = self.live;
    }

    /// Zeroes the shown counters and the rates.
    pub fn zero(&mut self) {
        self.zero = self.sampled;
        self.counts = Default::default();
        self.bytes = Default::default();
    }

    /// Returns the counters and rates.
    pub fn estimate(&self) -> Estimate {
        let [connections, in_packets, out_packets] = self.counts.map(|average| average.per_second(10));
        let [in_bytes, out_bytes] = self.bytes.map(|average| average.per_second(5));
        Estimate {
            live: self.live,
            shown: self.sampled.minus(self.zero),
            rates: Rates { connections, in_packets, out_packets, in_bytes, out_bytes },
        }
    }
}

/// Exponentially weighted moving average with weight 1/4, in fixed point.
#[derive(Clone, Copy, Debug, Default)]
struct Average(i64);

impl Average {
    /// Adds a sample of two seconds: one bit of fraction less than the average, which is per second.
    fn update(&mut self, grown: u64, bits: u32) {
        let now = grown.cast_signed().wrapping_shl(bits);
        self.0 = self.0.wrapping_add(now.wrapping_sub(self.0) >> 2);
    }

    /// Returns the rate per second, rounded as in IPVS.
    fn per_second(self, bits: u32) -> u64 {
        let almost_half = (1 << (bits - 1)) - 1;
        (self.0.wrapping_add(almost_half) >> bits).cast_unsigned()
    }
}

//! Counters as IPVS shows them, and how fast they grow; spec 2.7.
//!
//! Every two seconds what was counted so far becomes what is shown, and an average of the growth is moved on.

mod estimators;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use estimators::Estimators;

use crate::api::view::{Rates, Stats};

/// How often estimators look.
pub const PERIOD: Duration = Duration::from_secs(2);

/// What is shown of one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Counted until now, since it began.
    pub live: Stats,
    /// Counted until the last look, since the zero point.
    pub shown: Stats,
    /// Growth by the second.
    pub rates: Rates,
}

/// The counters of one destination, one service, or everything.
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    live: Stats,
    /// As of the last look.
    seen: Stats,
    /// Where zero is.
    zero: Stats,
    /// Connections, packets in and out: 1024 times the growth by the second.
    counts: [Average; 3],
    /// Bytes in and out: 32 times the growth by the second.
    bytes: [Average; 2],
}

impl Estimator {
    /// Counts more.
    pub fn add(&mut self, more: Stats) {
        self.live = self.live.plus(more);
    }

    /// Looks: what was counted is shown from now on. Two seconds have passed since the last look.
    pub fn look(&mut self) {
        let grown = self.live.minus(self.seen);
        for (average, grown) in
            self.counts.iter_mut().zip([grown.connections, grown.in_packets, grown.out_packets])
        {
            average.move_on(grown, 9);
        }
        for (average, grown) in self.bytes.iter_mut().zip([grown.in_bytes, grown.out_bytes]) {
            average.move_on(grown, 4);
        }
        self.seen = self.live;
    }

    /// Makes what is shown zero, and the rates.
    pub fn zero(&mut self) {
        self.zero = self.seen;
        self.counts = Default::default();
        self.bytes = Default::default();
    }

    /// What is shown.
    pub fn counted(&self) -> Counted {
        let [connections, in_packets, out_packets] = self.counts.map(|average| average.by_second(10));
        let [in_bytes, out_bytes] = self.bytes.map(|average| average.by_second(5));
        Counted {
            live: self.live,
            shown: self.seen.minus(self.zero),
            rates: Rates { connections, in_packets, out_packets, in_bytes, out_bytes },
        }
    }
}

/// An average that moves a quarter of the way with each look, in fixed point.
#[derive(Clone, Copy, Debug, Default)]
struct Average(i64);

impl Average {
    /// `bits` of fraction make half of what was counted in two seconds: that is by the second, and one bit less.
    fn move_on(&mut self, grown: u64, bits: u32) {
        let now = grown.cast_signed().wrapping_shl(bits);
        self.0 = self.0.wrapping_add(now.wrapping_sub(self.0) >> 2);
    }

    /// Rounded up unless the fraction is nearly nothing, as IPVS does.
    fn by_second(self, bits: u32) -> u64 {
        let almost_half = (1 << (bits - 1)) - 1;
        (self.0.wrapping_add(almost_half) >> bits).cast_unsigned()
    }
}

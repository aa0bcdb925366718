//! Points in time and durations.

use std::time::Duration;

/// A point in time: milliseconds since the worker's clock started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// A duration in milliseconds, at most 49 days. The longest persistence is 31 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u32);

impl Tick {
    /// The point in time `wait` later.
    #[inline(always)]
    pub fn after(self, wait: Millis) -> Tick {
        Tick(self.0 + u64::from(wait.0))
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Tick) -> Millis {
        Millis(u32::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(u32::MAX))
    }
}

impl Millis {
    /// From seconds.
    pub const fn from_secs(secs: u32) -> Millis {
        Millis(secs.saturating_mul(1000))
    }

    /// Whole seconds, rounded down as IPVS prints them.
    pub const fn as_secs(self) -> u32 {
        self.0 / 1000
    }
}

impl From<Millis> for Duration {
    fn from(span: Millis) -> Duration {
        Duration::from_millis(u64::from(span.0))
    }
}

/// The clock of a worker: the time stamp counter with DPDK, a number in tests.
pub trait Clock: Send + 'static {
    /// Milliseconds since the clock started. Monotonic.
    fn now(&mut self) -> Tick;

    /// A counter of processor cycles, for accounting; any monotonic number if there is none.
    fn cycles(&self) -> u64;
}

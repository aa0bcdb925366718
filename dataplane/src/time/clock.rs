//! Points in time and spans of it.

use std::time::Duration;

/// A point in time: milliseconds since the worker's clock began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// A span of time in milliseconds; 31 days, the longest persistence, fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u32);

impl Tick {
    /// The point `wait` later.
    #[inline(always)]
    pub fn after(self, wait: Millis) -> Tick {
        Tick(self.0 + u64::from(wait.0))
    }

    /// How long before `self` the point `earlier` was; zero when it was not.
    pub fn since(self, earlier: Tick) -> Millis {
        Millis(u32::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(u32::MAX))
    }
}

impl Millis {
    /// A span given in seconds, at most 49 days.
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

/// Where a worker reads the time; on DPDK the time stamp counter, in tests a number.
pub trait Clock: Send + 'static {
    /// Milliseconds since the clock began; never goes back.
    fn now(&mut self) -> Tick;

    /// A counter of processor cycles for accounting; any monotonic number will do where there is none.
    fn cycles(&self) -> u64;
}

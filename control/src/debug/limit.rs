//! How many debug events are told: failures at the kernel's pace, all others as many as can be read.

use std::time::Duration;

/// Lines told in a second, of all sites together.
pub const A_SECOND: u32 = 1000;
/// Lines of one site of level 0 in [`FAILURE_SPAN`]: what `net_ratelimit` has in Linux.
pub const FAILURES: u32 = 10;
/// See [`FAILURES`].
pub const FAILURE_SPAN: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// A number of lines in a span of time.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Duration,
    told: u32,
}

impl Window {
    fn allows(&mut self, most: u32, span: Duration, now: Duration) -> bool {
        if self.told == 0 || now.saturating_sub(self.began) >= span {
            *self = Window { began: now, told: 0 };
        }
        self.told += u32::from(self.told < most + 1);
        self.told <= most
    }
}

/// What was told lately.
#[derive(Debug)]
pub struct Limit {
    all: Window,
    /// By site; only those of level 0 are counted.
    failures: Vec<Window>,
    suppressed: u64,
    said: Duration,
}

impl Limit {
    /// A limit for so many sites.
    pub fn new(sites: usize) -> Limit {
        Limit {
            all: Window::default(),
            failures: vec![Window::default(); sites],
            suppressed: 0,
            said: Duration::ZERO,
        }
    }

    /// Whether a site of this level may tell an event now; if not it is counted.
    pub fn allows(&mut self, site: usize, level: u8, now: Duration) -> bool {
        let failure = level == 0
            && self.failures.get_mut(site).is_some_and(|window| !window.allows(FAILURES, FAILURE_SPAN, now));
        let allowed = !failure && self.all.allows(A_SECOND, SECOND, now);
        self.suppressed += u64::from(!allowed);
        allowed
    }

    /// How many were suppressed, once a second at most and only if any were.
    pub fn suppressed(&mut self, now: Duration) -> Option<u64> {
        if self.suppressed == 0 || !self.is_second(now) {
            return None;
        }
        self.said = now;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Whether the last summary is a second old.
    pub fn is_second(&self, now: Duration) -> bool {
        now.saturating_sub(self.said) >= SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(limit: &mut Limit, level: u8, count: u32, now: Duration) -> usize {
        (0..count).filter(|_| limit.allows(0, level, now)).count()
    }

    #[test]
    fn failures_come_at_the_kernels_pace() {
        let mut limit = Limit::new(2);
        assert_eq!(told(&mut limit, 0, 100, SECOND), 10);
        assert!(limit.allows(1, 0, SECOND), "another site has a window of its own");
        assert_eq!(limit.suppressed(SECOND), Some(90));
        assert_eq!(told(&mut limit, 0, 100, SECOND * 5), 0);
        assert_eq!(told(&mut limit, 0, 100, SECOND * 6), 10);
    }

    #[test]
    fn the_rest_is_a_thousand_a_second_and_what_is_left_out_is_counted_once() {
        let mut limit = Limit::new(1);
        assert_eq!(told(&mut limit, 6, 2500, SECOND), 1000);
        assert_eq!(limit.suppressed(SECOND), Some(1500));
        assert_eq!(limit.suppressed(SECOND * 3), None);
        assert_eq!(told(&mut limit, 6, 999, SECOND * 3), 999);
    }

    #[test]
    fn a_summary_comes_once_a_second() {
        let mut limit = Limit::new(1);
        told(&mut limit, 6, 1001, SECOND);
        assert_eq!(limit.suppressed(SECOND), Some(1));
        told(&mut limit, 6, 5, SECOND);
        assert_eq!(limit.suppressed(SECOND + SECOND / 2), None);
        assert_eq!(limit.suppressed(SECOND * 2), Some(5));
    }
}

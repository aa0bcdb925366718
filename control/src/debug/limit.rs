//! Rate limits of debug events: for failures that of the kernel, and one for all events together.

use std::time::Duration;

/// Lines per second, all sites together.
pub const MAX_PER_SECOND: u32 = 1000;
/// Lines of one site of level 0 in [`FAILURE_SPAN`], as `net_ratelimit` in Linux.
pub const MAX_FAILURES: u32 = 10;
/// See [`MAX_FAILURES`].
pub const FAILURE_SPAN: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

/// Lines counted in an interval.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Duration,
    lines: u32,
}

impl Window {
    fn allows(&mut self, max: u32, span: Duration, now: Duration) -> bool {
        if self.lines == 0 || now.saturating_sub(self.began) >= span {
            *self = Window { began: now, lines: 0 };
        }
        self.lines += u32::from(self.lines < max + 1);
        self.lines <= max
    }
}

/// State of the rate limits.
#[derive(Debug)]
pub struct RateLimiter {
    all: Window,
    /// By site; used only for sites of level 0.
    failures: Vec<Window>,
    suppressed: u64,
    reported: Duration,
}

impl RateLimiter {
    /// Creates the limits for this number of sites.
    pub fn new(sites: usize) -> RateLimiter {
        RateLimiter {
            all: Window::default(),
            failures: vec![Window::default(); sites],
            suppressed: 0,
            reported: Duration::ZERO,
        }
    }

    /// Returns true if a site of this level may write a line now. Otherwise the line is counted.
    pub fn allows(&mut self, site: usize, level: u8, now: Duration) -> bool {
        let failure = level == 0
            && self
                .failures
                .get_mut(site)
                .is_some_and(|window| !window.allows(MAX_FAILURES, FAILURE_SPAN, now));
        let allowed = !failure && self.all.allows(MAX_PER_SECOND, SECOND, now);
        self.suppressed += u64::from(!allowed);
        allowed
    }

    /// Returns the number of suppressed lines, at most once a second and only if there are any.
    pub fn suppressed(&mut self, now: Duration) -> Option<u64> {
        if self.suppressed == 0 || !self.is_second(now) {
            return None;
        }
        self.reported = now;
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Returns true if the last report is at least a second old.
    pub fn is_second(&self, now: Duration) -> bool {
        now.saturating_sub(self.reported) >= SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(limit: &mut RateLimiter, level: u8, count: u32, now: Duration) -> usize {
        (0..count).filter(|_| limit.allows(0, level, now)).count()
    }

    #[test]
    fn failures_have_the_kernels_rate_limit() {
        let mut limit = RateLimiter::new(2);
        assert_eq!(allowed(&mut limit, 0, 100, SECOND), 10);
        assert!(limit.allows(1, 0, SECOND), "another site has a window of its own");
        assert_eq!(limit.suppressed(SECOND), Some(90));
        assert_eq!(allowed(&mut limit, 0, 100, SECOND * 5), 0);
        assert_eq!(allowed(&mut limit, 0, 100, SECOND * 6), 10);
    }

    #[test]
    fn other_events_are_limited_to_a_thousand_a_second() {
        let mut limit = RateLimiter::new(1);
        assert_eq!(allowed(&mut limit, 6, 2500, SECOND), 1000);
        assert_eq!(limit.suppressed(SECOND), Some(1500));
        assert_eq!(limit.suppressed(SECOND * 3), None);
        assert_eq!(allowed(&mut limit, 6, 999, SECOND * 3), 999);
    }

    #[test]
    fn suppressed_events_are_reported_once_a_second() {
        let mut limit = RateLimiter::new(1);
        allowed(&mut limit, 6, 1001, SECOND);
        assert_eq!(limit.suppressed(SECOND), Some(1));
        allowed(&mut limit, 6, 5, SECOND);
        assert_eq!(limit.suppressed(SECOND + SECOND / 2), None);
        assert_eq!(limit.suppressed(SECOND * 2), Some(5));
    }
}

//! The idle policy: what a worker does after a poll iteration without packets. Only the decision is here, so it needs
//! neither a clock nor a device. After any packet the worker polls at full speed again.

use std::time::Duration;

/// Empty iterations at full speed, in case more packets follow at once.
const BUSY_POLLS: u32 = 64;
/// Empty iterations before the first sleep, the first [`BUSY_POLLS`] of them without a pause. That is about 1 ms, so a
/// request-response exchange with short round trips never waits for a sleep to end.
const PAUSE_POLLS: u32 = 1024;
/// The first sleep; each one after it is twice as long.
const FIRST_SLEEP: Duration = Duration::from_micros(10);

/// Behaviour of a worker when no packets arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Polls at full speed.
    #[default]
    Busy,
    /// Pauses the processor between polls.
    Pause,
    /// Pauses, then sleeps for a time.
    Sleep,
    /// Pauses, then sleeps for a time or until a device raises an interrupt.
    Interrupt,
}

/// How a worker idles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleConfig {
    /// Idle mode.
    pub mode: Mode,
    /// The longest sleep.
    pub max_sleep: Duration,
}

/// Action before the next poll iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: poll at once.
    Poll,
    /// Pause the processor for about a microsecond.
    Pause,
    /// Sleep for this long, or until an interrupt.
    Sleep(Duration),
}

/// Counts empty iterations and decides what follows.
#[derive(Clone, Copy, Debug)]
pub struct IdlePolicy {
    config: IdleConfig,
    /// Empty iterations since the last packet.
    empty: u32,
    /// The next sleep.
    sleep: Duration,
}

impl IdlePolicy {
    /// A policy that starts at full speed.
    pub fn new(config: IdleConfig) -> IdlePolicy {
        IdlePolicy { config, empty: 0, sleep: FIRST_SLEEP.min(config.max_sleep) }
    }

    /// Returns to full speed, after a packet or a command.
    pub fn reset(&mut self) {
        *self = IdlePolicy::new(self.config);
    }

    /// Decides what follows another empty iteration.
    pub fn step(&mut self) -> Step {
        self.empty = self.empty.saturating_add(1);
        match self.config.mode {
            Mode::Busy => Step::Poll,
            _ if self.empty <= BUSY_POLLS => Step::Poll,
            Mode::Pause => Step::Pause,
            _ if self.empty <= PAUSE_POLLS => Step::Pause,
            Mode::Sleep | Mode::Interrupt => Step::Sleep(self.next_sleep()),
        }
    }

    /// Whether interrupts end a sleep.
    pub fn uses_interrupts(&self) -> bool {
        self.config.mode == Mode::Interrupt
    }

    fn next_sleep(&mut self) -> Duration {
        let sleep = self.sleep;
        self.sleep = sleep.saturating_mul(2).min(self.config.max_sleep);
        sleep
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    /// The steps after this many empty iterations, run-length encoded.
    fn runs(mode: Mode, max_sleep: u64, polls: u32) -> Vec<(Step, u32)> {
        let mut policy = IdlePolicy::new(IdleConfig { mode, max_sleep: micros(max_sleep) });
        let mut runs: Vec<(Step, u32)> = Vec::new();
        for step in (0..polls).map(|_| policy.step()) {
            match runs.last_mut() {
                Some((last, count)) if *last == step => *count += 1,
                _ => runs.push((step, 1)),
            }
        }
        runs
    }

    #[test]
    fn each_mode_steps_down_as_documented() {
        let (busy, pauses) = ((Step::Poll, BUSY_POLLS), (Step::Pause, PAUSE_POLLS - BUSY_POLLS));
        assert_eq!(runs(Mode::Busy, 100, 5000), [(Step::Poll, 5000)]);
        assert_eq!(runs(Mode::Pause, 100, 5000), [busy, (Step::Pause, 5000 - BUSY_POLLS)]);
        let sleeps = [10, 20, 40, 80].map(|sleep| (Step::Sleep(micros(sleep)), 1));
        for mode in [Mode::Sleep, Mode::Interrupt] {
            let expected: Vec<_> =
                [busy, pauses].into_iter().chain(sleeps).chain([(Step::Sleep(micros(100)), 6)]).collect();
            assert_eq!(runs(mode, 100, PAUSE_POLLS + 10), expected);
        }
        assert_eq!(runs(Mode::Sleep, 3, PAUSE_POLLS + 10)[2..], [(Step::Sleep(micros(3)), 10)]);
    }

    #[test]
    fn the_counter_of_empty_iterations_saturates() {
        let mut policy = IdlePolicy::new(IdleConfig { mode: Mode::Sleep, max_sleep: micros(100) });
        policy.empty = u32::MAX - 1;
        assert!((0..3).all(|_| matches!(policy.step(), Step::Sleep(_))));
    }

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Busy), Just(Mode::Pause), Just(Mode::Sleep), Just(Mode::Interrupt)]
    }

    proptest! {
        #[test]
        fn a_packet_ends_idling_and_no_sleep_exceeds_the_maximum(
            mode in mode(), max_sleep in 1_u64..20_000, empty_runs in proptest::collection::vec(0_u32..2000, 1..20),
        ) {
            let max_sleep = micros(max_sleep);
            let mut policy = IdlePolicy::new(IdleConfig { mode, max_sleep });
            for length in empty_runs {
                let mut previous = Duration::ZERO;
                for poll in 0..length {
                    let step = policy.step();
                    if poll < BUSY_POLLS || mode == Mode::Busy {
                        prop_assert_eq!(step, Step::Poll, "back to full speed at once");
                    }
                    if let Step::Sleep(sleep) = step {
                        prop_assert!(mode != Mode::Pause && poll >= PAUSE_POLLS);
                        prop_assert!(sleep <= max_sleep && sleep >= previous && !sleep.is_zero());
                        previous = sleep;
                    }
                }
                policy.reset();
            }
        }
    }
}

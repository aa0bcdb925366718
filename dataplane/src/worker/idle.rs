//! How long a worker rests when nothing comes: the decision alone, without a clock or a device. Whatever it is, a worker
//! that has just moved a packet turns on at full speed.

use std::time::Duration;

/// Empty turns at full speed, in case more follows at once.
const BUSY_POLLS: u32 = 64;
/// Empty turns, with a pause before each of the later ones, before the first nap: about a millisecond, so that somebody
/// who waits for an answer before asking on does not wait for a nap each time.
const PAUSE_POLLS: u32 = 1024;
/// The first nap; each that follows is twice as long.
const FIRST_SLEEP: Duration = Duration::from_micros(10);

/// What a worker does when nothing comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It turns on.
    #[default]
    Busy,
    /// It lets the processor pause between turns.
    Pause,
    /// After pauses it takes naps.
    Sleep,
    /// The same, and devices that can wake it up.
    Interrupt,
}

/// How a worker is to rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdleConfig {
    /// In which way.
    pub mode: Mode,
    /// The longest nap.
    pub max_sleep: Duration,
}

/// What comes before the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Poll,
    /// A moment in which the processor does little.
    Pause,
    /// The thread sleeps for so long, or until a device wakes it up.
    Sleep(Duration),
}

/// How far a worker has come to rest.
#[derive(Clone, Copy, Debug)]
pub struct IdlePolicy {
    config: IdleConfig,
    empty: u32,
    sleep: Duration,
}

impl IdlePolicy {
    /// At the beginning, as after [`IdlePolicy::reset`].
    pub fn new(config: IdleConfig) -> IdlePolicy {
        IdlePolicy { config, empty: 0, sleep: FIRST_SLEEP.min(config.max_sleep) }
    }

    /// Something came.
    pub fn reset(&mut self) {
        *self = IdlePolicy::new(self.config);
    }

    /// What follows another turn that moved nothing.
    pub fn step(&mut self) -> Step {
        self.empty = self.empty.saturating_add(1);
        match self.config.mode {
            Mode::Busy => Step::Poll,
            _ if self.empty <= BUSY_POLLS => Step::Poll,
            Mode::Pause => Step::Pause,
            _ if self.empty <= PAUSE_POLLS => Step::Pause,
            Mode::Sleep | Mode::Interrupt => Step::Sleep(self.longer()),
        }
    }

    /// Whether devices are to wake the worker up.
    pub fn uses_interrupts(&self) -> bool {
        self.config.mode == Mode::Interrupt
    }

    fn longer(&mut self) -> Duration {
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

    /// The steps after so many empty turns in a row, as runs of equal ones.
    fn runs(mode: Mode, max_sleep: u64, turns: u32) -> Vec<(Step, u32)> {
        let mut idle_policy = IdlePolicy::new(IdleConfig { mode, max_sleep: micros(max_sleep) });
        let mut runs: Vec<(Step, u32)> = Vec::new();
        for step in (0..turns).map(|_| idle_policy.step()) {
            match runs.last_mut() {
                Some((last, count)) if *last == step => *count += 1,
                _ => runs.push((step, 1)),
            }
        }
        runs
    }

    #[test]
    fn each_mode_goes_its_way_to_rest() {
        let (eager, watchful) = ((Step::Poll, BUSY_POLLS), (Step::Pause, PAUSE_POLLS - BUSY_POLLS));
        assert_eq!(runs(Mode::Busy, 100, 5000), [(Step::Poll, 5000)]);
        assert_eq!(runs(Mode::Pause, 100, 5000), [eager, (Step::Pause, 5000 - BUSY_POLLS)]);
        let sleeps = [10, 20, 40, 80].map(|sleep| (Step::Sleep(micros(sleep)), 1));
        for mode in [Mode::Sleep, Mode::Interrupt] {
            let expected: Vec<_> =
                [eager, watchful].into_iter().chain(sleeps).chain([(Step::Sleep(micros(100)), 6)]).collect();
            assert_eq!(runs(mode, 100, PAUSE_POLLS + 10), expected);
        }
        assert_eq!(runs(Mode::Sleep, 3, PAUSE_POLLS + 10)[2..], [(Step::Sleep(micros(3)), 10)]);
    }

    #[test]
    fn empty_turns_without_end_are_counted_without_end() {
        let mut idle_policy = IdlePolicy::new(IdleConfig { mode: Mode::Sleep, max_sleep: micros(100) });
        idle_policy.empty = u32::MAX - 1;
        assert!((0..3).all(|_| matches!(idle_policy.step(), Step::Sleep(_))));
    }

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Busy), Just(Mode::Pause), Just(Mode::Sleep), Just(Mode::Interrupt)]
    }

    proptest! {
        /// Runs of empty turns, something coming after each.
        #[test]
        fn nobody_rests_while_packets_come_nor_too_long(
            mode in mode(), max_sleep in 1_u64..20_000, silences in proptest::collection::vec(0_u32..2000, 1..20),
        ) {
            let max_sleep = micros(max_sleep);
            let mut idle_policy = IdlePolicy::new(IdleConfig { mode, max_sleep });
            for silence in silences {
                let mut before = Duration::ZERO;
                for turn in 0..silence {
                    let step = idle_policy.step();
                    if turn < BUSY_POLLS || mode == Mode::Busy {
                        prop_assert_eq!(step, Step::Poll, "at once back to full speed");
                    }
                    if let Step::Sleep(sleep) = step {
                        prop_assert!(mode != Mode::Pause && turn >= PAUSE_POLLS);
                        prop_assert!(sleep <= max_sleep && sleep >= before && !sleep.is_zero());
                        before = sleep;
                    }
                }
                idle_policy.reset();
            }
        }
    }
}

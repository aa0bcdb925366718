//! How long a worker rests when nothing comes: the decision alone, without a clock or a device. Whatever it is, a worker
//! that has just moved a packet turns on at full speed.

use std::time::Duration;

/// Empty turns at full speed, in case more follows at once.
const EAGER: u32 = 64;
/// Empty turns, with a pause before each of the later ones, before the first nap: about a millisecond, so that somebody
/// who waits for an answer before asking on does not wait for a nap each time.
const WATCHFUL: u32 = 1024;
/// The first nap; each that follows is twice as long.
const FIRST_NAP: Duration = Duration::from_micros(10);

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
pub struct Rule {
    /// In which way.
    pub mode: Mode,
    /// The longest nap.
    pub longest: Duration,
}

/// What comes before the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Turn,
    /// A moment in which the processor does little.
    Pause,
    /// The thread sleeps for so long, or until a device wakes it up.
    Nap(Duration),
}

/// How far a worker has come to rest.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    rule: Rule,
    empty: u32,
    nap: Duration,
}

impl Rest {
    /// At the beginning, as after [`Rest::reset`].
    pub fn new(rule: Rule) -> Rest {
        Rest { rule, empty: 0, nap: FIRST_NAP.min(rule.longest) }
    }

    /// Something came.
    pub fn reset(&mut self) {
        *self = Rest::new(self.rule);
    }

    /// What follows another turn that moved nothing.
    pub fn step(&mut self) -> Step {
        self.empty = self.empty.saturating_add(1);
        match self.rule.mode {
            Mode::Busy => Step::Turn,
            _ if self.empty <= EAGER => Step::Turn,
            Mode::Pause => Step::Pause,
            _ if self.empty <= WATCHFUL => Step::Pause,
            Mode::Sleep | Mode::Interrupt => Step::Nap(self.longer()),
        }
    }

    /// Whether devices are to wake the worker up.
    pub fn listens(&self) -> bool {
        self.rule.mode == Mode::Interrupt
    }

    fn longer(&mut self) -> Duration {
        let nap = self.nap;
        self.nap = nap.saturating_mul(2).min(self.rule.longest);
        nap
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
    fn runs(mode: Mode, longest: u64, turns: u32) -> Vec<(Step, u32)> {
        let mut rest = Rest::new(Rule { mode, longest: micros(longest) });
        let mut runs: Vec<(Step, u32)> = Vec::new();
        for step in (0..turns).map(|_| rest.step()) {
            match runs.last_mut() {
                Some((last, count)) if *last == step => *count += 1,
                _ => runs.push((step, 1)),
            }
        }
        runs
    }

    #[test]
    fn each_mode_goes_its_way_to_rest() {
        let (eager, watchful) = ((Step::Turn, EAGER), (Step::Pause, WATCHFUL - EAGER));
        assert_eq!(runs(Mode::Busy, 100, 5000), [(Step::Turn, 5000)]);
        assert_eq!(runs(Mode::Pause, 100, 5000), [eager, (Step::Pause, 5000 - EAGER)]);
        let naps = [10, 20, 40, 80].map(|nap| (Step::Nap(micros(nap)), 1));
        for mode in [Mode::Sleep, Mode::Interrupt] {
            let expected: Vec<_> =
                [eager, watchful].into_iter().chain(naps).chain([(Step::Nap(micros(100)), 6)]).collect();
            assert_eq!(runs(mode, 100, WATCHFUL + 10), expected);
        }
        assert_eq!(runs(Mode::Sleep, 3, WATCHFUL + 10)[2..], [(Step::Nap(micros(3)), 10)]);
    }

    #[test]
    fn empty_turns_without_end_are_counted_without_end() {
        let mut rest = Rest::new(Rule { mode: Mode::Sleep, longest: micros(100) });
        rest.empty = u32::MAX - 1;
        assert!((0..3).all(|_| matches!(rest.step(), Step::Nap(_))));
    }

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Busy), Just(Mode::Pause), Just(Mode::Sleep), Just(Mode::Interrupt)]
    }

    proptest! {
        /// Runs of empty turns, something coming after each.
        #[test]
        fn nobody_rests_while_packets_come_nor_too_long(
            mode in mode(), longest in 1_u64..20_000, silences in proptest::collection::vec(0_u32..2000, 1..20),
        ) {
            let longest = micros(longest);
            let mut rest = Rest::new(Rule { mode, longest });
            for silence in silences {
                let mut before = Duration::ZERO;
                for turn in 0..silence {
                    let step = rest.step();
                    if turn < EAGER || mode == Mode::Busy {
                        prop_assert_eq!(step, Step::Turn, "at once back to full speed");
                    }
                    if let Step::Nap(nap) = step {
                        prop_assert!(mode != Mode::Pause && turn >= WATCHFUL);
                        prop_assert!(nap <= longest && nap >= before && !nap.is_zero());
                        before = nap;
                    }
                }
                rest.reset();
            }
        }
    }
}

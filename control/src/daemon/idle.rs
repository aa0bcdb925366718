//! How workers rest: what the command line and the configuration say, and what a thread needs for it.

use std::num::NonZeroU64;
use std::time::Duration;

use pollux_dataplane::worker::idle::{IdleConfig, Mode};

use crate::daemon::arguments::Options;
use crate::model::{Idle, Start};
use crate::say;

/// The rule for all workers: the command line goes before the configuration.
pub fn rule(options: &Options, start: &Start) -> IdleConfig {
    let mode = match options.idle.unwrap_or(start.idle) {
        Idle::Busy => Mode::Busy,
        Idle::Pause => Mode::Pause,
        Idle::Sleep => Mode::Sleep,
        Idle::Interrupt => Mode::Interrupt,
    };
    IdleConfig {
        mode,
        max_sleep: Duration::from_micros(options.max_sleep_us.unwrap_or(start.max_sleep_us).into()),
    }
}

/// Has naps of this thread end when they should: Linux adds up to 50 microseconds unless told otherwise.
pub fn be_punctual(rule: IdleConfig) {
    if matches!(rule.mode, Mode::Sleep | Mode::Interrupt)
        && let Err(why) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
    {
        say!(Warn, "naps of workers may be 50 microseconds longer than asked for: timer slack: {why}");
    }
}

/// Says how workers rest.
pub fn announce(rule: IdleConfig) {
    let max_sleep = rule.max_sleep.as_micros();
    let how = match rule.mode {
        Mode::Busy => return,
        Mode::Pause => "pause between looks".to_owned(),
        Mode::Sleep => format!("take naps of up to {max_sleep} microseconds"),
        Mode::Interrupt => {
            format!("take naps of up to {max_sleep} microseconds, which ports with interrupts end")
        }
    };
    say!(Info, "when no packet comes, workers {how}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_configuration() {
        let start = Start { idle: Idle::Sleep, max_sleep_us: 70, ..Start::default() };
        let rule_of = |line: &str| {
            let args = line.split(' ').map(str::to_owned);
            rule(&crate::daemon::arguments::parse(args).unwrap().options, &start)
        };
        let micros = Duration::from_micros;
        assert_eq!(rule_of("polluxd"), IdleConfig { mode: Mode::Sleep, max_sleep: micros(70) });
        let given = rule_of("polluxd --idle interrupt --max-sleep-us 500");
        assert_eq!(given, IdleConfig { mode: Mode::Interrupt, max_sleep: micros(500) });
        assert_eq!(rule_of("polluxd --idle busy").mode, Mode::Busy);
    }
}

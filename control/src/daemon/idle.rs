//! Idle mode of the workers, from command line and configuration.

use std::num::NonZeroU64;
use std::time::Duration;

use pollux_dataplane::worker::idle::{IdleConfig, Mode};

use crate::daemon::arguments::Options;
use crate::log;
use crate::model::{Idle, Start};

/// Returns the idle mode of all workers; the command line overrides the configuration.
pub fn config(options: &Options, start: &Start) -> IdleConfig {
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

/// Sets the timer slack of the calling thread to the minimum: by default Linux may prolong a sleep by 50 microseconds.
pub fn set_timer_slack(config: IdleConfig) {
    if matches!(config.mode, Mode::Sleep | Mode::Interrupt)
        && let Err(why) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
    {
        log!(
            Warn,
            "cannot set the timer slack: {why}; sleeps of this worker may be 50 microseconds too long"
        );
    }
}

/// Logs the idle mode, unless it is the default.
pub fn announce(config: IdleConfig) {
    let max_sleep = config.max_sleep.as_micros();
    let action = match config.mode {
        Mode::Busy => return,
        Mode::Pause => "pause between polls".to_owned(),
        Mode::Sleep => format!("sleep up to {max_sleep} microseconds"),
        Mode::Interrupt => format!("sleep up to {max_sleep} microseconds, or until a receive interrupt"),
    };
    log!(Info, "idle workers {action}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_overrides_the_configuration() {
        let start = Start { idle: Idle::Sleep, max_sleep_us: 70, ..Start::default() };
        let parsed = |line: &str| {
            let args = line.split(' ').map(str::to_owned);
            config(&crate::daemon::arguments::parse(args).unwrap().options, &start)
        };
        let micros = Duration::from_micros;
        assert_eq!(parsed("polluxd"), IdleConfig { mode: Mode::Sleep, max_sleep: micros(70) });
        let given = parsed("polluxd --idle interrupt --max-sleep-us 500");
        assert_eq!(given, IdleConfig { mode: Mode::Interrupt, max_sleep: micros(500) });
        assert_eq!(parsed("polluxd --idle busy").mode, Mode::Busy);
    }
}

//! The daemon's log: lines on standard error, which the service manager stores.

use std::fmt;
#[cfg(not(test))]
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use clap::ValueEnum;

/// Severity of a message, by the names of `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[repr(u8)]
pub enum Level {
    /// The daemon cannot continue, or not as configured.
    Error,
    /// A problem that an operator should look at.
    Warn,
    /// Normal operation.
    Info,
    /// Details for troubleshooting.
    Debug,
}

/// Lowest severity that is written. Global, like standard error itself.
static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Sets the lowest severity that is written.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

/// Returns true if messages of this level are written.
pub fn is_on(level: Level) -> bool {
    level as u8 <= LEVEL.load(Relaxed)
}

/// Writes a line if its level is on. Call it through [`log!`](crate::log!).
pub fn write(level: Level, text: fmt::Arguments<'_>) {
    if is_on(level) {
        line(text);
    }
}

/// Writes a message at any level. Failures are ignored, as they cannot be reported.
pub fn line(text: fmt::Arguments<'_>) {
    // In one call, so that lines of several threads do not mix.
    write_out(&prefixed(&text.to_string()));
}

#[cfg(not(test))]
fn write_out(lines: &str) {
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

/// The test harness captures this, so that the log does not mix with the results of tests.
#[cfg(test)]
fn write_out(lines: &str) {
    eprint!("{lines}");
}

/// Puts the name of the program before each line.
fn prefixed(text: &str) -> String {
    text.lines().map(|line| format!("polluxd: {line}\n")).collect()
}

/// Logs a message: `log!(Warn, "port {name} has no carrier")`.
#[macro_export]
macro_rules! log {
    ($level:ident, $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, format_args!($($text)+))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_message_has_the_prefix() {
        assert_eq!(prefixed("x applied\n+ service\n"), "polluxd: x applied\npolluxd: + service\n");
    }
}

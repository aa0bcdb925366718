//! Where the daemon's messages go: lines on standard error, which a service manager keeps.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// How much a message matters; the names of `--log-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The daemon cannot go on, or not as it was told to.
    Error,
    /// Something is wrong and an operator should look.
    Warn,
    /// What an operator expects to see.
    Info,
    /// What only helps to find a fault.
    Debug,
}

/// The least important messages that are written. One for the process, as there is one standard error.
static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Writes messages from now on down to this level.
pub fn set_level(least: Level) {
    LEAST.store(least as u8, Relaxed);
}

/// Whether messages of this level are written.
pub fn is_on(level: Level) -> bool {
    level as u8 <= LEAST.load(Relaxed)
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(name: &str) -> Result<Level, String> {
        match name {
            "error" => Ok(Level::Error),
            "warn" => Ok(Level::Warn),
            "info" => Ok(Level::Info),
            "debug" => Ok(Level::Debug),
            _ => Err(format!("{name:?} is no level; use error, warn, info or debug")),
        }
    }
}

/// Writes one line, if its level is on. [`say`] is the way to call this.
pub fn write(level: Level, text: fmt::Arguments<'_>) {
    if is_on(level) {
        line(text);
    }
}

/// Writes one line in any case. Nobody can be told when that fails.
pub fn line(text: fmt::Arguments<'_>) {
    // In one piece, so that lines of several threads do not mix.
    let _ = std::io::stderr().write_all(format!("polluxd: {text}\n").as_bytes());
}

/// Says something in the daemon's log: `say!(Warn, "port {name} has no carrier")`.
#[macro_export]
macro_rules! say {
    ($level:ident, $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, format_args!($($text)+))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order_and_have_names() {
        let levels: Vec<Level> =
            ["error", "warn", "info", "debug"].iter().map(|name| name.parse().unwrap()).collect();
        assert!(levels.is_sorted());
        assert!("loud".parse::<Level>().unwrap_err().contains("error, warn, info or debug"));
    }
}

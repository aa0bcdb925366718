//! Waiting for a condition, with a time limit.

use std::time::{Duration, Instant};

use super::command::{Error, Result};

/// Time limit of waits, for a slow, shared machine.
pub const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Polls until the result is `Some`.
///
/// # Errors
/// If it is still `None` after [`LIMIT`], or polling fails.
pub fn until<T>(what: &str, poll: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    within(LIMIT, what, poll)
}

/// As [`until`], with a time limit of its own.
///
/// # Errors
/// As [`until`].
pub fn within<T>(limit: Duration, what: &str, mut poll: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(result) = poll()? {
            return Ok(result);
        }
        if start.elapsed() > limit {
            return Err(Error(format!("waited {} s in vain: {what}", limit.as_secs())));
        }
        std::thread::sleep(PAUSE);
    }
}

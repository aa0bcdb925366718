//! Waiting for a fact, with a limit.

use std::time::{Duration, Instant};

use super::command::{Result, Trouble};

/// How long a fact may take to come true on a slow, shared machine.
pub const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is something.
///
/// # Errors
/// When the answer is still nothing after [`LIMIT`], or asking fails.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() > LIMIT {
            return Err(Trouble(format!("waited {} s in vain for this: {what}", LIMIT.as_secs())));
        }
        std::thread::sleep(PAUSE);
    }
}

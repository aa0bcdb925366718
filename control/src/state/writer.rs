//! The thread that writes the state file. Changes queued during a write share the next write.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use super::file::{self, SavedState, VERSION};
use super::startup::StateFile;
use crate::api::error::Failure;
use crate::api::request::Reply;
use crate::api::view::StateView;
use crate::log;
use crate::model::Config;

/// Minimum time between writes; after a slow write, four times its duration.
const PAUSE: Duration = Duration::from_millis(20);
/// Time to wait after a failed write.
const RETRY: Duration = Duration::from_secs(1);

/// A reply that waits until the state is on disk.
#[derive(Debug)]
pub struct PendingReply {
    /// Channel to the client.
    pub to: Sender<Result<Reply, Failure>>,
    /// The reply.
    pub reply: Result<Reply, Failure>,
}

/// State shared by the control thread and the writer thread. Both hold its lock only briefly.
#[derive(Default)]
struct Queue {
    next: Option<SavedState>,
    waiting: Vec<PendingReply>,
    writing: bool,
    stop: bool,
    written: u64,
    failed: u64,
    error: Option<String>,
}

type Shared = Arc<(Mutex<Queue>, Condvar)>;

/// Handle of the writer thread; dropping it writes pending changes.
pub struct Writer {
    state_file: StateFile,
    /// Replies wait for the disk.
    sync: bool,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. With `sync`, replies to changes wait until the state is on disk.
    ///
    /// # Errors
    /// If the thread cannot be created.
    pub fn start(state_file: StateFile, sync: bool) -> io::Result<Writer> {
        let shared = Shared::default();
        let (theirs, path) = (Arc::clone(&shared), state_file.path.clone());
        let thread = thread::Builder::new()
            .name("pollux-state".to_owned())
            .spawn(move || run(&theirs, |saved| file::write(&path, saved)))?;
        Ok(Writer { state_file, sync, shared, thread: Some(thread) })
    }

    /// Records the digest of the file that was applied.
    pub fn applied(&mut self, digest: Option<String>) {
        // Without a digest the known ones stay valid: the daemon's own file has not changed.
        if digest.is_some() {
            self.state_file.applied = digest;
        }
    }

    /// Queues a configuration for writing, with the reply that may have to wait for it.
    pub fn enqueue(&self, config: Config, waiting: Option<PendingReply>) {
        let (file, applied) = (self.state_file.file.clone(), self.state_file.applied.clone());
        let config = self.without_override(config);
        let mut queue = lock(&self.shared);
        queue.next = Some(SavedState { version: VERSION, file, applied, config });
        match waiting {
            // While writes fail, replies are not held back.
            Some(waiting) if self.sync && queue.error.is_none() => queue.waiting.push(waiting),
            Some(waiting) => waiting.send(),
            None => {}
        }
        self.shared.1.notify_one();
    }

    /// Restores the configured debug level, unless the level of the command line has been replaced since.
    fn without_override(&self, mut config: Config) -> Config {
        if let Some(overridden) = self.state_file.debug_level
            && config.settings.debug_level == overridden.level
        {
            config.settings.debug_level = overridden.configured;
        }
        config
    }

    /// Returns the counters and the last error.
    pub fn view(&self) -> StateView {
        let queue = lock(&self.shared);
        StateView {
            path: self.state_file.path.clone(),
            written: queue.written,
            failed: queue.failed,
            pending: queue.writing || queue.next.is_some(),
            error: queue.error.clone(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        self.shared.1.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl PendingReply {
    /// Sends the reply; the client may have disconnected.
    fn send(self) {
        let _ = self.to.send(self.reply);
    }
}

/// Locks the queue, also if a thread panicked while holding the lock: its values are always consistent.
fn lock(shared: &Shared) -> MutexGuard<'_, Queue> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(shared: &Shared, write: impl Fn(&SavedState) -> io::Result<()>) {
    let mut pause = Duration::ZERO;
    while let Some((saved, waiting)) = next(shared, pause) {
        let began = Instant::now();
        let outcome = write(&saved);
        pause = if outcome.is_ok() { PAUSE.max(began.elapsed() * 4) } else { RETRY };
        record(shared, saved, outcome);
        waiting.into_iter().for_each(PendingReply::send);
    }
}

/// Waits for a change, and for `pause` unless a reply waits; `None` when the writer stops.
fn next(shared: &Shared, pause: Duration) -> Option<(SavedState, Vec<PendingReply>)> {
    let until = Instant::now() + pause;
    let mut queue = lock(shared);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let hurry = queue.stop || !queue.waiting.is_empty() || left.is_zero();
        if let Some(saved) = queue.next.take_if(|_| hurry) {
            queue.writing = true;
            return Some((saved, std::mem::take(&mut queue.waiting)));
        }
        if queue.stop {
            return None;
        }
        let idle = Duration::from_secs(3600);
        let timeout = if queue.next.is_some() { left } else { idle };
        queue = shared.1.wait_timeout(queue, timeout).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Counts a write, and logs when writes begin to fail or succeed again.
fn record(shared: &Shared, saved: SavedState, outcome: io::Result<()>) {
    let mut queue = lock(shared);
    queue.writing = false;
    match outcome {
        Ok(()) => {
            queue.written += 1;
            if queue.error.take().is_some() {
                log!(Info, "state file is written again");
            }
        }
        Err(error) => {
            queue.failed += 1;
            let message = error.to_string();
            if queue.error.as_ref() != Some(&message) {
                log!(Error, "state file cannot be written: {message}; retrying every second");
            }
            queue.error = Some(message);
            // A change queued meanwhile is newer. While stopping there is no retry.
            if queue.next.is_none() && !queue.stop {
                queue.next = Some(saved);
            }
        }
    }
}

//! The thread that writes the state. Whoever changes something hands the configuration over and goes on; what is handed
//! over while a write is under way is written once, by the next.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use super::begin::Keep;
use super::file::{self, Saved, VERSION};
use crate::api::error::Failure;
use crate::api::request::Reply;
use crate::api::view::StateView;
use crate::model::Config;
use crate::say;

/// The least time from one write to the next; after a write that took long, four times as long as it took.
const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait after a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// An answer that waits until the state is on the disk.
#[derive(Debug)]
pub struct Waiting {
    /// Whom to answer.
    pub to: Sender<Result<Reply, Failure>>,
    /// What to answer.
    pub answer: Result<Reply, Failure>,
}

/// What both sides share. Neither holds it for longer than it takes to move a few words.
#[derive(Default)]
struct ConfigTransaction {
    next: Option<Saved>,
    waiting: Vec<Waiting>,
    writing: bool,
    stop: bool,
    written: u64,
    failed: u64,
    error: Option<String>,
}

type Shared = Arc<(Mutex<ConfigTransaction>, Condvar)>;

/// Keeps the state; dropping it writes what is left.
pub struct Writer {
    keep: Keep,
    /// Answers wait for the disk.
    sync: bool,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. With `sync`, answers to changes wait until the state is on the disk.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(keep: Keep, sync: bool) -> io::Result<Writer> {
        let shared = Shared::default();
        let (theirs, path) = (Arc::clone(&shared), keep.path.clone());
        let thread = thread::Builder::new()
            .name("pollux-state".to_owned())
            .spawn(move || run(&theirs, |saved| file::write(&path, saved)))?;
        Ok(Writer { keep, sync, shared, thread: Some(thread) })
    }

    /// Notes which file was applied.
    pub fn applied(&mut self, digest: Option<String>) {
        // A client that does not tell leaves what is known: the daemon's own file is still the same.
        if digest.is_some() {
            self.keep.applied = digest;
        }
    }

    /// Hands a configuration over, and the answer to whoever asked for it.
    pub fn hand(&self, config: Config, waiting: Option<Waiting>) {
        let (file, applied) = (self.keep.file.clone(), self.keep.applied.clone());
        let mut transaction = lock(&self.shared);
        transaction.next = Some(Saved { version: VERSION, file, applied, config });
        match waiting {
            // Nobody waits for a disk that fails.
            Some(waiting) if self.sync && transaction.error.is_none() => transaction.waiting.push(waiting),
            Some(waiting) => waiting.send(),
            None => {}
        }
        self.shared.1.notify_one();
    }

    /// How it goes.
    pub fn view(&self) -> StateView {
        let transaction = lock(&self.shared);
        StateView {
            path: self.keep.path.clone(),
            written: transaction.written,
            failed: transaction.failed,
            pending: transaction.writing || transaction.next.is_some(),
            error: transaction.error.clone(),
        }
    }

    /// Where the state is.
    pub fn path(&self) -> &Path {
        &self.keep.path
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

impl Waiting {
    /// A client that has gone does not want its answer.
    fn send(self) {
        let _ = self.to.send(self.answer);
    }
}

/// A thread that died with the lock left whole values behind.
fn lock(shared: &Shared) -> MutexGuard<'_, ConfigTransaction> {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(shared: &Shared, write: impl Fn(&Saved) -> io::Result<()>) {
    let mut rest = Duration::ZERO;
    while let Some((saved, waiting)) = next(shared, rest) {
        let began = Instant::now();
        let outcome = write(&saved);
        rest = if outcome.is_ok() { PAUSE.max(began.elapsed() * 4) } else { RETRY };
        note(shared, saved, outcome);
        waiting.into_iter().for_each(Waiting::send);
    }
}

/// Waits for work, at least for `rest` unless somebody waits for us; none when it is time to go.
fn next(shared: &Shared, rest: Duration) -> Option<(Saved, Vec<Waiting>)> {
    let until = Instant::now() + rest;
    let mut transaction = lock(shared);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let hurry = transaction.stop || !transaction.waiting.is_empty() || left.is_zero();
        if let Some(saved) = transaction.next.take_if(|_| hurry) {
            transaction.writing = true;
            return Some((saved, std::mem::take(&mut transaction.waiting)));
        }
        if transaction.stop {
            return None;
        }
        let idle = Duration::from_secs(3600);
        let patience = if transaction.next.is_some() { left } else { idle };
        transaction = shared.1.wait_timeout(transaction, patience).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Counts, and says it when it begins or ends to fail.
fn note(shared: &Shared, saved: Saved, outcome: io::Result<()>) {
    let mut transaction = lock(shared);
    transaction.writing = false;
    match outcome {
        Ok(()) => {
            transaction.written += 1;
            if transaction.error.take().is_some() {
                say!(Info, "the state is written again");
            }
        }
        Err(error) => {
            transaction.failed += 1;
            let said = error.to_string();
            if transaction.error.as_ref() != Some(&said) {
                say!(Error, "the state cannot be written: {said}; going on, and trying again");
            }
            transaction.error = Some(said);
            // What came meanwhile is newer. On the way out there is no second try.
            if transaction.next.is_none() && !transaction.stop {
                transaction.next = Some(saved);
            }
        }
    }
}

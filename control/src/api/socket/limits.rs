//! What clients may take of the daemon, and how it is shared out.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::rpc::RpcError;
use crate::api::error::ErrorData;

/// The limits, each told with its name when it is met.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at once.
    pub clients: usize,
    /// Bytes of a line, its end included.
    pub line: usize,
    /// Bytes of the lines that all clients together have sent and that are not read to their ends.
    pub requests: usize,
    /// Bytes of answers that all clients together have not read.
    pub answers: usize,
    /// How long a line may take from its first byte to its last.
    pub half_line: Duration,
    /// How long an answer may be left unread, and a second more for each MiB.
    pub unread: Duration,
    /// How many answers that may be large are made at once.
    pub large: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients: 128,
            line: 16 << 20,
            requests: 64 << 20,
            answers: 256 << 20,
            half_line: Duration::from_secs(30),
            unread: Duration::from_secs(10),
            large: 2,
        }
    }
}

impl Limits {
    /// The error for too many clients.
    pub fn of_clients(&self) -> RpcError {
        met("clients", format!("{} clients are connected already; close one and try again", self.clients))
    }

    /// The error for a line that is too long.
    pub fn of_line(&self) -> RpcError {
        met("line", format!("a request is longer than {}; send it in parts", size(self.line)))
    }

    /// The error for requests that are too long together.
    pub fn of_requests(&self) -> RpcError {
        let most = size(self.requests);
        met("requests", format!("requests of all clients are longer than {most} together; try again later"))
    }

    /// The error for answers that are too long together.
    pub fn of_answers(&self) -> RpcError {
        let most = size(self.answers);
        met(
            "answers",
            format!("answers that no client has read are longer than {most} together; read them first"),
        )
    }

    /// The error for a line that does not come to its end.
    pub fn of_half_line(&self) -> RpcError {
        let most = self.half_line.as_secs();
        met(
            "half_line",
            format!("a request was not whole within {most} s; send it at once, and end it with a newline"),
        )
    }
}

fn met(limit: &str, message: String) -> RpcError {
    let data = ErrorData { limit: Some(limit.to_owned()), ..ErrorData::default() };
    RpcError { code: -32004, message, data }
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

/// Bytes that all clients share.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    most: usize,
}

impl Budget {
    /// So many bytes.
    pub fn new(most: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), most })
    }

    /// A share with nothing in it yet.
    pub fn share(self: &Arc<Budget>) -> Share {
        Share { of: Arc::clone(self), taken: 0 }
    }

    /// How many are taken.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// What one client has of a budget; it gives it back when it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Budget>,
    taken: usize,
}

impl Share {
    /// Takes more; false when there is not so much left.
    pub fn take(&mut self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.of.most);
        let took = self.of.used.fetch_update(Relaxed, Relaxed, more).is_ok();
        self.taken += if took { bytes } else { 0 };
        took
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.taken, Relaxed);
    }
}

/// Lets so many in at once. What is done inside never waits for a client, so everybody's turn comes.
#[derive(Debug)]
pub struct Gate {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Gate {
    /// For so many.
    pub fn new(free: usize) -> Gate {
        Gate { free: Mutex::new(free), freed: Condvar::new() }
    }

    /// Waits for a place.
    pub fn enter(&self) -> Inside<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Inside(self)
    }
}

/// A place inside; it is free again when this is dropped.
#[derive(Debug)]
pub struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

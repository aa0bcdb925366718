//! Limits of the resources that clients of the control socket use.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::rpc::RpcError;
use crate::api::error::ErrorData;

/// The limits; an error names the limit that was reached.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients connected at once.
    pub clients: usize,
    /// Length of a line in bytes, including its end.
    pub line: usize,
    /// Bytes of incomplete lines of all clients together.
    pub requests: usize,
    /// Bytes of unread replies of all clients together.
    pub replies: usize,
    /// Time from the first to the last byte of a line.
    pub request_timeout: Duration,
    /// Time until a reply is read completely, plus one second per MiB; also the time without progress.
    pub unread: Duration,
    /// Large replies built at once.
    pub large: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients: 128,
            line: 16 << 20,
            requests: 64 << 20,
            replies: 256 << 20,
            request_timeout: Duration::from_secs(30),
            unread: Duration::from_secs(10),
            large: 2,
        }
    }
}

impl Limits {
    /// Error for too many clients.
    pub fn of_clients(&self) -> RpcError {
        reached("clients", format!("{} clients are already connected; close one and try again", self.clients))
    }

    /// Error for a line that is too long.
    pub fn of_line(&self) -> RpcError {
        reached(
            "line",
            format!("the request is longer than {}; split it into smaller requests", size(self.line)),
        )
    }

    /// Error for too many bytes of incomplete requests.
    pub fn of_requests(&self) -> RpcError {
        let max = size(self.requests);
        reached("requests", format!("incomplete requests of all clients exceed {max}; try again later"))
    }

    /// Error for too many bytes of unread replies.
    pub fn of_replies(&self) -> RpcError {
        let max = size(self.replies);
        reached("replies", format!("unread replies of all clients exceed {max}; read them, then try again"))
    }

    /// Error for a line that is not completed in time.
    pub fn of_request_timeout(&self) -> RpcError {
        let max = self.request_timeout.as_secs();
        reached(
            "request_timeout",
            format!(
                "the request was not complete within {max} s; send it at once, and end it with a newline"
            ),
        )
    }
}

fn reached(limit: &str, message: String) -> RpcError {
    let data = ErrorData { limit: Some(limit.to_owned()), ..ErrorData::default() };
    RpcError { code: -32004, message, data }
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

/// A number of bytes that all clients share.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// Returns a budget of `max` bytes.
    pub fn new(max: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), max })
    }

    /// Returns an empty share of the budget.
    pub fn share(self: &Arc<Budget>) -> Share {
        Share { budget: Arc::clone(self), taken: 0 }
    }
}

/// A client's share of a budget; returned on drop.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    taken: usize,
}

impl Share {
    /// Takes more bytes; returns false if not enough are left.
    pub fn take(&mut self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.budget.max);
        let took = self.budget.used.fetch_update(Relaxed, Relaxed, more).is_ok();
        self.taken += if took { bytes } else { 0 };
        took
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.taken, Relaxed);
    }
}

/// A semaphore. Its holders never wait for a client, so every waiting thread makes progress.
#[derive(Debug)]
pub struct Semaphore {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Semaphore {
    /// Returns a semaphore for `free` holders.
    pub fn new(free: usize) -> Semaphore {
        Semaphore { free: Mutex::new(free), freed: Condvar::new() }
    }

    /// Waits for a permit.
    pub fn acquire(&self) -> Permit<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit(self)
    }
}

/// A permit of a [`Semaphore`]; returned on drop.
#[derive(Debug)]
pub struct Permit<'a>(&'a Semaphore);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

//! The rings between control and one worker. Neither end ever blocks.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::events::ConfigEvents;
use super::snapshot::Snapshot;
use crate::conn::entry::Endpoints;
use crate::network::LinkId;
use crate::service::Method;
use crate::time::Millis;
use crate::trace::Record;

/// Capacity of the ring of debug events. Control empties it every few milliseconds.
const TRACE_DEPTH: usize = 2048;

/// A command from control to a worker.
#[derive(Debug)]
pub enum Command {
    /// Adopt a snapshot and apply its events.
    Install(Box<Snapshot>, ConfigEvents),
    /// Fill a page with connections.
    List(Page),
    /// Stop after this poll iteration.
    Stop,
}

/// A message from a worker to control.
#[derive(Debug)]
pub enum Notification {
    /// A generation was adopted and its events applied. The previous snapshot and the events are returned to be freed.
    Adopted(u64, Box<Snapshot>, ConfigEvents),
    /// A requested page is filled.
    Listed(Page),
    /// A packet awaits the hardware address of this neighbour.
    Resolve(LinkId, std::net::IpAddr),
}

/// Maximum number of table slots that a page scans, so that a page of an empty table does not keep control waiting.
const MAX_SCAN: u32 = 1 << 14;

/// A page of connections: a buffer that control allocates and the worker fills, never beyond its capacity.
#[derive(Debug)]
pub struct Page {
    /// Identifies the request.
    pub ticket: u64,
    /// The slot to continue at; `None` after the last.
    pub next: Option<u32>,
    /// The connections found.
    pub connections: Vec<Connection>,
    /// Maximum number of connections.
    limit: usize,
    /// Slots that may still be scanned.
    scan_left: u32,
}

impl Page {
    /// An empty page for up to `limit` connections from slot `from` on. Reuses `buffer`.
    pub fn new(ticket: u64, from: u32, limit: usize, mut buffer: Vec<Connection>) -> Page {
        buffer.clear();
        buffer.reserve_exact(limit);
        Page { ticket, next: Some(from), connections: buffer, limit, scan_left: MAX_SCAN }
    }

    /// The slot to continue at, and the number of slots to scan; `None` when the page is complete.
    pub fn next_scan(&self) -> Option<(u32, u32)> {
        let more = self.connections.len() < self.limit && self.scan_left > 0;
        more.then_some((self.next?, self.scan_left))
    }

    /// Records that `scanned` slots were scanned, up to `next`.
    pub fn advance(&mut self, next: Option<u32>, scanned: u32) {
        self.next = next;
        self.scan_left = self.scan_left.saturating_sub(scanned);
    }
}

/// A connection in a list.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Client, virtual and destination endpoints.
    pub endpoints: Endpoints,
    /// Protocol number.
    pub protocol: u8,
    /// Number of the protocol state.
    pub state: u8,
    /// The forwarding method of the connection, which may differ from the configured one.
    pub method: Option<Method>,
    /// Time until it expires.
    pub expires: Millis,
    /// Number of packets from the client.
    pub in_packets: u32,
    /// Whether it counts as inactive.
    pub inactive: bool,
    /// Whether no packet of the destination has been seen.
    pub no_output: bool,
}

/// The rings of one worker.
#[derive(Debug)]
pub struct WorkerRings {
    /// From control to the worker.
    pub commands: ArrayQueue<Command>,
    /// From the worker to control.
    pub notifications: ArrayQueue<Notification>,
    /// Debug events, which control formats.
    pub events: ArrayQueue<Record>,
}

impl WorkerRings {
    /// Rings for `depth` messages in each direction.
    pub fn new(depth: usize) -> Arc<WorkerRings> {
        Arc::new(WorkerRings {
            commands: ArrayQueue::new(depth),
            notifications: ArrayQueue::new(depth),
            events: ArrayQueue::new(TRACE_DEPTH),
        })
    }
}

//! The rings between control and one worker. Both ends only ever push and pop; nobody waits.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::events::ConfigEvents;
use super::snapshot::Snapshot;
use crate::conn::entry::Endpoints;
use crate::flow::Endpoint;
use crate::network::LinkId;
use crate::service::{DestinationId, Method};
use crate::time::Millis;
use crate::trace::Record;

/// Debug events on their way from a worker: as many as control takes up in a few milliseconds.
const EVENTS: usize = 2048;

/// What control tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Act on this from now on, and hear of what it brings.
    Install(Box<Snapshot>, ConfigEvents),
    /// Copy a page of connections into the buffer that comes with it.
    List(Page),
    /// Stop after this burst.
    Stop,
}

/// What a worker tells control.
#[derive(Debug)]
pub enum Notification {
    /// The generation adopted, and the snapshot it replaces, to be freed; all that came with it was heard.
    Adopted(u64, Box<Snapshot>, ConfigEvents),
    /// The page that was asked for.
    Listed(Page),
    /// A packet waits for this neighbour's hardware address.
    Resolve(LinkId, std::net::IpAddr),
}

/// Places of the table that a page goes through at most, so that one of an empty table does not keep control waiting.
const REACH: u32 = 1 << 14;

/// A page of connections: a buffer that control makes and the worker fills, never past its capacity.
#[derive(Debug)]
pub struct Page {
    /// Names the request.
    pub ticket: u64,
    /// Where to go on; `None` after the last.
    pub next: Option<u32>,
    /// What was found.
    pub connections: Vec<Connection>,
    /// How many are asked for.
    limit: usize,
    /// Places that it may go through yet.
    reach: u32,
}

impl Page {
    /// An empty page that begins at place `from` and ends after so many connections; `buffer` is used again.
    pub fn new(ticket: u64, from: u32, limit: usize, mut buffer: Vec<Connection>) -> Page {
        buffer.clear();
        buffer.reserve_exact(limit);
        Page { ticket, next: Some(from), connections: buffer, limit, reach: REACH }
    }

    /// Where to look next, and how far; `None` when it is done.
    pub fn goes_on(&self) -> Option<(u32, u32)> {
        let more = self.connections.len() < self.limit && self.reach > 0;
        more.then_some((self.next?, self.reach))
    }

    /// All places before `next` were looked at, so many of them just now.
    pub fn went_on(&mut self, next: Option<u32>, places: u32) {
        self.next = next;
        self.reach = self.reach.saturating_sub(places);
    }
}

/// A connection as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Client, virtual and destination endpoint.
    pub endpoints: Endpoints,
    /// Protocol number.
    pub protocol: u8,
    /// State of the protocol's machine.
    pub state: u8,
    /// Its destination; none when it bypasses all.
    pub destination: Option<DestinationId>,
    /// How packets reach the destination, whatever is configured now.
    pub method: Option<Method>,
    /// Time left.
    pub expires: Millis,
    /// Packets from the client.
    pub in_packets: u32,
    /// Counts as inactive.
    pub inactive: bool,
    /// No packet of the destination was seen.
    pub no_output: bool,
}

/// The rings of one worker.
#[derive(Debug)]
pub struct WorkerRings {
    /// From control to the worker.
    pub commands: ArrayQueue<Command>,
    /// From the worker to control.
    pub notifications: ArrayQueue<Notification>,
    /// Debug events, for control to put into words.
    pub events: ArrayQueue<Record>,
}

impl WorkerRings {
    /// Rings for `depth` messages each way.
    pub fn new(depth: usize) -> Arc<WorkerRings> {
        Arc::new(WorkerRings {
            commands: ArrayQueue::new(depth),
            notifications: ArrayQueue::new(depth),
            events: ArrayQueue::new(EVENTS),
        })
    }
}

impl Connection {
    /// Where the destination is.
    pub fn destination_endpoint(&self) -> Endpoint {
        self.endpoints.destination
    }
}

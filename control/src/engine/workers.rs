//! The control thread's end of the worker rings: installs snapshots, waits until all workers have adopted them, and
//! receives their notifications.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pollux_dataplane::config::ring::Connection;
use pollux_dataplane::config::{
    Command, ConfigEvents, Event, LinkId, Notification, Page, Snapshot, WorkerRings,
};
use pollux_dataplane::conn::Shared;
use pollux_dataplane::sched::Load;
use pollux_dataplane::service::DestinationId;
use pollux_dataplane::stats::WorkerStats;

use crate::api::error::Failure;
use crate::api::view::Stats;
use crate::engine::defence::Pages;
use crate::engine::observe;

/// Time to wait for a worker's response.
pub(crate) const WORKER_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which the rings are polled while waiting.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_micros(50);
/// Maximum number of destinations whose loads are exchanged per call.
const SHARED_AT_ONCE: u32 = 1 << 14;

/// The control thread's handle of one worker.
pub struct WorkerHandle {
    /// Core the worker is pinned to.
    pub core: u16,
    /// Capacity of its connection table.
    pub capacity: u64,
    /// Bytes per IPv4 connection, including the index.
    pub entry_bytes: usize,
    /// Rings to and from the worker.
    pub rings: Arc<WorkerRings>,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// Data shared by all workers.
    pub shared: Arc<Shared>,
}

/// All workers.
pub struct Workers {
    all: Vec<WorkerHandle>,
    adopted: Vec<u64>,
    listed: Option<Page>,
    /// Buffer of the last page, reused because workers do not allocate.
    buffer: Vec<Connection>,
    resolve: Vec<(LinkId, IpAddr)>,
    ticket: u64,
    /// Id at which the next exchange of loads continues.
    shared_until: u32,
}

impl Workers {
    /// Takes handles by worker number.
    pub fn new(all: Vec<WorkerHandle>) -> Workers {
        let adopted = vec![0; all.len()];
        Workers {
            all,
            adopted,
            listed: None,
            buffer: Vec::new(),
            resolve: Vec::new(),
            ticket: 0,
            shared_until: 0,
        }
    }

    /// Returns the workers, by number.
    pub fn all(&self) -> &[WorkerHandle] {
        &self.all
    }

    /// Their counters.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> + Clone {
        self.all.iter().map(|worker| worker.stats.as_ref())
    }

    /// Returns the data shared by all workers.
    pub fn shared(&self) -> Option<&Shared> {
        self.all.first().map(|worker| worker.shared.as_ref())
    }

    /// Sends a snapshot to every worker, and waits until all have adopted it.
    ///
    /// # Errors
    /// If a worker does not respond in time.
    pub fn install(&mut self, snapshot: &Snapshot, events: &[Event]) -> Result<(), Failure> {
        for (number, worker) in self.all.iter().enumerate() {
            let command =
                Command::Install(Box::new(snapshot.clone()), ConfigEvents::new(events, &snapshot.services));
            worker.rings.commands.push(command).map_err(|_| late(number))?;
        }
        let generation = snapshot.generation;
        self.wait(|workers| match workers.adopted.iter().position(|&adopted| adopted < generation) {
            Some(behind) => Err(behind),
            None => Ok(()),
        })
    }

    /// Returns a page of one worker's connections.
    ///
    /// # Errors
    /// If the worker does not respond in time.
    pub fn list(&mut self, worker: usize, from: u32, limit: usize) -> Result<Page, Failure> {
        self.ticket += 1;
        let ticket = self.ticket;
        let page = Page::new(ticket, from, limit, std::mem::take(&mut self.buffer));
        self.all[worker].rings.commands.push(Command::List(page)).map_err(|_| late(worker))?;
        self.wait(|workers| workers.listed.take_if(|page| page.ticket == ticket).ok_or(worker))
    }

    /// Returns the buffer of a page for reuse.
    pub fn recycle(&mut self, page: Page) {
        self.buffer = page.connections;
    }

    /// Waits until `done` has a result; its error is the number of a worker that has not responded yet.
    fn wait<T>(&mut self, mut done: impl FnMut(&mut Workers) -> Result<T, usize>) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            self.poll_notifications();
            match done(self) {
                Ok(result) => return Ok(result),
                Err(worker) if began.elapsed() > WORKER_TIMEOUT => return Err(late(worker)),
                Err(_) => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Receives the workers' notifications; returned snapshots are freed here.
    pub fn poll_notifications(&mut self) {
        for (worker, adopted) in self.all.iter().zip(&mut self.adopted) {
            while let Some(notification) = worker.rings.notifications.pop() {
                match notification {
                    Notification::Adopted(generation, _snapshot, _events) => *adopted = generation,
                    Notification::Listed(page) => self.listed = Some(page),
                    Notification::Resolve(link, address) => self.resolve.push((link, address)),
                }
            }
        }
    }

    /// Returns the next hops for which packets wait, without duplicates.
    pub fn take_unresolved(&mut self) -> Vec<(LinkId, IpAddr)> {
        let mut wanted = std::mem::take(&mut self.resolve);
        wanted.sort_by_key(|(link, address)| (link.0, *address));
        wanted.dedup();
        wanted
    }

    /// Publishes to every worker the loads of destinations at the other workers, for schedulers that compare loads. Ids
    /// are below `end`; each call handles a limited number.
    pub fn share_loads(&mut self, end: u32) {
        if self.all.len() < 2 || end == 0 {
            return;
        }
        let from = if self.shared_until >= end { 0 } else { self.shared_until };
        self.shared_until = end.min(from.saturating_add(SHARED_AT_ONCE));
        for id in (from..self.shared_until).map(DestinationId) {
            let sum = self.load(id);
            for worker in &self.all {
                let Some(own) = worker.stats.destinations.get(id.0 as usize) else { continue };
                let own = own.load();
                let others = Load {
                    active: sum.active.wrapping_sub(own.active),
                    inactive: sum.inactive.wrapping_sub(own.inactive),
                };
                // Workers have these cache lines: unchanged values are not written.
                if worker.stats.others.get(id) != others {
                    worker.stats.others.set(id, others);
                }
            }
        }
    }

    /// Returns the connections of a destination, over all workers.
    pub fn load(&self, id: DestinationId) -> Load {
        observe::load(self.stats(), id)
    }

    /// Returns the counters of a destination, over all workers.
    pub fn destination_stats(&self, id: DestinationId) -> Stats {
        observe::stats(self.stats(), id)
    }

    /// Returns the free connection memory.
    pub fn free_memory(&self) -> Pages {
        let sum = |field: fn(&WorkerHandle) -> u64| self.all.iter().map(field).sum::<u64>();
        let bytes = sum(|worker| worker.stats.counters.table_bytes.get());
        if bytes == 0 {
            // The tables are not allocated yet.
            return Pages::PLENTY;
        }
        let used = sum(|worker| {
            worker.stats.counters.connections_ipv4.get() + worker.stats.counters.connections_ipv6.get()
        });
        Pages::free(bytes, sum(|worker| worker.capacity), used)
    }

    /// Makes every worker stop after its current poll iteration.
    pub fn stop(&self) {
        for worker in &self.all {
            let _ = worker.rings.commands.push(Command::Stop);
        }
    }
}

/// Error for a worker that did not respond in time.
pub(crate) fn late(worker: usize) -> Failure {
    Failure::WorkerLate { worker, waited_ms: WORKER_TIMEOUT.as_millis() as u64 }
}

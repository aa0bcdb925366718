//! The control thread's end of the rings: sends snapshots, waits until all have adopted them, gathers notes.

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

/// How long control waits for workers: thousands of their turns.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long control sleeps between looks at the rings.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_micros(50);
/// Destinations whose loads are shared at once.
const SHARED_AT_ONCE: u32 = 1 << 14;

/// One worker as control sees it.
pub struct WorkerHandle {
    /// The core it is pinned to.
    pub core: u16,
    /// Connections it can hold.
    pub capacity: u64,
    /// Bytes that an IPv4 connection takes, index and all.
    pub entry_bytes: usize,
    /// Messages to and from it.
    pub rings: Arc<WorkerRings>,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// What all workers share.
    pub shared: Arc<Shared>,
}

/// All workers.
pub struct Workers {
    all: Vec<WorkerHandle>,
    adopted: Vec<u64>,
    listed: Option<Page>,
    /// The buffer of the page before: workers fill memory that is there.
    buffer: Vec<Connection>,
    resolve: Vec<(LinkId, IpAddr)>,
    ticket: u64,
    /// Up to which destination loads were shared last.
    shared_until: u32,
}

impl Workers {
    /// Control's view of these workers.
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

    /// The workers, by number.
    pub fn all(&self) -> &[WorkerHandle] {
        &self.all
    }

    /// Their counters.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> + Clone {
        self.all.iter().map(|worker| worker.stats.as_ref())
    }

    /// What they share.
    pub fn shared(&self) -> Option<&Shared> {
        self.all.first().map(|worker| worker.shared.as_ref())
    }

    /// Makes every worker act on `snapshot`, and waits until each does.
    ///
    /// # Errors
    /// When a worker does not take it in time.
    pub fn install(&mut self, snapshot: &Snapshot, events: &[Event]) -> Result<(), Failure> {
        for worker in &self.all {
            let command =
                Command::Install(Box::new(snapshot.clone()), ConfigEvents::new(events, &snapshot.services));
            worker.rings.commands.push(command).map_err(|_| late())?;
        }
        let generation = snapshot.generation;
        self.wait(|workers| workers.adopted.iter().all(|&adopted| adopted >= generation).then_some(()))
    }

    /// A page of one worker's connections, and where to go on there.
    ///
    /// # Errors
    /// When the worker does not answer in time.
    pub fn list(&mut self, worker: usize, from: u32, limit: usize) -> Result<Page, Failure> {
        self.ticket += 1;
        let ticket = self.ticket;
        let page = Page::new(ticket, from, limit, std::mem::take(&mut self.buffer));
        self.all[worker].rings.commands.push(Command::List(page)).map_err(|_| late())?;
        self.wait(|workers| workers.listed.take_if(|page| page.ticket == ticket))
    }

    /// Takes back a page that was read.
    pub fn take_back(&mut self, page: Page) {
        self.buffer = page.connections;
    }

    fn wait<T>(&mut self, mut done: impl FnMut(&mut Workers) -> Option<T>) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            self.gather();
            if let Some(result) = done(self) {
                return Ok(result);
            }
            if began.elapsed() > PATIENCE {
                return Err(late());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Empties the workers' notes; retired snapshots are freed here.
    pub fn gather(&mut self) {
        for (worker, adopted) in self.all.iter().zip(&mut self.adopted) {
            while let Some(note) = worker.rings.notifications.pop() {
                match note {
                    Notification::Adopted(generation, _retired, _news) => *adopted = generation,
                    Notification::Listed(page) => self.listed = Some(page),
                    Notification::Resolve(link, address) => self.resolve.push((link, address)),
                }
            }
        }
    }

    /// Neighbours that packets wait for, each once.
    pub fn take_unresolved(&mut self) -> Vec<(LinkId, IpAddr)> {
        let mut wanted = std::mem::take(&mut self.resolve);
        wanted.sort_by_key(|(link, address)| (link.0, *address));
        wanted.dedup();
        wanted
    }

    /// Tells every worker what the others' destinations carry, for schedulers that compare loads. The destinations have
    /// ids below `end`; of very many each call takes some.
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
                // Workers read these lines: what has not changed is left in their caches.
                if worker.stats.others.get(id) != others {
                    worker.stats.others.set(id, others);
                }
            }
        }
    }

    /// What a destination carries at all workers together.
    pub fn load(&self, id: DestinationId) -> Load {
        observe::load(self.stats(), id)
    }

    /// What all workers count of a destination.
    pub fn counted(&self, id: DestinationId) -> Stats {
        observe::stats(self.stats(), id)
    }

    /// Connection memory that is free.
    pub fn available(&self) -> Pages {
        let sum = |of: fn(&WorkerHandle) -> u64| self.all.iter().map(of).sum::<u64>();
        let bytes = sum(|worker| worker.stats.counters.table_bytes.get());
        if bytes == 0 {
            // The tables are not there yet.
            return Pages::PLENTY;
        }
        let used = sum(|worker| {
            worker.stats.counters.connections_ipv4.get() + worker.stats.counters.connections_ipv6.get()
        });
        Pages::free(bytes, sum(|worker| worker.capacity), used)
    }

    /// Tells every worker to stop after its burst.
    pub fn stop(&self) {
        for worker in &self.all {
            let _ = worker.rings.commands.push(Command::Stop);
        }
    }
}

pub(crate) fn late() -> Failure {
    Failure::WorkersLate { waited_ms: PATIENCE.as_millis() as u64 }
}

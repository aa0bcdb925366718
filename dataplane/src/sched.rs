//! Schedulers choose the destination of a new connection. Each has its own file; spec 3.
//!
//! With one worker every scheduler chooses exactly as IPVS does. With N workers each worker has its own scheduler
//! state, and sees the load of the other workers as control last sampled it. The distribution is then less even,
//! within bounds that `tests/workers.rs` checks:
//!
//! - `rr`: two destinations differ by at most N connections, not one.
//! - `wrr`: a destination is off its share by at most N times its weight.
//! - `lc`, `wlc`: for connections that stay open, the load per weight of a destination of weight w exceeds that of any
//!   other by at most d / w, where d is the number of connections that all workers open between two samples. `sed`,
//!   `nq`, `ovf` and the load comparisons of `lblc`, `lblcr` and `twos` lag in the same way.
//! - `lblc`, `lblcr`: each worker has its own cache, so one virtual address may have N destinations, or N sets.
//! - `dh`, `sh`, `mh`, `fo`: as with one worker. The draws of `twos` are as even as before.

pub mod cached;
pub mod dh;
pub mod fo;
pub mod fold;
pub mod lblc;
pub mod lblcr;
pub mod lc;
pub mod mh;
pub mod nq;
pub mod ovf;
pub mod rr;
pub mod sed;
pub mod sh;
pub mod slots;
pub mod twos;
pub mod wlc;
pub mod wrr;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

pub use slots::slots;

use crate::config::{Event, EventKind, Settings};
use crate::flow::Endpoint;
use crate::service::{Destination, DestinationId, Scheduler, Service, Services};
use crate::time::Tick;

/// Number of connections of a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Active ones.
    pub active: u32,
    /// Inactive ones.
    pub inactive: u32,
}

impl Load {
    /// The load that lc and wlc compare: one active connection counts as 256 inactive ones. A signed 32-bit number that
    /// wraps, as in IPVS.
    pub fn overhead(self) -> i32 {
        self.active.wrapping_mul(256).wrapping_add(self.inactive) as i32
    }
}

/// Source of the load of destinations.
pub trait Loads {
    /// The load of a destination.
    fn load(&self, id: DestinationId) -> Load;

    /// Whether a destination is overloaded by its thresholds; spec 2.4.
    fn is_overloaded(&self, id: DestinationId) -> bool;
}

/// Everything that a choice may depend on.
pub struct PickContext<'a, L> {
    /// The service.
    pub service: &'a Service,
    /// All services and destinations.
    pub services: &'a Services,
    /// The load of the destinations.
    pub loads: &'a L,
    /// The client; its port is 0 for protocols without ports.
    pub client: Endpoint,
    /// The address that the client addressed.
    pub virtual_address: IpAddr,
    /// The sysctl settings.
    pub settings: &'a Settings,
    /// The current time.
    pub now: Tick,
}

impl<L: Loads> PickContext<'_, L> {
    /// The service's destinations with their load, in list order.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> + Clone {
        let known = |&id: &DestinationId| Some(self.candidate(id, self.services.destination(id)?));
        self.service.destinations.iter().filter_map(known)
    }

    /// The candidates that may get a new connection.
    pub fn available(&self) -> impl Iterator<Item = Candidate<'_>> + Clone {
        self.candidates().filter(Candidate::is_available)
    }

    /// Whether a destination may get a new connection.
    #[inline]
    pub fn is_usable(&self, id: DestinationId) -> bool {
        let usable = |d: &Destination| d.available && d.weight > 0;
        self.services.destination(id).is_some_and(usable) && !self.loads.is_overloaded(id)
    }

    fn candidate<'a>(&self, id: DestinationId, destination: &'a Destination) -> Candidate<'a> {
        let (load, overloaded) = (self.loads.load(id), self.loads.is_overloaded(id));
        Candidate { id, destination, load, overloaded }
    }
}

/// A destination with its load.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: DestinationId,
    /// Its configuration.
    pub destination: &'a Destination,
    /// Its load.
    pub load: Load,
    /// Whether it is overloaded by its thresholds.
    pub overloaded: bool,
}

impl Candidate<'_> {
    /// Whether it may get a new connection.
    pub fn is_available(&self) -> bool {
        self.destination.weight > 0 && !self.overloaded
    }
}

impl Scheduler {
    /// Whether events of this kind change the scheduler's state. Others need not be sent to workers.
    pub fn needs_event(self, kind: EventKind) -> bool {
        match self {
            Scheduler::Wrr | Scheduler::Lblc | Scheduler::Lblcr => true,
            Scheduler::Rr => matches!(kind, EventKind::Reset | EventKind::Removed(..)),
            _ => kind == EventKind::Reset,
        }
    }
}

/// A scheduler's state for one service at one worker. One cache line holds everything that a choice writes, except the
/// caches of `lblc` and `lblcr`.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub struct SchedulerState {
    cursor: Cursor,
    random: twos::Random,
    // Boxed, because the state is allocated for the maximum number of services, and few use these schedulers.
    lblc: Option<Box<lblc::Cache>>,
    lblcr: Option<Box<lblcr::Cache>>,
}

const _: () = assert!(size_of::<SchedulerState>() == 64, "a state fits a cache line");

/// The position of rr and wrr in the list of destinations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// The destination chosen last; `None` for the head of the list.
    pub at: Option<DestinationId>,
    /// Current weight of wrr.
    pub current: i64,
    /// Greatest common divisor of the weights.
    pub gcd: i64,
    /// Greatest weight minus (gcd - 1).
    pub max: i64,
}

impl SchedulerState {
    /// An empty state with a seed for random draws.
    pub fn new(seed: u64) -> SchedulerState {
        SchedulerState { random: twos::Random(seed), ..SchedulerState::default() }
    }

    /// Applies a change of the service or its destinations.
    pub fn apply_event(&mut self, scheduler: Scheduler, event: &Event) {
        if event.kind == EventKind::Reset {
            *self = SchedulerState { random: self.random, ..SchedulerState::default() };
        }
        match scheduler {
            Scheduler::Rr => rr::apply_event(&mut self.cursor, event),
            Scheduler::Wrr => wrr::apply_event(&mut self.cursor, event),
            // Created now and not with the first connection, because its expiry timer starts here.
            Scheduler::Lblc => _ = self.lblc.get_or_insert_default(),
            Scheduler::Lblcr => _ = self.lblcr.get_or_insert_default(),
            _ => {}
        }
    }

    /// Chooses a destination for a new connection; `None` if none is usable.
    pub fn pick<L: Loads>(&mut self, context: &PickContext<'_, L>) -> Option<DestinationId> {
        match context.service.scheduler {
            Scheduler::Rr => rr::pick(&mut self.cursor, context),
            Scheduler::Wrr => wrr::pick(&mut self.cursor, context),
            Scheduler::Lc => lc::pick(context.available()),
            Scheduler::Wlc => wlc::pick(context.available()),
            Scheduler::Fo => fo::pick(context.available()),
            Scheduler::Ovf => ovf::pick(context.available()),
            Scheduler::Lblc => lblc::pick(self.lblc.get_or_insert_default(), context),
            Scheduler::Lblcr => lblcr::pick(self.lblcr.get_or_insert_default(), context),
            Scheduler::Dh => dh::pick(context),
            Scheduler::Sh => sh::pick(context),
            Scheduler::Mh => mh::pick(context),
            Scheduler::Sed => sed::pick(context.available()),
            Scheduler::Nq => nq::pick(context.available()),
            Scheduler::Twos => twos::pick(context.available(), |max| self.random.draw(max)),
            Scheduler::None => None,
        }
    }

    /// Expires cache entries of `lblc` and `lblcr`. Call it about once a second; most calls do nothing.
    pub fn maintain(&mut self, now: Tick, settings: &Settings) {
        if let Some(cache) = &mut self.lblc {
            cache.maintain(now, settings.lblc_expiration);
        }
        if let Some(cache) = &mut self.lblcr {
            cache.maintain(now, settings.lblcr_expiration);
        }
    }
}

/// Greatest common divisor; `gcd(a, 0)` is `a`.
pub fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

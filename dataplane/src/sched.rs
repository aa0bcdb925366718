//! Schedulers: which destination gets a new connection. A file each; spec section 3.
//!
//! With one worker all choose exactly as IPVS does. With N workers each has a memory of its own, and of the others'
//! loads it knows what control last noted, so that the spread is looser by a bound (`tests/workers.rs` holds it):
//!
//! - `rr`: two destinations differ by N connections at most instead of one.
//! - `wrr`: a destination is off its share by N times its weight at most.
//! - `lc`, `wlc`: for connections that stay, the load per weight of a destination of weight w is above any other's by
//!   d / w at most, d being how many connections all workers open between two looks of control. `sed`, `nq`, `ovf`
//!   and the choice by load of `lblc`, `lblcr` and `twos` are late in the same way.
//! - `lblc`, `lblcr`: a virtual address is remembered by each worker, so it may have N destinations (N sets).
//! - `dh`, `sh`, `mh`, `fo`: nothing changes, and `twos` draws as evenly as before.

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

/// How many connections a destination has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Active ones.
    pub active: u32,
    /// Inactive ones.
    pub inactive: u32,
}

impl Load {
    /// What lc and wlc compare: an active connection weighs as much as 256 inactive ones. 32 bits with a sign, as in
    /// IPVS.
    pub fn overhead(self) -> i32 {
        self.active.wrapping_mul(256).wrapping_add(self.inactive) as i32
    }
}

/// Where the loads of destinations are known.
pub trait Loads {
    /// What a destination carries.
    fn load(&self, id: DestinationId) -> Load;

    /// Whether it carries more than its upper threshold allows; spec 2.4.
    fn is_overloaded(&self, id: DestinationId) -> bool;
}

/// Everything a choice may depend on.
pub struct PickContext<'a, L> {
    /// The service that chooses.
    pub service: &'a Service,
    /// Its destinations.
    pub services: &'a Services,
    /// What they carry.
    pub loads: &'a L,
    /// The client; its port is 0 for protocols without ports.
    pub client: Endpoint,
    /// The address the client speaks to.
    pub virtual_address: IpAddr,
    /// Time-outs and switches.
    pub settings: &'a Settings,
    /// The time.
    pub now: Tick,
}

impl<L: Loads> PickContext<'_, L> {
    /// The destinations in list order, with what they carry.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> + Clone {
        let known = |&id: &DestinationId| Some(self.candidate(id, self.services.destination(id)?));
        self.service.destinations.iter().filter_map(known)
    }

    /// Those of them that may get a new connection.
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

/// A candidate: a destination and its load.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: DestinationId,
    /// What is configured.
    pub destination: &'a Destination,
    /// What it carries.
    pub load: Load,
    /// Whether that is more than its upper threshold allows.
    pub overloaded: bool,
}

impl Candidate<'_> {
    /// Whether it may get a new connection.
    pub fn is_available(&self) -> bool {
        self.destination.weight > 0 && !self.overloaded
    }
}

impl Scheduler {
    /// Whether what a worker remembers for it hears of this; what it does not hear changes nothing.
    pub fn wants(self, kind: EventKind) -> bool {
        match self {
            Scheduler::Wrr | Scheduler::Lblc | Scheduler::Lblcr => true,
            Scheduler::Rr => matches!(kind, EventKind::Fresh | EventKind::Removed(..)),
            _ => kind == EventKind::Fresh,
        }
    }
}

/// What a worker's copy of a scheduler remembers of one service.
///
/// A line each: all that a choice writes.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub struct SchedulerState {
    cursor: Cursor,
    draws: twos::Draws,
    // Boxed, since there is a memory for every service that can be, and few of them are of these two kinds.
    lblc: Option<Box<lblc::Cache>>,
    lblcr: Option<Box<lblcr::Cache>>,
}

const _: () = assert!(size_of::<SchedulerState>() == 64, "a state is a line");

/// A place in the list of destinations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    /// The destination chosen last; `None` is the head of the list.
    pub at: Option<DestinationId>,
    /// Current weight of wrr.
    pub current: i64,
    /// Greatest common divisor of the weights.
    pub gcd: i64,
    /// Greatest weight less (gcd - 1).
    pub max: i64,
}

impl SchedulerState {
    /// A memory whose random draws begin at `seed`.
    pub fn new(seed: u64) -> SchedulerState {
        SchedulerState { draws: twos::Draws(seed), ..SchedulerState::default() }
    }

    /// Takes note of a change to the service's destinations.
    pub fn apply_events(&mut self, scheduler: Scheduler, event: &Event) {
        if event.kind == EventKind::Fresh {
            *self = SchedulerState { draws: self.draws, ..SchedulerState::default() };
        }
        match scheduler {
            Scheduler::Rr => rr::apply_events(&mut self.cursor, event),
            Scheduler::Wrr => wrr::apply_events(&mut self.cursor, event),
            // Made now and not with the first connection, since its garbage is counted from here on.
            Scheduler::Lblc => _ = self.lblc.get_or_insert_default(),
            Scheduler::Lblcr => _ = self.lblcr.get_or_insert_default(),
            _ => {}
        }
    }

    /// Chooses a destination, or none.
    pub fn pick<L: Loads>(&mut self, scene: &PickContext<'_, L>) -> Option<DestinationId> {
        match scene.service.scheduler {
            Scheduler::Rr => rr::pick(&mut self.cursor, scene),
            Scheduler::Wrr => wrr::pick(&mut self.cursor, scene),
            Scheduler::Lc => lc::pick(scene.available()),
            Scheduler::Wlc => wlc::pick(scene.available()),
            Scheduler::Fo => fo::pick(scene.available()),
            Scheduler::Ovf => ovf::pick(scene.available()),
            Scheduler::Lblc => lblc::pick(self.lblc.get_or_insert_default(), scene),
            Scheduler::Lblcr => lblcr::pick(self.lblcr.get_or_insert_default(), scene),
            Scheduler::Dh => dh::pick(scene),
            Scheduler::Sh => sh::pick(scene),
            Scheduler::Mh => mh::pick(scene),
            Scheduler::Sed => sed::pick(scene.available()),
            Scheduler::Nq => nq::pick(scene.available()),
            Scheduler::Twos => twos::pick(scene.available(), |most| self.draws.draw(most)),
            Scheduler::None => None,
        }
    }

    /// Forgets what `lblc` and `lblcr` keep no longer. To be called about once a second; most times it does nothing.
    pub fn maintain(&mut self, now: Tick, settings: &Settings) {
        if let Some(cache) = &mut self.lblc {
            cache.maintain(now, settings.lblc_expiration);
        }
        if let Some(cache) = &mut self.lblcr {
            cache.maintain(now, settings.lblcr_expiration);
        }
    }
}

/// Greatest common divisor; of a number and 0 that number.
pub fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

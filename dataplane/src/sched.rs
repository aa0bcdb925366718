//! Schedulers: which destination gets a new connection. A file each; spec section 3.

pub mod lc;
pub mod rr;
pub mod wlc;
pub mod wrr;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::config::{Event, EventKind};
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
    /// What lc and wlc compare: an active connection weighs as much as 256 inactive ones.
    pub fn overhead(self) -> u64 {
        u64::from(self.active) * 256 + u64::from(self.inactive)
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
pub struct Scene<'a, L> {
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
    /// The time.
    pub now: Tick,
}

impl<L: Loads> Scene<'_, L> {
    /// The destinations in list order, with what they carry.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        let known = |&id: &DestinationId| Some(self.candidate(id, self.services.destination(id)?));
        self.service.destinations.iter().filter_map(known)
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

/// What a worker's copy of a scheduler remembers of one service.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    cursor: Cursor,
}

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

impl Memory {
    /// Takes note of a change to the service's destinations.
    pub fn hear(&mut self, scheduler: Scheduler, event: &Event) {
        if event.kind == EventKind::Fresh {
            *self = Memory::default();
        }
        match scheduler {
            Scheduler::Rr => rr::hear(&mut self.cursor, event),
            Scheduler::Wrr => wrr::hear(&mut self.cursor, event),
            _ => {}
        }
    }

    /// Chooses a destination, or none.
    pub fn pick<L: Loads>(&mut self, scene: &Scene<'_, L>) -> Option<DestinationId> {
        match scene.service.scheduler {
            Scheduler::Rr => rr::pick(&mut self.cursor, scene),
            Scheduler::Wrr => wrr::pick(&mut self.cursor, scene),
            Scheduler::Lc => lc::pick(scene.candidates()),
            Scheduler::Wlc => wlc::pick(scene.candidates()),
            _ => None,
        }
    }
}

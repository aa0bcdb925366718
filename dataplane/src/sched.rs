//! Schedulers: which destination gets a new connection. A file each; spec section 3.

pub mod lc;
pub mod rr;
pub mod wlc;
pub mod wrr;

#[cfg(test)]
mod tests;

use crate::config::{Event, EventKind};
use crate::service::{Destination, DestinationId, Scheduler, Service, Services};

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

/// A candidate: a destination and its load.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: DestinationId,
    /// What is configured.
    pub destination: &'a Destination,
    /// What it carries.
    pub load: Load,
}

/// What a worker's copy of a scheduler remembers of one service.
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

impl Cursor {
    /// Takes note of a change to the service's destinations.
    pub fn hear(&mut self, scheduler: Scheduler, event: &Event) {
        if event.kind == EventKind::Fresh {
            *self = Cursor::default();
        }
        match scheduler {
            Scheduler::Rr => rr::hear(self, event),
            Scheduler::Wrr => wrr::hear(self, event),
            Scheduler::Lc | Scheduler::Wlc => {}
        }
    }

    /// Chooses a destination of `service`, or none.
    pub fn pick(
        &mut self,
        service: &Service,
        services: &Services,
        load: impl Fn(DestinationId) -> Load,
    ) -> Option<DestinationId> {
        let candidate = |&id: &DestinationId| {
            services.destination(id).map(|destination| Candidate { id, destination, load: load(id) })
        };
        let list = &service.destinations;
        match service.scheduler {
            Scheduler::Rr => rr::pick(self, list, services),
            Scheduler::Wrr => wrr::pick(self, list, services),
            Scheduler::Lc => lc::pick(list.iter().filter_map(candidate)),
            Scheduler::Wlc => wlc::pick(list.iter().filter_map(candidate)),
        }
    }
}

//! An account for everything: destinations count on workers' boards, and what they counted goes to their service and to
//! the total, which outlive them.

use std::time::Duration;

use hashbrown::HashMap;
use pollux_dataplane::service::DestinationId;

use super::{Counted, Estimator, PERIOD};
use crate::api::view::Stats;
use crate::engine::compile::{Compiler, FullKey};
use crate::model::ServiceKey;

/// All accounts.
#[derive(Debug, Default)]
pub struct Estimators {
    total: Estimator,
    services: HashMap<ServiceKey, OfService>,
    destinations: HashMap<DestinationId, OfDestination>,
    /// How many services there have been; tells one from an earlier one of the same key.
    births: u64,
    /// When estimators look again.
    next: Duration,
}

#[derive(Debug)]
struct OfService {
    estimator: Estimator,
    birth: u64,
}

#[derive(Debug)]
struct OfDestination {
    estimator: Estimator,
    key: FullKey,
    /// Of the service it belongs, or belonged, to.
    birth: u64,
    /// It is configured. What comes for a removed one is not counted.
    counts: bool,
    /// What the boards said last.
    stats: Stats,
}

impl OfDestination {
    /// Takes over what the boards say now, also for its service and for everything.
    fn count(&mut self, now: Stats, total: &mut Estimator, services: &mut HashMap<ServiceKey, OfService>) {
        let more = now.minus(self.stats);
        self.stats = now;
        if self.counts && more != Stats::default() {
            self.estimator.add(more);
            total.add(more);
            if let Some(service) = services.get_mut(&self.key.0) {
                service.estimator.add(more);
            }
        }
    }
}

impl Estimators {
    /// Nothing counted yet.
    pub fn new() -> Estimators {
        Estimators { next: PERIOD, ..Estimators::default() }
    }

    /// Takes note of what is configured now; what the boards counted until now was counted for what was before.
    /// Services that are new begin at zero. A destination that comes back goes on; if its service is another one by then,
    /// what is shown of it becomes zero.
    pub fn follow(&mut self, compiler: &Compiler, stats: impl Fn(DestinationId) -> Stats) {
        let changes = compiler.changes();
        for &id in changes.retired.iter().chain(changes.placed.keys()) {
            self.count_one(id, stats(id));
        }
        for key in &changes.removed {
            self.services.remove(key);
        }
        for &key in &changes.added {
            self.births += 1;
            self.services.insert(key, OfService { estimator: Estimator::default(), birth: self.births });
        }
        for id in &changes.retired {
            if let Some(destination) = self.destinations.get_mut(id) {
                destination.counts = false;
            }
        }
        for (&id, &key) in &changes.placed {
            self.place(id, key);
            self.count_one(id, stats(id));
        }
    }

    fn place(&mut self, id: DestinationId, key: FullKey) {
        let birth = self.services.get(&key.0).map_or(0, |service| service.birth);
        // An id that is used anew has an empty board.
        let new = || OfDestination {
            estimator: Estimator::default(),
            key,
            birth,
            counts: true,
            stats: Stats::default(),
        };
        let known = self.destinations.entry(id).or_insert_with(new);
        if known.key != key {
            *known = new();
        }
        if known.birth != birth {
            // As with `zero`: what came after the last look is shown with the next one, as Linux has it.
            known.estimator.zero();
            known.birth = birth;
        }
        known.counts = true;
    }

    /// Forgets destinations whose ids are free again.
    pub fn forget(&mut self, freed: &[DestinationId]) {
        for id in freed {
            self.destinations.remove(id);
        }
    }

    /// Takes over what the boards counted since the last time.
    pub fn count(&mut self, stats: impl Fn(DestinationId) -> Stats) {
        for (&id, destination) in &mut self.destinations {
            destination.count(stats(id), &mut self.total, &mut self.services);
        }
    }

    fn count_one(&mut self, id: DestinationId, now: Stats) {
        if let Some(destination) = self.destinations.get_mut(&id) {
            destination.count(now, &mut self.total, &mut self.services);
        }
    }

    /// Looks at everything when two seconds are over. `now` is time since the start; `runs` is `run_estimation`, without
    /// which rates and shown counters stay as they are.
    pub fn tick(&mut self, now: Duration, runs: bool, stats: impl Fn(DestinationId) -> Stats) {
        if now < self.next {
            return;
        }
        // Looks that were missed are not made up for: IPVS's timer runs two seconds from when it was served, too.
        self.next = if now < self.next + PERIOD { self.next + PERIOD } else { now + PERIOD };
        if !runs {
            return;
        }
        self.count(stats);
        self.all().for_each(Estimator::look);
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Estimator> {
        std::iter::once(&mut self.total)
            .chain(self.services.values_mut().map(|service| &mut service.estimator))
            .chain(self.destinations.values_mut().map(|destination| &mut destination.estimator))
    }

    /// `ipvsadm -Z`: what is shown of a service and its destinations, or of everything, becomes zero.
    pub fn zero(&mut self, only: Option<ServiceKey>) {
        let Some(key) = only else {
            self.all().for_each(Estimator::zero);
            return;
        };
        if let Some(service) = self.services.get_mut(&key) {
            service.estimator.zero();
        }
        for destination in self.destinations.values_mut().filter(|of| of.counts && of.key.0 == key) {
            destination.estimator.zero();
        }
    }

    /// What is shown of a service.
    pub fn service(&self, key: &ServiceKey) -> Counted {
        self.services.get(key).map_or(Counted::default(), |of| of.estimator.counted())
    }

    /// What is shown of a destination.
    pub fn destination(&self, id: DestinationId) -> Counted {
        self.destinations.get(&id).map_or(Counted::default(), |of| of.estimator.counted())
    }

    /// What is shown of everything.
    pub fn total(&self) -> Counted {
        self.total.counted()
    }
}

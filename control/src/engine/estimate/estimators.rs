//! Estimators of all destinations, services and the total. Counts of a destination are added to its service and to the
//! total, which keep them when the destination is removed.

use std::time::Duration;

use hashbrown::HashMap;
use pollux_dataplane::service::DestinationId;

use super::{Estimate, Estimator, PERIOD};
use crate::api::view::Stats;
use crate::engine::compile::{Compiler, FullKey};
use crate::model::ServiceKey;

/// All estimators.
#[derive(Debug, Default)]
pub struct Estimators {
    total: Estimator,
    services: HashMap<ServiceKey, ServiceEstimator>,
    destinations: HashMap<DestinationId, DestinationEstimator>,
    /// Number of services created so far; distinguishes a service from an earlier one with the same key.
    generations: u64,
    /// Time of the next sample.
    next: Duration,
}

#[derive(Debug)]
struct ServiceEstimator {
    estimator: Estimator,
    generation: u64,
}

#[derive(Debug)]
struct DestinationEstimator {
    estimator: Estimator,
    key: FullKey,
    /// Generation of the service it belongs, or belonged, to.
    generation: u64,
    /// True if it is configured; packets of a removed destination are not counted.
    counts: bool,
    /// Workers' counters at the last update.
    stats: Stats,
}

impl DestinationEstimator {
    /// Adds the increase of the workers' counters, also to its service and to the total.
    fn count(
        &mut self,
        now: Stats,
        total: &mut Estimator,
        services: &mut HashMap<ServiceKey, ServiceEstimator>,
    ) {
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
    /// Returns estimators without counts.
    pub fn new() -> Estimators {
        Estimators { next: PERIOD, ..Estimators::default() }
    }

    /// Applies the changes of the last compilation. Counts up to now belong to the previous configuration. A new
    /// service begins at zero. A destination that is added again continues its counts; if its service is a new one, its
    /// shown counters become zero.
    pub fn update(&mut self, compiler: &Compiler, stats: impl Fn(DestinationId) -> Stats) {
        let changes = compiler.changes();
        for &id in changes.destinations_removed.iter().chain(changes.destinations_set.keys()) {
            self.count_one(id, stats(id));
        }
        for key in &changes.services_removed {
            self.services.remove(key);
        }
        for &key in &changes.services_added {
            self.generations += 1;
            self.services.insert(
                key,
                ServiceEstimator { estimator: Estimator::default(), generation: self.generations },
            );
        }
        for id in &changes.destinations_removed {
            if let Some(destination) = self.destinations.get_mut(id) {
                destination.counts = false;
            }
        }
        for (&id, &key) in &changes.destinations_set {
            self.set_destination(id, key);
            self.count_one(id, stats(id));
        }
    }

    fn set_destination(&mut self, id: DestinationId, key: FullKey) {
        let generation = self.services.get(&key.0).map_or(0, |service| service.generation);
        // The counters of a reused id were reset.
        let new = || DestinationEstimator {
            estimator: Estimator::default(),
            key,
            generation,
            counts: true,
            stats: Stats::default(),
        };
        let known = self.destinations.entry(id).or_insert_with(new);
        if known.key != key {
            *known = new();
        }
        if known.generation != generation {
            // As in Linux, counts after the last sample are shown at the next one.
            known.estimator.zero();
            known.generation = generation;
        }
        known.counts = true;
    }

    /// Removes destinations whose ids were freed.
    pub fn remove(&mut self, freed: &[DestinationId]) {
        for id in freed {
            self.destinations.remove(id);
        }
    }

    /// Adds the increase of the workers' counters since the last call.
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

    /// Takes samples every two seconds. `now` is the time since the start; `runs` is `run_estimation`: if false, rates
    /// and shown counters do not change.
    pub fn tick(&mut self, now: Duration, runs: bool, stats: impl Fn(DestinationId) -> Stats) {
        if now < self.next {
            return;
        }
        // Missed samples are not made up for: the timer of IPVS also runs two seconds from when it was served.
        self.next = if now < self.next + PERIOD { self.next + PERIOD } else { now + PERIOD };
        if !runs {
            return;
        }
        self.count(stats);
        self.all().for_each(Estimator::sample);
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Estimator> {
        std::iter::once(&mut self.total)
            .chain(self.services.values_mut().map(|service| &mut service.estimator))
            .chain(self.destinations.values_mut().map(|destination| &mut destination.estimator))
    }

    /// Zeroes the shown counters of a service and its destinations, or of everything, like `ipvsadm -Z`.
    pub fn zero(&mut self, only: Option<ServiceKey>) {
        let Some(key) = only else {
            self.all().for_each(Estimator::zero);
            return;
        };
        if let Some(service) = self.services.get_mut(&key) {
            service.estimator.zero();
        }
        for destination in self.destinations.values_mut().filter(|known| known.counts && known.key.0 == key) {
            destination.estimator.zero();
        }
    }

    /// Returns the counters of a service.
    pub fn service(&self, key: &ServiceKey) -> Estimate {
        self.services.get(key).map_or(Estimate::default(), |known| known.estimator.estimate())
    }

    /// Returns the counters of a destination.
    pub fn destination(&self, id: DestinationId) -> Estimate {
        self.destinations.get(&id).map_or(Estimate::default(), |known| known.estimator.estimate())
    }

    /// Returns the counters of the total.
    pub fn total(&self) -> Estimate {
        self.total.estimate()
    }
}

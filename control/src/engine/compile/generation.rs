//! Writes services and destinations into a draft of the next generation, and records the events of which schedulers are
//! notified.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::config::{Counting, Event, EventKind};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::sched;
use pollux_dataplane::service::{Destination, DestinationId, Method, Service, ServiceId, TargetId};

use super::changes::Changes;
use super::draft::Draft;
use super::index::step;
use super::{Compiler, convert};
use crate::model::edit::Step;
use crate::model::{self, ServiceKey, Services};

/// A generation that is being written.
pub(super) struct GenerationBuilder<'a> {
    compiler: &'a mut Compiler,
    generation: Generation,
    /// Weights of the services that changed.
    weights: HashMap<ServiceId, Weights>,
    /// Services whose scheduler tables must be rebuilt.
    changed: HashSet<ServiceId>,
    now: Duration,
}

/// A generation that is complete.
pub(super) struct Generation {
    /// Its services and destinations.
    pub draft: Draft,
    /// Events of which schedulers are notified.
    pub events: Vec<Event>,
    /// Changes since the last generation.
    pub changes: Changes,
}

impl GenerationBuilder<'_> {
    /// Begins with the last generation.
    pub fn new(compiler: &mut Compiler, now: Duration) -> GenerationBuilder<'_> {
        let draft = compiler.spare.draft(&compiler.current.services);
        GenerationBuilder {
            compiler,
            generation: Generation { draft, events: Vec::new(), changes: Changes::default() },
            weights: HashMap::new(),
            changed: HashSet::new(),
            now,
        }
    }

    /// Applies the difference between two lists of services. Shared services are skipped.
    pub fn apply_difference(&mut self, before: &Services, desired: &Services) {
        let (old, new) = Services::difference(before, desired);
        let kept: HashSet<ServiceKey> = new.iter().map(|service| service.key).collect();
        for service in old.iter().filter(|service| !kept.contains(&service.key)) {
            self.remove_service(service.key);
        }
        let old: HashMap<ServiceKey, _> = old.iter().map(|service| (service.key, service)).collect();
        for service in new {
            if old.get(&service.key).is_none_or(|old| !Arc::ptr_eq(old, service)) {
                self.set_whole_service(service);
            }
        }
    }

    /// Applies the steps of a transaction.
    pub fn apply_steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Service(service) => self.set_service(service),
                Step::ServiceRemoved(key) => self.remove_service(*key),
                // IPVS notifies schedulers of every edit, even if nothing changes.
                Step::Destination(key, destination) => self.set_destination(*key, destination, true),
                Step::DestinationRemoved(key, destination) => {
                    if let Some(id) = self.compiler.destination_id(&(*key, *destination)) {
                        self.remove_destination(*key, id);
                    }
                }
            }
        }
    }

    /// Rebuilds the scheduler tables of changed services and returns the result.
    pub fn finish(mut self) -> Generation {
        let draft = &mut self.generation.draft;
        for id in self.changed {
            let Some(mut service) = draft.take_service(id) else { continue };
            let known = |id| draft.known(id);
            service.slots =
                sched::slots(service.scheduler, service.key.is_ipv6(), &service.destinations, known);
            draft.put_service(id, service);
        }
        self.compiler.index.build_call_openers(draft);
        self.generation
    }

    /// Removes a service and its destinations.
    fn remove_service(&mut self, key: ServiceKey) {
        let Some(id) = self.compiler.services.free(&key).map(ServiceId) else { return };
        self.weights.remove(&id);
        self.generation.changes.service_removed(key);
        let Some(gone) = self.generation.draft.take_service(id) else { return };
        self.compiler.index.service(&mut self.generation.draft, id, gone.key, false);
        self.compiler.index.set_call_service(id, None);
        for destination in gone.destinations {
            self.move_to_trash(destination);
            // The scheduler is gone too, but with expire_nodest_conn workers expire the destination's connections.
            self.push(id, EventKind::Removed(destination, None), 1, 0, Counting::Never);
        }
    }

    /// Adds or changes a service with its destinations.
    fn set_whole_service(&mut self, wanted: &model::Service) {
        self.set_service(wanted);
        self.remove_others(wanted);
        for destination in &wanted.destinations {
            self.set_destination(wanted.key, destination, false);
        }
    }

    /// Adds or changes a service, but not its destinations.
    fn set_service(&mut self, wanted: &model::Service) {
        let key = wanted.key;
        // Limits were checked before anything changed.
        let Some((number, new)) = self.compiler.services.claim(key) else { return };
        let id = ServiceId(number);
        let known = self.generation.draft.take_service(id);
        if new {
            self.generation.changes.services_added.insert(key);
            self.compiler.index.service(&mut self.generation.draft, id, convert::service_key(key), true);
        }
        let scheduler = wanted.scheduler.into();
        let fresh = known.as_ref().is_none_or(|service| service.scheduler != scheduler);
        let (destinations, slots) =
            known.map_or_else(|| (Vec::new(), Arc::default()), |known| (known.destinations, known.slots));
        let service = Service {
            key: convert::service_key(key),
            scheduler,
            fallback: wanted.flags.fallback,
            hash_l4_port: wanted.flags.hash_l4_port,
            ops: wanted.ops,
            persistence: convert::persistence(wanted),
            destinations,
            slots,
        };
        if fresh {
            self.notify(id, EventKind::Reset, Counting::Never, &service);
        }
        self.compiler.index.set_call_service(id, Some(&service));
        self.generation.draft.put_service(id, service);
    }

    /// Removes the destinations of a service that are no longer configured.
    fn remove_others(&mut self, wanted: &model::Service) {
        let known = |d: &model::Destination| self.compiler.destination_id(&(wanted.key, d.key()));
        let kept: HashSet<DestinationId> = wanted.destinations.iter().filter_map(known).collect();
        let id = self.compiler.service_id(&wanted.key);
        let service = id.and_then(|id| self.generation.draft.service(id));
        let current = service.map_or(&[][..], |service| &service.destinations);
        let removed: Vec<DestinationId> = current.iter().copied().filter(|id| !kept.contains(id)).collect();
        for id in removed {
            self.remove_destination(wanted.key, id);
        }
    }

    fn remove_destination(&mut self, key: ServiceKey, gone: DestinationId) {
        let Some(id) = self.compiler.service_id(&key) else { return };
        let Some(mut service) = self.generation.draft.take_service(id) else { return };
        if let Some(index) = service.destinations.iter().position(|id| *id == gone) {
            self.weigh(id, &service);
            service.destinations.remove(index);
            let before = index.checked_sub(1).and_then(|index| service.destinations.get(index).copied());
            let weight = self.generation.draft.known(gone).map_or(0, |known| known.weight);
            self.weigh(id, &service).count(weight, false);
            self.move_to_trash(gone);
            self.notify(id, EventKind::Removed(gone, before), Counting::Never, &service);
        }
        self.generation.draft.put_service(id, service);
    }

    /// Adds or changes a destination; with `notify`, schedulers are notified even if nothing changes.
    fn set_destination(&mut self, service_key: ServiceKey, wanted: &model::Destination, notify: bool) {
        let key = (service_key, wanted.key());
        let Some(id) = self.compiler.service_id(&service_key) else { return };
        let Some((number, fresh)) = self.compiler.destinations.claim(key) else { return };
        let Some(target) = self.compiler.targets.claim(wanted.address, fresh) else { return };
        self.compiler.trash.remove(&key);
        let destination = DestinationId(number);
        self.generation.changes.destinations_set.insert(destination, key);
        let old = self.generation.draft.known(destination).cloned();
        let new = configured(wanted, old.as_ref(), id, target);
        let there = old.as_ref().filter(|old| old.available);
        if !notify && there.is_some_and(|old| is_same(old, &new)) {
            return;
        }
        let Some(mut service) = self.generation.draft.take_service(id) else { return };
        // Spec 2.4; this also applies to a destination that is added again.
        let clears = old.as_ref().is_some_and(|old| new.upper == 0 || new.upper > old.upper);
        let weights = self.weigh(id, &service);
        if let Some(old) = there {
            weights.count(old.weight, false);
        }
        weights.count(new.weight, true);
        let mut counting = Counting::between(old.as_ref(), &new);
        let after = Counting::between(Some(&new), &new);
        self.write_destination(destination, service_key, old.as_ref(), new);
        if there.is_none() {
            service.destinations.insert(0, destination);
            let counting = std::mem::replace(&mut counting, after);
            self.notify(id, EventKind::Added(destination), counting, &service);
        }
        if there.is_some() || clears {
            self.notify(id, EventKind::Edited { destination, clears }, counting, &service);
        }
        self.generation.draft.put_service(id, service);
    }

    /// Writes a destination and updates the lookup tables.
    fn write_destination(
        &mut self,
        id: DestinationId,
        service: ServiceKey,
        old: Option<&Destination>,
        new: Destination,
    ) {
        let draft = &mut self.generation.draft;
        let was_nat = self.compiler.nat.contains(&id);
        if let Some(old) = old {
            self.compiler.index.destination(draft, service, old, was_nat, false);
        }
        let nat = was_nat || new.method == Method::Nat;
        if nat {
            self.compiler.nat.insert(id);
        }
        self.compiler.index.destination(draft, service, &new, nat, true);
        draft.put_destination(id, Some(new));
    }

    fn move_to_trash(&mut self, id: DestinationId) {
        self.generation.changes.destination_removed(id);
        let Some(&key) = self.compiler.destination_key(id) else { return };
        self.compiler.trash.insert(key, self.now);
        if let Some(old) = self.generation.draft.known(id).cloned() {
            self.write_destination(id, key.0, Some(&old), Destination { available: false, ..old.clone() });
        }
    }

    /// Returns the weights of a service's destinations.
    fn weigh(&mut self, id: ServiceId, service: &Service) -> &mut Weights {
        let draft = &self.generation.draft;
        self.weights.entry(id).or_insert_with(|| Weights::of(&service.destinations, draft))
    }

    fn notify(&mut self, id: ServiceId, kind: EventKind, counting: Counting, service: &Service) {
        let (gcd, max_weight) = self.weigh(id, service).summary();
        self.changed.insert(id);
        self.push(id, kind, gcd, max_weight, counting);
    }

    fn push(&mut self, service: ServiceId, kind: EventKind, gcd: u32, max_weight: u32, counting: Counting) {
        self.generation.events.push(Event { service, kind, gcd, max_weight, counting });
    }
}

/// Number of destinations of a service by weight, without weight 0.
#[derive(Default)]
struct Weights(BTreeMap<u32, u32>);

impl Weights {
    fn of(destinations: &[DestinationId], draft: &Draft) -> Weights {
        let mut weights = Weights::default();
        let known = destinations.iter().filter_map(|&id| draft.known(id));
        known.for_each(|destination| weights.count(destination.weight, true));
        weights
    }

    fn count(&mut self, weight: u32, more: bool) {
        if weight == 0 {
            return;
        }
        let count = self.0.entry(weight).or_default();
        step(count, more);
        if *count == 0 {
            self.0.remove(&weight);
        }
    }

    /// Returns the greatest common divisor of the weights (1 if there are none) and the largest weight.
    fn summary(&self) -> (u32, u32) {
        let mut gcd = 0;
        for &weight in self.0.keys() {
            gcd = sched::gcd(gcd, weight);
            // 1 is the minimum.
            if gcd == 1 {
                break;
            }
        }
        (gcd.max(1), self.0.last_key_value().map_or(0, |(&weight, _)| weight))
    }
}

fn configured(
    wanted: &model::Destination,
    old: Option<&Destination>,
    service: ServiceId,
    target: TargetId,
) -> Destination {
    // Spec 2.3: the latest weight that was not 0, or the weight with which the destination was added.
    let last_weight = match old.filter(|old| old.available) {
        Some(old) if wanted.weight == 0 => old.last_weight,
        _ => wanted.weight,
    };
    Destination {
        endpoint: Endpoint { address: wanted.address, l4_port: wanted.l4_port },
        method: convert::method(wanted),
        available: true,
        weight: wanted.weight,
        last_weight,
        upper: wanted.upper_threshold,
        lower: wanted.lower_threshold,
        service,
        target,
    }
}

fn is_same(old: &Destination, new: &Destination) -> bool {
    (old.available, old.weight, old.method, old.upper, old.lower)
        == (new.available, new.weight, new.method, new.upper, new.lower)
}

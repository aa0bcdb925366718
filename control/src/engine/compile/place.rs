//! Puts services and destinations where their ids say, and notes what schedulers must hear.

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
use super::{Compiler, FullKey, convert};
use crate::model::edit::Step;
use crate::model::{self, ServiceKey, Services};

/// A generation in the making.
pub(super) struct Placing<'a> {
    compiler: &'a mut Compiler,
    placed: Placed,
    /// Destinations whose schedulers hear of an edit in any case.
    touched: HashSet<FullKey>,
    /// The weights of services that something was done to.
    weights: HashMap<ServiceId, Weights>,
    /// Services whose tables must be made anew.
    changed: HashSet<ServiceId>,
    now: Duration,
}

/// A generation that is made.
pub(super) struct Placed {
    /// What it holds.
    pub draft: Draft,
    /// What schedulers must hear.
    pub events: Vec<Event>,
    /// What changes.
    pub changes: Changes,
}

impl Placing<'_> {
    /// Begins with what the last generation holds.
    pub fn new(compiler: &mut Compiler, now: Duration) -> Placing<'_> {
        let draft = compiler.spare.draft(&compiler.current.services);
        let touched = std::mem::take(&mut compiler.touched);
        Placing {
            compiler,
            placed: Placed { draft, events: Vec::new(), changes: Changes::default() },
            touched,
            weights: HashMap::new(),
            changed: HashSet::new(),
            now,
        }
    }

    /// Goes from what was desired last to what is desired now, by comparing them. Services that both share are not
    /// looked at.
    pub fn compare(&mut self, before: &Services, desired: &Services) {
        let (old, new) = Services::apart(before, desired);
        let stay: HashSet<ServiceKey> = new.iter().map(|service| service.key()).collect();
        for service in old.iter().filter(|service| !stay.contains(&service.key())) {
            self.remove_service(service.key());
        }
        let old: HashMap<ServiceKey, _> = old.iter().map(|service| (service.key(), service)).collect();
        for service in new {
            if old.get(&service.key()).is_none_or(|old| !Arc::ptr_eq(old, service)) {
                self.place_whole(service);
            }
        }
        // What was edited without any change.
        let left: HashSet<ServiceKey> = self.touched.iter().map(|(service, _)| *service).collect();
        if !left.is_empty() {
            desired.iter().filter(|of| left.contains(&of.key())).for_each(|of| self.place_whole(of));
        }
    }

    /// Follows from the last configuration step by step.
    pub fn follow(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Service(service) => self.place_service(service),
                Step::ServiceGone(key) => self.remove_service(*key),
                // IPVS tells schedulers of every edit, also of one that changes nothing.
                Step::Destination(key, destination) => self.place_destination(*key, destination, true),
                Step::DestinationGone(key, destination) => {
                    if let Some(id) = self.compiler.destination_id(&(*key, *destination)) {
                        self.remove_destination(*key, id);
                    }
                }
            }
        }
    }

    /// Makes the tables of services whose schedulers heard of something; then all is in its place.
    pub fn finish(mut self) -> Placed {
        let draft = &mut self.placed.draft;
        for id in self.changed {
            let Some(mut service) = draft.take_service(id) else { continue };
            let known = |id| draft.known(id);
            service.slots =
                sched::slots(service.scheduler, service.name.is_ipv6(), &service.destinations, known);
            draft.put_service(id, service);
        }
        self.compiler.index.callers(draft);
        self.placed
    }

    /// Removes a service and its destinations.
    fn remove_service(&mut self, key: ServiceKey) {
        let Some(id) = self.compiler.services.free(&key).map(ServiceId) else { return };
        self.weights.remove(&id);
        self.placed.changes.service_goes(key);
        let Some(gone) = self.placed.draft.take_service(id) else { return };
        self.compiler.index.name(&mut self.placed.draft, id, gone.name, false);
        self.compiler.index.caller(id, None);
        for destination in gone.destinations {
            self.retire(destination);
            // No scheduler is left to hear it, but workers with expire_nodest_conn end its connections.
            self.push(id, EventKind::Removed(destination, None), 1, 0, Counting::Never);
        }
    }

    /// Adds or changes a service with its destinations.
    fn place_whole(&mut self, wanted: &model::Service) {
        self.place_service(wanted);
        self.remove_others(wanted);
        for destination in &wanted.destinations {
            self.place_destination(wanted.key(), destination, false);
        }
    }

    /// Adds or changes a service; its destinations stay as they are.
    fn place_service(&mut self, wanted: &model::Service) {
        let key = wanted.key();
        // Room was checked before anything changed.
        let Some((number, new)) = self.compiler.services.claim(key) else { return };
        let id = ServiceId(number);
        let known = self.placed.draft.take_service(id);
        if new {
            self.placed.changes.added.insert(key);
            self.compiler.index.name(&mut self.placed.draft, id, convert::name(key), true);
        }
        let scheduler = wanted.scheduler.into();
        let fresh = known.as_ref().is_none_or(|service| service.scheduler != scheduler);
        let (destinations, slots) =
            known.map_or_else(|| (Vec::new(), Arc::default()), |known| (known.destinations, known.slots));
        let service = Service {
            name: convert::name(key),
            scheduler,
            fallback: wanted.flags.fallback,
            hash_l4_port: wanted.flags.l4_port,
            ops: wanted.ops,
            persistence: convert::persistence(wanted),
            destinations,
            slots,
        };
        if fresh {
            self.hear(id, EventKind::Reset, Counting::Never, &service);
        }
        self.compiler.index.caller(id, Some(&service));
        self.placed.draft.put_service(id, service);
    }

    /// Removes the destinations of a service that are not wanted any more.
    fn remove_others(&mut self, wanted: &model::Service) {
        let known = |d: &model::Destination| self.compiler.destination_id(&(wanted.key(), d.key()));
        let stay: HashSet<DestinationId> = wanted.destinations.iter().filter_map(known).collect();
        let id = self.compiler.service_id(&wanted.key());
        let service = id.and_then(|id| self.placed.draft.service(id));
        let there = service.map_or(&[][..], |service| &service.destinations);
        let gone: Vec<DestinationId> = there.iter().copied().filter(|id| !stay.contains(id)).collect();
        for id in gone {
            self.remove_destination(wanted.key(), id);
        }
    }

    fn remove_destination(&mut self, key: ServiceKey, gone: DestinationId) {
        let Some(id) = self.compiler.service_id(&key) else { return };
        let Some(mut service) = self.placed.draft.take_service(id) else { return };
        if let Some(place) = service.destinations.iter().position(|id| *id == gone) {
            self.weigh(id, &service);
            service.destinations.remove(place);
            let before = place.checked_sub(1).and_then(|place| service.destinations.get(place).copied());
            let weight = self.placed.draft.known(gone).map_or(0, |known| known.weight);
            self.weigh(id, &service).count(weight, false);
            self.retire(gone);
            self.hear(id, EventKind::Removed(gone, before), Counting::Never, &service);
        }
        self.placed.draft.put_service(id, service);
    }

    /// Adds or changes a destination; `told` is when schedulers hear of it even if nothing changes.
    fn place_destination(&mut self, service_key: ServiceKey, wanted: &model::Destination, told: bool) {
        let key = (service_key, wanted.key());
        let Some(id) = self.compiler.service_id(&service_key) else { return };
        let Some((number, fresh)) = self.compiler.destinations.claim(key) else { return };
        let Some(target) = self.compiler.targets.claim(wanted.address, fresh) else { return };
        self.compiler.ghosts.remove(&key);
        let destination = DestinationId(number);
        self.placed.changes.placed.insert(destination, key);
        let told = self.touched.remove(&key) || told;
        let old = self.placed.draft.known(destination).cloned();
        let new = configured(wanted, old.as_ref(), id, target);
        let there = old.as_ref().filter(|old| old.available);
        if !told && there.is_some_and(|old| is_same(old, &new)) {
            return;
        }
        let Some(mut service) = self.placed.draft.take_service(id) else { return };
        // Spec 2.4; a destination that comes back follows the rule too.
        let clears = old.as_ref().is_some_and(|old| new.upper == 0 || new.upper > old.upper);
        let weights = self.weigh(id, &service);
        if let Some(old) = there {
            weights.count(old.weight, false);
        }
        weights.count(new.weight, true);
        let mut counting = Counting::between(old.as_ref(), &new);
        let after = Counting::between(Some(&new), &new);
        self.set(destination, service_key, old.as_ref(), new);
        if there.is_none() {
            service.destinations.insert(0, destination);
            let counting = std::mem::replace(&mut counting, after);
            self.hear(id, EventKind::Added(destination), counting, &service);
        }
        if there.is_some() || clears {
            self.hear(id, EventKind::Edited { destination, clears }, counting, &service);
        }
        self.placed.draft.put_service(id, service);
    }

    /// Puts a destination in its place and into the lookups.
    fn set(&mut self, id: DestinationId, service: ServiceKey, old: Option<&Destination>, new: Destination) {
        let draft = &mut self.placed.draft;
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

    fn retire(&mut self, id: DestinationId) {
        self.placed.changes.destination_goes(id);
        let Some(&key) = self.compiler.destination_key(id) else { return };
        self.compiler.ghosts.insert(key, self.now);
        if let Some(old) = self.placed.draft.known(id).cloned() {
            self.set(id, key.0, Some(&old), Destination { available: false, ..old.clone() });
        }
    }

    /// The weights of a service's destinations.
    fn weigh(&mut self, id: ServiceId, service: &Service) -> &mut Weights {
        let draft = &self.placed.draft;
        self.weights.entry(id).or_insert_with(|| Weights::of(&service.destinations, draft))
    }

    fn hear(&mut self, id: ServiceId, kind: EventKind, counting: Counting, service: &Service) {
        let (gcd, max_weight) = self.weigh(id, service).summary();
        self.changed.insert(id);
        self.push(id, kind, gcd, max_weight, counting);
    }

    fn push(&mut self, service: ServiceId, kind: EventKind, gcd: u32, max_weight: u32, counting: Counting) {
        self.placed.events.push(Event { service, kind, gcd, max_weight, counting });
    }
}

/// How many destinations of a service have each weight but 0.
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
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.0.remove(&weight);
        }
    }

    /// What schedulers must know of them: their greatest common divisor, 1 when there is none, and the greatest.
    fn summary(&self) -> (u32, u32) {
        let mut gcd = 0;
        for &weight in self.0.keys() {
            gcd = sched::gcd(gcd, weight);
            // It cannot become less.
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
    // Spec 2.3: the latest weight that was not 0, or the one it was added, or added again, with.
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

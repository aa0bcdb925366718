//! Puts services and destinations where their ids say, and notes what schedulers must hear.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::config::{Event, EventKind};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::sched;
use pollux_dataplane::service::{Destination, DestinationId, Service, ServiceId, Services, TargetId};

use super::{Compiler, FullKey, convert};
use crate::edit::Step;
use crate::model::{self, Config, ServiceKey};

/// A generation in the making.
pub(super) struct Placing<'a> {
    compiler: &'a mut Compiler,
    /// What the generation will hold.
    pub services: Services,
    /// What schedulers must hear.
    pub events: Vec<Event>,
    /// Destinations whose schedulers hear of an edit in any case.
    touched: HashSet<FullKey>,
    /// Of services whose weights were looked through and have not changed since.
    weights: HashMap<ServiceId, Weights>,
    /// Destinations that an event is about already.
    named: HashSet<DestinationId>,
    /// Services whose tables must be made anew.
    changed: HashSet<ServiceId>,
    now: Duration,
}

impl Placing<'_> {
    /// Begins with what the last generation holds.
    pub fn new(compiler: &mut Compiler, now: Duration) -> Placing<'_> {
        let services = Services::clone(&compiler.current.services);
        let touched = std::mem::take(&mut compiler.touched);
        Placing {
            compiler,
            services,
            events: Vec::new(),
            touched,
            weights: HashMap::new(),
            named: HashSet::new(),
            changed: HashSet::new(),
            now,
        }
    }

    /// Follows from the last configuration to this one, by comparing them.
    pub fn compare(&mut self, desired: &Config) {
        let stay: HashSet<ServiceKey> = desired.services.iter().map(model::Service::key).collect();
        let known: Vec<ServiceKey> = self.compiler.config.services.iter().map(model::Service::key).collect();
        for key in known.into_iter().filter(|key| !stay.contains(key)) {
            self.remove_service(key);
        }
        for service in &desired.services {
            self.place_service(service);
            self.remove_others(service);
            for destination in &service.destinations {
                self.place_destination((service.key(), destination), false);
            }
        }
        self.finish();
    }

    /// Follows from the last configuration step by step.
    pub fn follow(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Service(service) => self.place_service(service),
                Step::ServiceGone(key) => self.remove_service(*key),
                // IPVS tells schedulers of every edit, also of one that changes nothing.
                Step::Destination(key, destination) => self.place_destination((*key, destination), true),
                Step::DestinationGone(key, destination) => {
                    if let Some(id) = self.compiler.destination_id(&(*key, *destination)) {
                        self.remove_destination(*key, id);
                    }
                }
            }
        }
        self.finish();
    }

    /// Removes a service and its destinations.
    fn remove_service(&mut self, key: ServiceKey) {
        let Some(id) = self.compiler.services.free(&key) else { return };
        self.weights.remove(&ServiceId(id));
        let gone = self.services.services[id as usize].take();
        for destination in gone.into_iter().flat_map(|service| service.destinations) {
            self.retire(destination);
            // No scheduler is left to hear it, but workers with expire_nodest_conn end its connections.
            self.push(ServiceId(id), EventKind::Removed(destination, None), Weights::default());
        }
    }

    /// Adds or changes a service; its destinations stay as they are.
    fn place_service(&mut self, wanted: &model::Service) {
        // Room was checked before anything changed.
        let Some((number, _)) = self.compiler.services.claim(wanted.key()) else { return };
        let id = ServiceId(number);
        grow(&mut self.services.services, number);
        let known = self.services.services[number as usize].take();
        let scheduler = convert::scheduler(wanted.scheduler);
        let fresh = known.as_ref().is_none_or(|service| service.scheduler != scheduler);
        let (destinations, slots) =
            known.map_or_else(|| (Vec::new(), Arc::default()), |known| (known.destinations, known.slots));
        let service = Service {
            name: convert::name(wanted.key()),
            scheduler,
            fallback: wanted.flags.fallback,
            hash_l4_port: wanted.flags.l4_port,
            one_packet: wanted.one_packet,
            persistence: convert::persistence(wanted),
            destinations,
            slots,
        };
        if fresh {
            self.hear(id, EventKind::Fresh, &service);
        }
        self.services.services[number as usize] = Some(service);
    }

    /// Removes the destinations of a service that are not wanted any more.
    fn remove_others(&mut self, wanted: &model::Service) {
        let known = |d: &model::Destination| self.compiler.destination_id(&(wanted.key(), d.key()));
        let stay: HashSet<DestinationId> = wanted.destinations.iter().filter_map(known).collect();
        let id = self.compiler.service_id(&wanted.key());
        let service = id.and_then(|id| self.services.service(id));
        let there = service.map_or(&[][..], |service| &service.destinations);
        let gone: Vec<DestinationId> = there.iter().copied().filter(|id| !stay.contains(id)).collect();
        for id in gone {
            self.remove_destination(wanted.key(), id);
        }
    }

    fn remove_destination(&mut self, key: ServiceKey, gone: DestinationId) {
        let Some(id) = self.compiler.service_id(&key) else { return };
        let Some(mut service) = self.take(id) else { return };
        if let Some(place) = service.destinations.iter().position(|id| *id == gone) {
            service.destinations.remove(place);
            let before = place.checked_sub(1).and_then(|place| service.destinations.get(place).copied());
            self.retire(gone);
            self.weights.remove(&id);
            self.hear(id, EventKind::Removed(gone, before), &service);
        }
        self.services.services[id.0 as usize] = Some(service);
    }

    /// Adds or changes a destination; `told` is when schedulers hear of it even if nothing changes.
    fn place_destination(&mut self, (service_key, wanted): (ServiceKey, &model::Destination), told: bool) {
        let key = (service_key, wanted.key());
        let Some(id) = self.compiler.service_id(&service_key) else { return };
        let (Some((number, _)), Some((target, _))) =
            (self.compiler.destinations.claim(key), self.compiler.targets.claim(wanted.address))
        else {
            return;
        };
        let Some(mut service) = self.take(id) else { return };
        self.compiler.ghosts.remove(&key);
        let destination = DestinationId(number);
        if wanted.method == model::Method::Nat {
            self.compiler.nat.insert(destination);
        }
        grow(&mut self.services.destinations, number);
        let old = self.services.destinations[number as usize].take();
        let new = configured(wanted, old.as_ref(), id, TargetId(target));
        // Spec 2.4; a destination that comes back follows the rule too.
        let clears = old.as_ref().is_some_and(|old| new.upper == 0 || new.upper > old.upper);
        let same = old.as_ref().is_some_and(|old| is_same(old, &new));
        let is_there = old.as_ref().is_some_and(|old| old.available);
        if is_there && old.is_some_and(|old| old.weight != new.weight) {
            self.weights.remove(&id);
        }
        self.services.destinations[number as usize] = Some(new);
        let edited = EventKind::Edited { destination, clears };
        if !is_there {
            service.destinations.insert(0, destination);
            self.hear(id, EventKind::Added(destination), &service);
            if clears {
                self.hear(id, edited, &service);
            }
        } else if !same || told || self.touched.contains(&key) {
            self.hear(id, edited, &service);
        }
        self.services.services[id.0 as usize] = Some(service);
    }

    /// Makes the tables of services whose schedulers heard of something.
    fn finish(&mut self) {
        for id in std::mem::take(&mut self.changed) {
            let Some(mut service) = self.take(id) else { continue };
            let (services, ipv6) = (&self.services, service.name.is_ipv6());
            service.slots =
                sched::slots(service.scheduler, ipv6, &service.destinations, |id| services.destination(id));
            self.services.services[id.0 as usize] = Some(service);
        }
    }

    fn take(&mut self, id: ServiceId) -> Option<Service> {
        self.services.services.get_mut(id.0 as usize)?.take()
    }

    fn retire(&mut self, id: DestinationId) {
        if let Some(Some(destination)) = self.services.destinations.get_mut(id.0 as usize) {
            destination.available = false;
        }
        if let Some(&key) = self.compiler.destination_key(id) {
            self.compiler.ghosts.insert(key, self.now);
        }
    }

    fn hear(&mut self, id: ServiceId, kind: EventKind, service: &Service) {
        let weight = |id| self.services.destination(id).map_or(0, |destination| destination.weight);
        let weights = match (self.weights.get(&id), kind) {
            // One more: the others need not be looked at again.
            (Some(known), EventKind::Added(id)) => known.with(weight(id)),
            (Some(known), _) => *known,
            (None, _) => {
                service.destinations.iter().fold(Weights::default(), |known, &id| known.with(weight(id)))
            }
        };
        self.weights.insert(id, weights);
        self.changed.insert(id);
        self.push(id, kind, weights);
    }

    fn push(&mut self, service: ServiceId, kind: EventKind, Weights { gcd, max }: Weights) {
        let named = match kind {
            EventKind::Added(of) | EventKind::Edited { destination: of, .. } => !self.named.insert(of),
            EventKind::Fresh | EventKind::Removed(..) => false,
        };
        self.events.push(Event { service, kind, gcd: gcd.unwrap_or(1), max_weight: max, again: named });
    }
}

/// What schedulers must know of all positive weights of a service.
#[derive(Clone, Copy, Default)]
struct Weights {
    gcd: Option<u32>,
    max: u32,
}

impl Weights {
    fn with(self, weight: u32) -> Weights {
        if weight == 0 {
            return self;
        }
        let gcd = self.gcd.map_or(weight, |gcd| sched::gcd(gcd, weight));
        Weights { gcd: Some(gcd), max: self.max.max(weight) }
    }
}

fn grow<T: Clone>(list: &mut Vec<Option<T>>, number: u32) {
    if list.len() <= number as usize {
        list.resize(number as usize + 1, None);
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

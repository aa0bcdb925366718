//! Puts services and destinations where their ids say, and notes what schedulers must hear.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;
use pollux_dataplane::config::{Event, EventKind};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::sched;
use pollux_dataplane::service::{Destination, DestinationId, Service, ServiceId, Services, TargetId};

use super::{Compiler, FullKey, convert};
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
    now: Duration,
}

impl Placing<'_> {
    /// Begins with what the last generation holds.
    pub fn new(compiler: &mut Compiler, now: Duration) -> Placing<'_> {
        let services = Services::clone(&compiler.current.services);
        let touched = std::mem::take(&mut compiler.touched);
        Placing { compiler, services, events: Vec::new(), touched, now }
    }

    /// Removes services that are not wanted any more, and their destinations.
    pub fn remove_services(&mut self, desired: &Config) {
        let stay: HashSet<ServiceKey> = desired.services.iter().map(model::Service::key).collect();
        let known: Vec<ServiceKey> = self.compiler.config.services.iter().map(model::Service::key).collect();
        for key in known.into_iter().filter(|key| !stay.contains(key)) {
            let Some(id) = self.compiler.services.free(&key) else { continue };
            let gone = self.services.services[id as usize].take();
            for destination in gone.into_iter().flat_map(|service| service.destinations) {
                self.retire(destination);
                // No scheduler is left to hear it, but workers with expire_nodest_conn end its connections.
                let kind = EventKind::Removed(destination, None);
                self.events.push(Event { service: ServiceId(id), kind, gcd: 1, max_weight: 0 });
            }
        }
    }

    /// Adds or changes a service.
    pub fn place_service(&mut self, wanted: &model::Service) {
        // Room was checked before anything changed.
        let Some((number, _)) = self.compiler.services.claim(wanted.key()) else { return };
        let id = ServiceId(number);
        grow(&mut self.services.services, number);
        let known = self.services.services[number as usize].take();
        let scheduler = convert::scheduler(wanted.scheduler);
        let fresh = known.as_ref().is_none_or(|service| service.scheduler != scheduler);
        let (destinations, slots) =
            known.map_or_else(|| (Vec::new(), Arc::default()), |known| (known.destinations, known.slots));
        let mut service = Service {
            name: convert::name(wanted.key()),
            scheduler,
            fallback: wanted.flags.fallback,
            hash_l4_port: wanted.flags.l4_port,
            one_packet: wanted.one_packet,
            persistence: convert::persistence(wanted),
            destinations,
            slots,
        };
        let heard = self.events.len();
        if fresh {
            self.hear(id, EventKind::Fresh, &service);
        }
        self.remove_destinations(wanted, id, &mut service);
        for destination in &wanted.destinations {
            self.place_destination((wanted.key(), destination), id, &mut service);
        }
        if self.events.len() > heard {
            let services = &self.services;
            let ipv6 = wanted.key().family() == model::Family::Ipv6;
            service.slots =
                sched::slots(scheduler, ipv6, &service.destinations, |id| services.destination(id));
        }
        self.services.services[number as usize] = Some(service);
    }

    fn remove_destinations(&mut self, wanted: &model::Service, id: ServiceId, service: &mut Service) {
        let known = |d: &model::Destination| self.compiler.destination_id(&(wanted.key(), d.key()));
        let stay: HashSet<DestinationId> = wanted.destinations.iter().filter_map(known).collect();
        while let Some(place) = service.destinations.iter().position(|id| !stay.contains(id)) {
            let gone = service.destinations.remove(place);
            let before = place.checked_sub(1).and_then(|place| service.destinations.get(place).copied());
            self.retire(gone);
            self.hear(id, EventKind::Removed(gone, before), service);
        }
    }

    fn place_destination(
        &mut self,
        (service_key, wanted): (ServiceKey, &model::Destination),
        id: ServiceId,
        service: &mut Service,
    ) {
        let key = (service_key, wanted.key());
        let (Some((number, _)), Some((target, _))) =
            (self.compiler.destinations.claim(key), self.compiler.targets.claim(wanted.address))
        else {
            return;
        };
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
        self.services.destinations[number as usize] = Some(new);
        let edited = EventKind::Edited { destination, clears };
        if !service.destinations.contains(&destination) {
            service.destinations.insert(0, destination);
            self.hear(id, EventKind::Added(destination), service);
            if clears {
                self.hear(id, edited, service);
            }
        } else if !same || self.touched.contains(&key) {
            self.hear(id, edited, service);
        }
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
        let weights = || {
            let known = service.destinations.iter().filter_map(|&id| self.services.destination(id));
            known.map(|destination| destination.weight).filter(|&weight| weight > 0)
        };
        let gcd = weights().reduce(sched::gcd).unwrap_or(1);
        let max_weight = weights().max().unwrap_or(0);
        self.events.push(Event { service: id, kind, gcd, max_weight });
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

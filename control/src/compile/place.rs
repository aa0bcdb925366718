//! Puts services and destinations where their ids say, and notes what schedulers must hear.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::config::{Event, EventKind};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::sched;
use pollux_dataplane::service::{Destination, DestinationId, Service, ServiceId, TargetId};

use super::changes::Changes;
use super::draft::Draft;
use super::{Compiler, FullKey, convert};
use crate::model::{self, ServiceKey, Services};

/// A generation in the making.
pub(super) struct Placing<'a> {
    compiler: &'a mut Compiler,
    /// What the generation will hold.
    pub draft: Draft,
    /// What schedulers must hear.
    pub events: Vec<Event>,
    /// What changes.
    pub changes: Changes,
    /// Destinations whose schedulers hear of an edit in any case.
    touched: HashSet<FullKey>,
    now: Duration,
}

impl Placing<'_> {
    /// Begins with what the last generation holds.
    pub fn new(compiler: &mut Compiler, now: Duration) -> Placing<'_> {
        let draft = compiler.spare.draft(&compiler.current.services);
        let touched = std::mem::take(&mut compiler.touched);
        Placing { compiler, draft, events: Vec::new(), changes: Changes::default(), touched, now }
    }

    /// Goes from what was desired last to what is desired now. Services that both share are not looked at.
    pub fn change(&mut self, before: &Services, desired: &Services) {
        let (old, new) = Services::apart(before, desired);
        let old: HashMap<ServiceKey, _> = old.iter().map(|service| (service.key(), service)).collect();
        let stay: HashSet<ServiceKey> = new.iter().map(|service| service.key()).collect();
        for service in Services::apart(before, desired).0 {
            if !stay.contains(&service.key()) {
                self.remove_service(service.key());
            }
        }
        for service in new {
            if old.get(&service.key()).is_none_or(|old| !Arc::ptr_eq(old, service)) {
                self.place_service(service);
            }
        }
        // What was edited without any change.
        let left: HashSet<ServiceKey> = self.touched.iter().map(|(service, _)| *service).collect();
        if !left.is_empty() {
            desired
                .iter()
                .filter(|service| left.contains(&service.key()))
                .for_each(|s| self.place_service(s));
        }
    }

    fn remove_service(&mut self, key: ServiceKey) {
        let Some(id) = self.compiler.services.free(&key).map(ServiceId) else { return };
        self.changes.removed.push(key);
        let Some(gone) = self.draft.take_service(id) else { return };
        self.compiler.index.name(&mut self.draft, id, gone.name, false);
        for destination in gone.destinations {
            self.retire(destination);
            // No scheduler is left to hear it, but workers with expire_nodest_conn end its connections.
            let kind = EventKind::Removed(destination, None);
            self.events.push(Event { service: id, kind, gcd: 1, max_weight: 0 });
        }
    }

    /// Adds or changes a service.
    fn place_service(&mut self, wanted: &model::Service) {
        let key = wanted.key();
        // Room was checked before anything changed.
        let Some((number, new)) = self.compiler.services.claim(key) else { return };
        let id = ServiceId(number);
        let known = self.draft.take_service(id);
        if new {
            self.changes.added.push(key);
            self.compiler.index.name(&mut self.draft, id, convert::name(key), true);
        }
        let scheduler = convert::scheduler(wanted.scheduler);
        let fresh = known.as_ref().is_none_or(|service| service.scheduler != scheduler);
        let (destinations, slots) =
            known.map_or_else(|| (Vec::new(), Arc::default()), |known| (known.destinations, known.slots));
        let heard = self.events.len();
        let mut list = List::new(id, &destinations, &self.draft);
        if fresh {
            self.events.push(list.event(EventKind::Fresh));
        }
        let destinations = self.place_destinations(wanted, destinations, &mut list);
        let mut service = Service {
            name: convert::name(key),
            scheduler,
            fallback: wanted.flags.fallback,
            hash_l4_port: wanted.flags.l4_port,
            one_packet: wanted.one_packet,
            persistence: convert::persistence(wanted),
            destinations,
            slots,
        };
        if self.events.len() > heard {
            let ipv6 = key.family() == model::Family::Ipv6;
            let draft = &self.draft;
            service.slots = sched::slots(scheduler, ipv6, &service.destinations, |id| draft.known(id));
        }
        self.draft.put_service(id, service);
    }

    /// Removes those that are not wanted from the list, then adds or changes the wanted ones; gives the new list.
    fn place_destinations(
        &mut self,
        wanted: &model::Service,
        here: Vec<DestinationId>,
        list: &mut List,
    ) -> Vec<DestinationId> {
        let known = |d: &model::Destination| self.compiler.destination_id(&(wanted.key(), d.key()));
        let stay: HashSet<DestinationId> = wanted.destinations.iter().filter_map(known).collect();
        let mut left: Vec<DestinationId> = Vec::with_capacity(here.len());
        for id in here {
            if stay.contains(&id) {
                left.push(id);
                continue;
            }
            let weight = self.draft.known(id).map_or(0, |known| known.weight);
            self.retire(id);
            list.count(weight, false);
            self.events.push(list.event(EventKind::Removed(id, left.last().copied())));
        }
        let here: HashSet<DestinationId> = left.iter().copied().collect();
        let mut newest = Vec::new();
        for destination in &wanted.destinations {
            let key = (wanted.key(), destination.key());
            if let Some(id) = self.place_destination(key, destination, list, &here) {
                newest.push(id);
            }
        }
        newest.reverse();
        newest.extend(left);
        newest
    }

    /// Adds or changes a destination; gives its id when it is not in the list yet.
    fn place_destination(
        &mut self,
        key: FullKey,
        wanted: &model::Destination,
        list: &mut List,
        here: &HashSet<DestinationId>,
    ) -> Option<DestinationId> {
        let (number, fresh) = self.compiler.destinations.claim(key)?;
        let target = self.compiler.targets.claim(wanted.address, fresh)?;
        self.compiler.ghosts.remove(&key);
        let id = DestinationId(number);
        self.changes.placed.push((id, key));
        let is_new = !here.contains(&id);
        let touched = self.touched.remove(&key);
        let old = self.draft.known(id).cloned();
        let new = configured(wanted, old.as_ref(), list.service, target);
        if !is_new && !touched && old.as_ref().is_some_and(|old| is_same(old, &new)) {
            return None;
        }
        // Spec 2.4; a destination that comes back follows the rule too.
        let clears = old.as_ref().is_some_and(|old| new.upper == 0 || new.upper > old.upper);
        if let Some(old) = old.as_ref().filter(|_| !is_new) {
            list.count(old.weight, false);
        }
        list.count(new.weight, true);
        self.set(id, key.0, old.as_ref(), new);
        let edited = EventKind::Edited { destination: id, clears };
        if is_new {
            self.events.push(list.event(EventKind::Added(id)));
        }
        // The two stand side by side: workers count a destination once.
        if !is_new || clears {
            self.events.push(list.event(edited));
        }
        is_new.then_some(id)
    }

    /// Puts a destination in its place and into the lookups.
    fn set(&mut self, id: DestinationId, service: ServiceKey, old: Option<&Destination>, new: Destination) {
        let was_nat = self.compiler.nat.contains(&id);
        if let Some(old) = old {
            self.compiler.index.destination(&mut self.draft, service, (old, was_nat), false);
        }
        let nat = was_nat || new.method == pollux_dataplane::service::Method::Nat;
        if nat {
            self.compiler.nat.insert(id);
        }
        self.compiler.index.destination(&mut self.draft, service, (&new, nat), true);
        self.draft.put_destination(id, Some(new));
    }

    fn retire(&mut self, id: DestinationId) {
        self.changes.retired.push(id);
        let Some(&key) = self.compiler.destination_key(id) else { return };
        self.compiler.ghosts.insert(key, self.now);
        if let Some(old) = self.draft.known(id).cloned() {
            self.set(id, key.0, Some(&old), Destination { available: false, ..old.clone() });
        }
    }
}

/// The weights of a service's destinations as they change.
struct List {
    service: ServiceId,
    weights: BTreeMap<u32, u32>,
}

impl List {
    fn new(service: ServiceId, destinations: &[DestinationId], draft: &Draft) -> List {
        let mut list = List { service, weights: BTreeMap::new() };
        let known = destinations.iter().filter_map(|&id| draft.known(id));
        known.for_each(|destination| list.count(destination.weight, true));
        list
    }

    fn count(&mut self, weight: u32, more: bool) {
        if weight == 0 {
            return;
        }
        let count = self.weights.entry(weight).or_default();
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            self.weights.remove(&weight);
        }
    }

    fn event(&self, kind: EventKind) -> Event {
        let gcd = self.weights.keys().copied().reduce(sched::gcd).unwrap_or(1);
        let max_weight = self.weights.last_key_value().map_or(0, |(&weight, _)| weight);
        Event { service: self.service, kind, gcd, max_weight }
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

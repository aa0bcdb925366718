//! From what is desired and what the kernel knows to one immutable snapshot; ids stay stable from one to the next.

mod convert;
mod ids;
mod network;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use pollux_dataplane::config::{Event, EventKind, Snapshot, Target};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::service::{Destination, DestinationId, Name, Service, ServiceId, Services, TargetId};
use thiserror::Error;

pub use self::convert::protocol_number;
use self::ids::Ids;
pub use self::network::UnknownPort;
use crate::kernel::facts::Facts;
use crate::model::{self, Config, DestinationKey, ServiceKey};

/// How long a removed destination without connections stays, to be found again; spec 2.6.
pub const TRASH: Duration = Duration::from_secs(120);

/// Why a configuration cannot become a snapshot.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// No service id is free.
    #[error("start.services: {0} services are all in use; start the daemon with more")]
    TooManyServices(usize),
    /// No destination id is free.
    #[error(
        "start.destinations: {0} destinations are all in use, removed ones with connections included; start the daemon with more"
    )]
    TooManyDestinations(usize),
}

/// What tells a destination from all others.
pub type FullKey = (ServiceKey, DestinationKey);

/// Remembers ids, so that connections keep meaning the same destination whatever else changes.
pub struct Compiler {
    services: Ids<ServiceKey>,
    destinations: Ids<FullKey>,
    targets: Ids<std::net::IpAddr>,
    /// Removed destinations, and when.
    ghosts: HashMap<FullKey, Duration>,
    /// Destinations that are, or were, reached by NAT: their old connections' replies still come from there.
    nat: hashbrown::HashSet<DestinationId>,
    ports: HashMap<String, u16>,
    config: Config,
    current: Snapshot,
}

impl Compiler {
    /// A compiler for so many services and destinations at most, on ports with these names.
    pub fn new(start: &model::Start, ports: impl IntoIterator<Item = String>) -> Compiler {
        Compiler {
            services: Ids::new(start.services as usize),
            destinations: Ids::new(start.destinations as usize),
            targets: Ids::new(start.destinations as usize),
            ghosts: HashMap::new(),
            nat: hashbrown::HashSet::new(),
            ports: ports.into_iter().zip(0..).collect(),
            config: Config { start: start.clone(), ..Config::default() },
            current: Snapshot::default(),
        }
    }

    /// What was compiled last.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The snapshot compiled last.
    pub fn snapshot(&self) -> &Snapshot {
        &self.current
    }

    /// The id of a service that exists.
    pub fn service_id(&self, key: &ServiceKey) -> Option<ServiceId> {
        self.services.get(key).map(ServiceId)
    }

    /// The id of a destination, a removed one with connections too.
    pub fn destination_id(&self, key: &FullKey) -> Option<DestinationId> {
        self.destinations.get(key).map(DestinationId)
    }

    /// The service a destination belongs, or belonged, to, and its own key.
    pub fn destination_key(&self, id: DestinationId) -> Option<&FullKey> {
        self.destinations.key(id.0)
    }

    /// The ids of a service's destinations, removed ones with connections too.
    pub fn destinations_of(&self, key: &ServiceKey) -> impl Iterator<Item = DestinationId> {
        let key = *key;
        let of_service = move |full: &FullKey| full.0 == key;
        self.destinations
            .numbered()
            .filter(move |(_, full)| of_service(full))
            .map(|(id, _)| DestinationId(id))
    }

    /// The ids of all destinations, removed ones with connections too.
    pub fn destination_ids(&self) -> impl Iterator<Item = DestinationId> {
        self.destinations.numbered().map(|(id, _)| DestinationId(id))
    }

    /// Compiles a validated configuration: the next snapshot, and what schedulers must hear. `now` is the daemon's
    /// age.
    ///
    /// # Errors
    /// When ids run out; nothing has changed then.
    pub fn configure(
        &mut self,
        desired: &Config,
        now: Duration,
    ) -> Result<(Snapshot, Vec<Event>), CompileError> {
        self.check_room(desired)?;
        let mut services = Services::clone(&self.current.services);
        let mut events = Vec::new();
        self.remove_services(desired, &mut services, now);
        for service in &desired.services {
            self.place_service(service, &mut services, &mut events, now);
        }
        self.index(&mut services);
        self.config = desired.clone();
        self.current.settings = convert::settings(&desired.settings);
        self.current.services = Arc::new(services);
        self.aim();
        self.current.generation += 1;
        Ok((self.current.clone(), events))
    }

    /// Compiles what the kernel, or the configuration, says of the network.
    ///
    /// # Errors
    /// When a link is on a port that does not exist; nothing has changed then.
    pub fn learn(&mut self, facts: &Facts) -> Result<Snapshot, UnknownPort> {
        let generation = self.current.network.generation + 1;
        self.current.network = Arc::new(network::compile(facts, &self.ports, generation)?);
        self.aim();
        self.current.generation += 1;
        Ok(self.current.clone())
    }

    /// Frees the ids of destinations that were removed long ago and have no connections; gives those freed.
    pub fn sweep(&mut self, now: Duration, connections: impl Fn(DestinationId) -> u64) -> Vec<DestinationId> {
        let over: Vec<FullKey> = self
            .ghosts
            .iter()
            .filter(|&(key, &since)| {
                now.saturating_sub(since) >= TRASH
                    && self.destination_id(key).is_none_or(|id| connections(id) == 0)
            })
            .map(|(key, _)| *key)
            .collect();
        if over.is_empty() {
            return Vec::new();
        }
        let mut services = Services::clone(&self.current.services);
        let freed = over.iter().filter_map(|key| {
            self.ghosts.remove(key);
            let id = self.destinations.free(key)?;
            self.nat.remove(&DestinationId(id));
            services.destinations[id as usize] = None;
            Some(DestinationId(id))
        });
        let freed = freed.collect();
        self.index(&mut services);
        self.current.services = Arc::new(services);
        self.current.generation += 1;
        freed
    }

    /// Whether there are ids for everything in `desired`.
    ///
    /// # Errors
    /// What there are too few of.
    pub fn check_room(&self, desired: &Config) -> Result<(), CompileError> {
        let new = desired.services.iter().filter(|s| self.services.get(&s.key()).is_none()).count();
        let gone = self.services.len().saturating_sub(desired.services.len() - new);
        if self.services.len() - gone + new > self.services.capacity() {
            return Err(CompileError::TooManyServices(self.services.capacity()));
        }
        let unknown = desired
            .services
            .iter()
            .flat_map(|s| s.destinations.iter().map(|d| (s.key(), d.key())))
            .filter(|key| self.destinations.get(key).is_none())
            .count();
        if self.destinations.len() + unknown > self.destinations.capacity() {
            return Err(CompileError::TooManyDestinations(self.destinations.capacity()));
        }
        Ok(())
    }

    fn remove_services(&mut self, desired: &Config, services: &mut Services, now: Duration) {
        let stay: hashbrown::HashSet<ServiceKey> = desired.services.iter().map(model::Service::key).collect();
        for service in self.config.services.iter().filter(|service| !stay.contains(&service.key())) {
            for destination in &service.destinations {
                let key = (service.key(), destination.key());
                if let Some(id) = self.destinations.get(&key) {
                    retire(services, id);
                    self.ghosts.insert(key, now);
                }
            }
            if let Some(id) = self.services.free(&service.key()) {
                services.services[id as usize] = None;
            }
        }
    }

    fn place_service(
        &mut self,
        wanted: &model::Service,
        services: &mut Services,
        events: &mut Vec<Event>,
        now: Duration,
    ) {
        let key = wanted.key();
        // Room was checked before anything changed.
        let Some((id, _)) = self.services.claim(key) else { return };
        if services.services.len() <= id as usize {
            services.services.resize(id as usize + 1, None);
        }
        let scheduler = convert::scheduler(wanted.scheduler);
        let known = services.services[id as usize].take();
        let fresh = known.as_ref().is_none_or(|service| service.scheduler != scheduler);
        let mut service = known.unwrap_or_else(|| Service {
            name: convert::name(key),
            scheduler,
            fallback: false,
            hash_l4_port: false,
            one_packet: false,
            persistence: None,
            destinations: Vec::new(),
            slots: Arc::new([]),
        });
        service.scheduler = scheduler;
        service.fallback = wanted.flags.fallback;
        service.hash_l4_port = wanted.flags.l4_port;
        service.one_packet = wanted.one_packet;
        service.persistence = convert::persistence(wanted);
        let id = ServiceId(id);
        if fresh {
            events.push(event(id, EventKind::Fresh, &service, services));
        }
        self.remove_destinations(wanted, (id, &mut service), services, events, now);
        for destination in &wanted.destinations {
            self.place_destination((key, destination), &mut service, id, services, events);
        }
        services.services[id.0 as usize] = Some(service);
    }

    fn remove_destinations(
        &mut self,
        wanted: &model::Service,
        (id, service): (ServiceId, &mut Service),
        services: &mut Services,
        events: &mut Vec<Event>,
        now: Duration,
    ) {
        let stay: hashbrown::HashSet<DestinationId> = wanted
            .destinations
            .iter()
            .filter_map(|d| self.destination_id(&(wanted.key(), d.key())))
            .collect();
        while let Some(place) = service.destinations.iter().position(|id| !stay.contains(id)) {
            let gone = service.destinations.remove(place);
            let before = place.checked_sub(1).and_then(|place| service.destinations.get(place).copied());
            retire(services, gone.0);
            if let Some(&key) = self.destinations.key(gone.0) {
                self.ghosts.insert(key, now);
            }
            events.push(event(id, EventKind::Removed(gone, before), service, services));
        }
    }

    fn place_destination(
        &mut self,
        (service_key, wanted): (ServiceKey, &model::Destination),
        service: &mut Service,
        id: ServiceId,
        services: &mut Services,
        events: &mut Vec<Event>,
    ) {
        let key = (service_key, wanted.key());
        let (Some((number, _)), Some((target, _))) =
            (self.destinations.claim(key), self.targets.claim(wanted.address))
        else {
            return;
        };
        self.ghosts.remove(&key);
        if wanted.method == model::Method::Nat {
            self.nat.insert(DestinationId(number));
        }
        if services.destinations.len() <= number as usize {
            services.destinations.resize(number as usize + 1, None);
        }
        let destination = Destination {
            endpoint: Endpoint { address: wanted.address, l4_port: wanted.l4_port },
            method: convert::method(wanted),
            available: true,
            weight: wanted.weight,
            last_weight: wanted.weight,
            upper: wanted.upper_threshold,
            lower: wanted.lower_threshold,
            service: id,
            target: TargetId(target),
        };
        let place = &mut services.destinations[number as usize];
        let same = place.as_ref().is_some_and(|old| {
            old.available && old.weight == destination.weight && old.method == destination.method
        });
        *place = Some(destination);
        let number = DestinationId(number);
        if !service.destinations.contains(&number) {
            service.destinations.insert(0, number);
            events.push(event(id, EventKind::Added(number), service, services));
        } else if !same {
            events.push(event(
                id,
                EventKind::Edited { destination: number, clears: false },
                service,
                services,
            ));
        }
    }

    /// Builds the lookups anew.
    fn index(&self, services: &mut Services) {
        services.by_endpoint.clear();
        services.by_mark.clear();
        services.nat_sources.clear();
        services.addresses.clear();
        for (id, service) in (0..).map(ServiceId).zip(&services.services) {
            let Some(service) = service else { continue };
            match service.name {
                Name::Address(endpoint, protocol) => {
                    services.by_endpoint.insert((endpoint, protocol), id);
                    services.addresses.insert(endpoint.address);
                }
                Name::Mark { mark, ipv6 } => {
                    services.by_mark.insert((mark, ipv6), id);
                }
            }
        }
        for (id, destination) in (0..).zip(&services.destinations) {
            let was_nat = self.nat.contains(&DestinationId(id));
            let Some(destination) = destination.as_ref().filter(|_| was_nat) else { continue };
            let Some((service, _)) = self.destinations.key(id) else { continue };
            if let ServiceKey::Address { protocol, .. } = *service {
                services.nat_sources.insert((destination.endpoint, protocol_number(protocol)));
            }
            services.addresses.insert(destination.endpoint.address);
        }
    }

    /// Looks the ways to all destinations up anew.
    fn aim(&mut self) {
        let network = &self.current.network;
        let targets: Vec<Target> = self.targets.keys().map(|&address| network.target(address)).collect();
        self.current.targets = targets.into();
    }

    /// Addresses whose hardware address the kernel should look for: the next hops of all destinations.
    pub fn unresolved(&self) -> impl Iterator<Item = (u16, std::net::IpAddr)> + '_ {
        self.current.targets.iter().filter_map(|target| match target.next {
            pollux_dataplane::config::NextHop::Unresolved(link, address) => Some((link.0, address)),
            _ => None,
        })
    }
}

fn retire(services: &mut Services, id: u32) {
    if let Some(Some(destination)) = services.destinations.get_mut(id as usize) {
        destination.available = false;
    }
}

fn event(id: ServiceId, kind: EventKind, service: &Service, services: &Services) -> Event {
    let weights = || {
        service
            .destinations
            .iter()
            .filter_map(|&id| services.destination(id))
            .map(|d| d.weight)
            .filter(|&w| w > 0)
    };
    Event {
        service: id,
        kind,
        gcd: weights().reduce(gcd).unwrap_or(1),
        max_weight: weights().max().unwrap_or(0),
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

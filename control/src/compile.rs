//! From what is desired and what the kernel knows to one immutable snapshot; ids stay stable from one to the next.

mod convert;
mod ids;
mod index;
mod marks;
mod network;
mod place;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::config::{Event, MarkRule, Snapshot, Target};
use pollux_dataplane::service::{DestinationId, ServiceId, Services};
use pollux_dataplane::trace::Switches;
use thiserror::Error;

pub use self::convert::protocol_number;
use self::ids::Ids;
pub use self::network::UnknownPort;
use self::place::Placing;
use crate::defence::{self, Defence, Modes, Pages};
use crate::edit::Step;
use crate::fault::Fault;
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
    /// A rule for marks is about a port that is not there.
    #[error("{0}")]
    UnknownMarkPort(Fault),
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
    nat: HashSet<DestinationId>,
    ports: HashMap<String, u16>,
    /// Destinations whose edit schedulers must hear of.
    touched: HashSet<FullKey>,
    /// Free connection memory, for the automatic defences.
    available: Pages,
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
            nat: HashSet::new(),
            ports: ports.into_iter().zip(0..).collect(),
            touched: HashSet::new(),
            available: Pages::PLENTY,
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
        self.check(desired)?;
        let marks = marks::compile(&desired.marks, &self.ports)?;
        let mut placing = Placing::new(self, now);
        placing.compare(desired);
        let Placing { services, events, .. } = placing;
        Ok((self.adopt(desired.clone(), services, marks), events))
    }

    /// The same for a configuration that came of these steps, which schedulers hear of one by one.
    ///
    /// # Errors
    /// As [`Compiler::configure`].
    pub fn follow(
        &mut self,
        desired: Config,
        steps: &[Step],
        now: Duration,
    ) -> Result<(Snapshot, Vec<Event>), CompileError> {
        self.check_steps(steps)?;
        let marks = marks::compile(&desired.marks, &self.ports)?;
        let mut placing = Placing::new(self, now);
        placing.follow(steps);
        let Placing { services, events, .. } = placing;
        Ok((self.adopt(desired, services, marks), events))
    }

    fn adopt(&mut self, desired: Config, mut services: Services, marks: Vec<MarkRule>) -> Snapshot {
        self.index(&mut services);
        let written = desired.settings.clone();
        self.config = desired;
        let defence = self.defend(&written);
        self.current.settings = convert::settings(&written, defence);
        self.current.marks = marks.into();
        self.current.services = Arc::new(services);
        self.aim();
        self.publish()
    }

    /// The next [`Compiler::configure`] tells the service's scheduler of an edit of this destination even if nothing
    /// of it changes, as IPVS does for every edit that is asked for.
    pub fn touch(&mut self, destination: FullKey) {
        self.touched.insert(destination);
    }

    /// Debug events that workers tell from the next snapshot on.
    pub fn use_switches(&mut self, debug: Switches) {
        self.current.debug = debug;
    }

    /// The next snapshot, which differs in nothing but the debug events that are told.
    pub fn switch(&mut self, debug: Switches) -> Snapshot {
        self.current.debug = debug;
        self.current.generation += 1;
        self.current.clone()
    }

    /// What the defences do now.
    pub fn defence(&self) -> Defence {
        let s = &self.current.settings;
        Defence { drop_entry: s.drop_entry, drop_rate: s.drop_rate, secure_tcp: s.secure_tcp }
    }

    /// Removed destinations that are remembered.
    pub fn trash(&self) -> std::collections::HashSet<DestinationId> {
        self.ghosts.keys().filter_map(|key| self.destination_id(key)).collect()
    }

    /// Notes how much connection memory is free. True when the automatic defences then do otherwise than they do: the
    /// same configuration must be compiled again.
    pub fn note_available(&mut self, pages: Pages) -> bool {
        self.available = pages;
        let (modes, defence) = self.evaluate(&self.config.settings);
        modes != Modes::of(&self.config.settings) || defence != self.defence()
    }

    fn evaluate(&self, settings: &model::Settings) -> (Modes, Defence) {
        defence::evaluate(Modes::of(settings), self.available, settings.amemthresh, settings.am_droprate)
    }

    /// Evaluates the defences; the rewritten modes are part of what runs.
    fn defend(&mut self, written: &model::Settings) -> Defence {
        let (modes, defence) = self.evaluate(written);
        modes.write(&mut self.config.settings);
        defence
    }

    /// Compiles what the kernel, or the configuration, says of the network.
    ///
    /// # Errors
    /// When a link is on a port that does not exist; nothing has changed then.
    pub fn learn(&mut self, facts: &Facts) -> Result<Snapshot, UnknownPort> {
        let generation = self.current.network.generation + 1;
        self.current.network = Arc::new(network::compile(facts, &self.ports, generation)?);
        self.aim();
        Ok(self.publish())
    }

    /// Whether facts can be compiled.
    ///
    /// # Errors
    /// When a link is on a port that does not exist.
    pub fn check_facts(&self, facts: &Facts) -> Result<(), UnknownPort> {
        network::compile(facts, &self.ports, 0).map(drop)
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
        self.publish();
        freed
    }

    /// Whether there are ids for everything in `desired`, and the ports its rules name.
    ///
    /// # Errors
    /// What there are too few of, or what is not there.
    pub fn check(&self, desired: &Config) -> Result<(), CompileError> {
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
        marks::compile(&desired.marks, &self.ports)?;
        Ok(())
    }

    /// Whether there are ids for all destinations that steps name; those that go again keep theirs for a while.
    fn check_steps(&self, steps: &[Step]) -> Result<(), CompileError> {
        let named = |step: &Step| match step {
            Step::Destination(service, destination) => Some((*service, destination.key())),
            _ => None,
        };
        let unknown: HashSet<FullKey> =
            steps.iter().filter_map(named).filter(|key| self.destinations.get(key).is_none()).collect();
        if self.destinations.len() + unknown.len() > self.destinations.capacity() {
            return Err(CompileError::TooManyDestinations(self.destinations.capacity()));
        }
        Ok(())
    }

    /// Looks the ways to all destinations up anew.
    fn aim(&mut self) {
        let network = &self.current.network;
        let targets: Vec<Target> = self.targets.keys().map(|&address| network.target(address)).collect();
        self.current.targets = targets.into();
    }

    /// The next generation, ready for workers.
    fn publish(&mut self) -> Snapshot {
        self.current.pave();
        self.current.generation += 1;
        self.current.clone()
    }

    /// Addresses whose hardware address the kernel should look for: the next hops of all destinations.
    pub fn unresolved(&self) -> impl Iterator<Item = (u16, std::net::IpAddr)> + '_ {
        self.current.targets.iter().filter_map(|target| match target.next {
            pollux_dataplane::config::NextHop::Unresolved(link, address) => Some((link.0, address)),
            _ => None,
        })
    }
}

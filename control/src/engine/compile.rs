//! From what is desired and what the kernel knows to one immutable snapshot; ids stay stable from one to the next.

pub mod changes;
mod convert;
mod draft;
mod fwmarks;
mod ids;
mod index;
mod network;
mod place;
mod targets;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::config::{Event, FwmarkRule, NextHop, Snapshot, Target};
use pollux_dataplane::service::{DestinationId, ServiceId};
use pollux_dataplane::trace::Switches;
use thiserror::Error;

use self::changes::Changes;
pub use self::convert::protocol_number;
use self::draft::Spare;
use self::ids::Ids;
use self::index::Index;
pub use self::network::UnknownPort;
use self::place::{Placed, Placing};
use self::targets::Targets;
use crate::api::error::Failure;
use crate::engine::defence::{self, Defence, Modes, Pages};
use crate::model::edit::Step;
use crate::model::input_error::{InputError, InputErrors};
use crate::model::network_config::NetworkConfig;
use crate::model::{self, Config, DestinationKey, ServiceKey};

/// How long a removed destination without connections stays, to be found again; spec 2.6.
pub const TRASH: Duration = Duration::from_secs(120);

/// Why a configuration cannot become a snapshot.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CompileError {
    /// No service id is free.
    #[error(
        "polluxd runs with room for {0} services, and this needs more; with a larger start.services in what is \
         configured, restart it"
    )]
    TooManyServices(usize),
    /// No destination id is free.
    #[error(
        "polluxd runs with room for {0} destinations, removed ones with connections included, and this needs more; \
         with a larger start.destinations in what is configured, restart it"
    )]
    TooManyDestinations(usize),
    /// A rule for marks is about a port that is not there.
    #[error("{0}")]
    UnknownMarkPort(InputError),
}

impl From<CompileError> for Failure {
    fn from(why: CompileError) -> Failure {
        match why {
            CompileError::UnknownMarkPort(error) => Failure::InputErrors(InputErrors(vec![error])),
            CompileError::TooManyServices(_) | CompileError::TooManyDestinations(_) => {
                Failure::NoRoom(why.to_string())
            }
        }
    }
}

/// What tells a destination from all others.
pub type FullKey = (ServiceKey, DestinationKey);

/// Remembers ids, so that connections keep meaning the same destination whatever else changes.
pub struct Compiler {
    services: Ids<ServiceKey>,
    destinations: Ids<FullKey>,
    targets: Targets,
    /// Removed destinations, and when.
    ghosts: HashMap<FullKey, Duration>,
    /// Destinations that are, or were, reached by NAT: their old connections' replies still come from there.
    nat: HashSet<DestinationId>,
    ports: HashMap<String, u16>,
    /// Destinations whose edit schedulers must hear of.
    touched: HashSet<FullKey>,
    /// Free connection memory, for the automatic defences.
    available: Pages,
    index: Index,
    config: Config,
    current: Snapshot,
    spare: Spare,
    changes: Changes,
}

impl Compiler {
    /// A compiler for so many services and destinations at most, on ports with these names.
    pub fn new(start: &model::Start, ports: impl IntoIterator<Item = String>) -> Compiler {
        Compiler {
            services: Ids::new(start.services as usize),
            destinations: Ids::new(start.destinations as usize),
            targets: Targets::new(start.destinations as usize),
            ghosts: HashMap::new(),
            nat: HashSet::new(),
            ports: ports.into_iter().zip(0..).collect(),
            touched: HashSet::new(),
            available: Pages::PLENTY,
            config: Config { start: start.clone(), ..Config::default() },
            index: Index::default(),
            current: Snapshot::default(),
            spare: Spare::default(),
            changes: Changes::default(),
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

    /// One more than the largest id a destination ever had.
    pub fn destination_end(&self) -> u32 {
        self.destinations.end()
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
        let fwmarks = fwmarks::compile(&desired.fwmarks, &self.ports)?;
        let before = std::mem::replace(&mut self.config, desired.clone());
        let mut placing = Placing::new(self, now);
        placing.compare(&before.services, &desired.services);
        let placed = placing.finish();
        Ok(self.adopt(placed, fwmarks))
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
        let fwmarks = fwmarks::compile(&desired.fwmarks, &self.ports)?;
        self.config = desired;
        let mut placing = Placing::new(self, now);
        placing.follow(steps);
        let placed = placing.finish();
        Ok(self.adopt(placed, fwmarks))
    }

    /// Makes what was placed the current generation.
    fn adopt(&mut self, placed: Placed, fwmarks: Vec<FwmarkRule>) -> (Snapshot, Vec<Event>) {
        let Placed { draft, events, changes } = placed;
        self.changes = changes;
        let settings = self.config.settings.clone();
        let defence = self.defend(&settings);
        self.current.settings = convert::settings(&settings, defence);
        self.current.fwmarks = fwmarks.into();
        self.spare.publish(draft, &mut self.current.services);
        self.current.targets = self.targets.aim(&self.current.network, &self.current.targets);
        (self.publish(), events)
    }

    /// What the last [`Compiler::configure`] changed.
    pub fn changes(&self) -> &Changes {
        &self.changes
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
    pub fn trash(&self) -> HashSet<DestinationId> {
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
    pub fn learn(&mut self, network_config: &NetworkConfig) -> Result<Snapshot, UnknownPort> {
        let generation = self.current.network.generation + 1;
        self.current.network = Arc::new(network::compile(network_config, &self.ports, generation)?);
        self.current.targets = self.targets.aim_all(&self.current.network);
        self.current.build_adjacencies();
        self.current.generation += 1;
        Ok(self.current.clone())
    }

    /// Whether facts can be compiled.
    ///
    /// # Errors
    /// When a link is on a port that does not exist.
    pub fn check_network(&self, network_config: &NetworkConfig) -> Result<(), UnknownPort> {
        network::compile(network_config, &self.ports, 0).map(drop)
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
        let mut draft = self.spare.draft(&self.current.services);
        let mut freed = Vec::new();
        for key in &over {
            self.ghosts.remove(key);
            let Some(id) = self.destinations.free(key).map(DestinationId) else { continue };
            let nat = self.nat.remove(&id);
            if let Some(old) = draft.known(id).cloned() {
                self.index.destination(&mut draft, key.0, &old, nat, false);
            }
            draft.put_destination(id, None);
            self.targets.release(key.1.address);
            freed.push(id);
        }
        self.spare.publish(draft, &mut self.current.services);
        self.publish();
        freed
    }

    /// Whether there are ids for everything in `desired`, and the ports its rules name.
    ///
    /// # Errors
    /// What there are too few of, or what is not there.
    pub fn check(&self, desired: &Config) -> Result<(), CompileError> {
        let (old, new) = model::Services::apart(&self.config.services, &desired.services);
        let stay: HashSet<ServiceKey> = new.iter().map(|service| service.key()).collect();
        let gone = old.iter().filter(|service| !stay.contains(&service.key())).count();
        let come = new.iter().filter(|service| self.services.get(&service.key()).is_none()).count();
        if self.services.len() - gone + come > self.services.capacity() {
            return Err(CompileError::TooManyServices(self.services.capacity()));
        }
        let unknown = new
            .iter()
            .flat_map(|s| s.destinations.iter().map(|d| (s.key(), d.key())))
            .filter(|key| self.destinations.get(key).is_none())
            .count();
        if self.destinations.len() + unknown > self.destinations.capacity() {
            return Err(CompileError::TooManyDestinations(self.destinations.capacity()));
        }
        fwmarks::compile(&desired.fwmarks, &self.ports)?;
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

    /// The next generation, ready for workers; its services are the draft that was published last.
    fn publish(&mut self) -> Snapshot {
        self.current.rebuild_adjacencies(self.spare.destinations());
        self.current.generation += 1;
        self.current.clone()
    }

    /// Addresses whose hardware address the kernel should look for: the next hops of all destinations.
    pub fn unresolved(&self) -> impl Iterator<Item = (u16, std::net::IpAddr)> + '_ {
        let used = self.current.targets.iter().enumerate().filter(|(id, _)| self.targets.is_used(*id));
        used.filter_map(|(_, target)| unresolved(target))
    }

    /// Those of them that the last [`Compiler::configure`] brought.
    pub fn newly_unresolved(&self) -> impl Iterator<Item = (u16, std::net::IpAddr)> + '_ {
        self.targets.fresh().filter_map(|id| unresolved(self.current.targets.get(id)?))
    }
}

fn unresolved(target: &Target) -> Option<(u16, std::net::IpAddr)> {
    match target.next {
        NextHop::Unresolved(link, address) => Some((link.0, address)),
        _ => None,
    }
}

//! Compiles the configuration and the network state into an immutable snapshot for the workers. Ids of services and
//! destinations stay the same from one snapshot to the next.

pub mod changes;
mod convert;
mod draft;
mod fwmarks;
mod generation;
mod ids;
mod index;
mod network;
mod targets;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::config::{Event, FwmarkRule, NextHop, Snapshot, Target};
use pollux_dataplane::service::{DestinationId, ServiceId};
use pollux_dataplane::trace::Switches;

use self::changes::Changes;
pub use self::convert::protocol_number;
use self::draft::Spare;
use self::generation::{Generation, GenerationBuilder};
use self::ids::Ids;
use self::index::Index;
use self::targets::Targets;
use crate::api::error::Failure;
use crate::engine::defence::{self, Defence, Modes, Pages};
use crate::model::edit::{Step, check_limit};
use crate::model::input_error::InputErrors;
use crate::model::network::NetworkState;
use crate::model::{self, Config, DestinationKey, ServiceKey};

/// Minimum time that a removed destination stays in the trash, in case it is added again; spec 2.6.
pub const TRASH_TIME: Duration = Duration::from_secs(120);

/// The error for a port that does not exist, named at `location`; `or` ends the hint.
fn unknown_port(location: String, name: &str, ports: &HashMap<String, u16>, or: &str) -> Failure {
    let mut known: Vec<_> = ports.keys().map(String::as_str).collect();
    known.sort_unstable();
    let hint = format!("use one of {}{or}", known.join(", "));
    InputErrors::one(location, format!("there is no port {name:?}"), hint).into()
}

/// Key that identifies a destination among those of all services.
pub type FullKey = (ServiceKey, DestinationKey);

/// Compiles configurations. It keeps ids stable, so that connections stay with their destination whatever else changes.
pub struct Compiler {
    services: Ids<ServiceKey>,
    destinations: Ids<FullKey>,
    targets: Targets,
    /// The trash: removed destinations, and when they were removed.
    trash: HashMap<FullKey, Duration>,
    /// Destinations whose method is, or was, NAT: replies of old connections still come from them.
    nat: HashSet<DestinationId>,
    ports: HashMap<String, u16>,
    /// Free connection memory, for the automatic defences.
    free_memory: Pages,
    index: Index,
    /// The sizes the compiler was built with. Those in `config` may already be meant for the next start.
    running: model::Start,
    config: Config,
    current: Snapshot,
    spare: Spare,
    changes: Changes,
}

impl Compiler {
    /// Returns a compiler with the limits of `start`, for ports with these names.
    pub fn new(start: &model::Start, ports: impl IntoIterator<Item = String>) -> Compiler {
        Compiler {
            services: Ids::new(start.services as usize),
            destinations: Ids::new(start.destinations as usize),
            targets: Targets::new(start.destinations as usize),
            trash: HashMap::new(),
            nat: HashSet::new(),
            ports: ports.into_iter().zip(0..).collect(),
            free_memory: Pages::PLENTY,
            running: start.clone(),
            config: Config { start: start.clone(), ..Config::default() },
            index: Index::default(),
            current: Snapshot::default(),
            spare: Spare::default(),
            changes: Changes::default(),
        }
    }

    /// Returns the configuration compiled last.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the sizes the compiler was built with.
    pub fn running(&self) -> &model::Start {
        &self.running
    }

    /// Returns the snapshot compiled last.
    pub fn snapshot(&self) -> &Snapshot {
        &self.current
    }

    /// Returns the id of an existing service.
    pub fn service_id(&self, key: &ServiceKey) -> Option<ServiceId> {
        self.services.get(key).map(ServiceId)
    }

    /// Returns the id of a destination, or of a removed one that still has connections.
    pub fn destination_id(&self, key: &FullKey) -> Option<DestinationId> {
        self.destinations.get(key).map(DestinationId)
    }

    /// Returns the keys of a destination and of the service it belongs, or belonged, to.
    pub fn destination_key(&self, id: DestinationId) -> Option<&FullKey> {
        self.destinations.key(id.0)
    }

    /// Returns one more than the largest destination id used so far.
    pub fn destination_end(&self) -> u32 {
        self.destinations.end()
    }

    /// Compiles a validated configuration. Returns the next snapshot, and the events of which schedulers are notified.
    /// `now` is the time since the daemon started.
    ///
    /// # Errors
    /// If there are not enough ids; then nothing has changed.
    pub fn configure(&mut self, desired: &Config, now: Duration) -> Result<(Snapshot, Vec<Event>), Failure> {
        self.check(desired)?;
        let fwmarks = fwmarks::compile(&desired.fwmarks, &self.ports)?;
        let before = std::mem::replace(&mut self.config, desired.clone());
        let mut builder = GenerationBuilder::new(self, now);
        builder.apply_difference(&before.services, &desired.services);
        let generation = builder.finish();
        Ok(self.commit(generation, fwmarks))
    }

    /// Compiles a configuration that resulted from these steps; schedulers are notified of each step.
    ///
    /// # Errors
    /// Those of [`Compiler::configure`].
    pub fn apply_steps(
        &mut self,
        desired: Config,
        steps: &[Step],
        now: Duration,
    ) -> Result<(Snapshot, Vec<Event>), Failure> {
        self.check_steps(steps)?;
        let fwmarks = fwmarks::compile(&desired.fwmarks, &self.ports)?;
        self.config = desired;
        let mut builder = GenerationBuilder::new(self, now);
        builder.apply_steps(steps);
        let generation = builder.finish();
        Ok(self.commit(generation, fwmarks))
    }

    /// Makes the finished generation the current one.
    fn commit(&mut self, generation: Generation, fwmarks: Vec<FwmarkRule>) -> (Snapshot, Vec<Event>) {
        let Generation { draft, events, changes } = generation;
        self.changes = changes;
        let settings = self.config.settings.clone();
        let defence = self.defend(&settings);
        self.current.settings = convert::settings(&settings, defence);
        self.current.fwmarks = fwmarks.into();
        self.spare.publish(draft, &mut self.current.services);
        self.current.targets = self.targets.resolve_new(&self.current.network, &self.current.targets);
        (self.publish(), events)
    }

    /// Returns the changes of the last compilation.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Sets the debug events that workers record from the next snapshot on.
    pub fn use_switches(&mut self, debug: Switches) {
        self.current.debug = debug;
    }

    /// Returns the next snapshot, which differs only in the enabled debug events.
    pub fn switch_debug(&mut self, debug: Switches) -> Snapshot {
        self.current.debug = debug;
        self.current.generation += 1;
        self.current.clone()
    }

    /// Returns the current state of the defences.
    pub fn defence(&self) -> Defence {
        let s = &self.current.settings;
        Defence { drop_entry: s.drop_entry, drop_rate: s.drop_rate, secure_tcp: s.secure_tcp }
    }

    /// Returns the destinations in the trash.
    pub fn trash(&self) -> HashSet<DestinationId> {
        self.trash.keys().filter_map(|key| self.destination_id(key)).collect()
    }

    /// Sets the amount of free connection memory. Returns true if this changes the automatic defences, so that the
    /// configuration must be compiled again.
    pub fn set_free_memory(&mut self, pages: Pages) -> bool {
        self.free_memory = pages;
        let (modes, defence) = self.evaluate(&self.config.settings);
        modes != Modes::of(&self.config.settings) || defence != self.defence()
    }

    fn evaluate(&self, settings: &model::Settings) -> (Modes, Defence) {
        defence::evaluate(Modes::of(settings), self.free_memory, settings.amemthresh, settings.am_droprate)
    }

    /// Evaluates the defences and writes their modes back to the configuration, as IPVS does.
    fn defend(&mut self, written: &model::Settings) -> Defence {
        let (modes, defence) = self.evaluate(written);
        modes.write(&mut self.config.settings);
        defence
    }

    /// Compiles the network state, from the kernel or from the static network configuration.
    ///
    /// # Errors
    /// If a link is on a port that does not exist; then nothing has changed.
    pub fn set_network(&mut self, network_state: &NetworkState) -> Result<Snapshot, Failure> {
        let generation = self.current.network.generation + 1;
        self.current.network = Arc::new(network::compile(network_state, &self.ports, generation)?);
        self.current.targets = self.targets.resolve_all(&self.current.network);
        self.current.build_lookups();
        self.current.generation += 1;
        Ok(self.current.clone())
    }

    /// Checks that a network state can be compiled.
    ///
    /// # Errors
    /// If a link is on a port that does not exist.
    pub fn check_network(&self, network_state: &NetworkState) -> Result<(), Failure> {
        network::compile(network_state, &self.ports, 0).map(drop)
    }

    /// Frees and returns the ids of destinations that have been in the trash for [`TRASH_TIME`] and have no connections.
    pub fn empty_trash(
        &mut self,
        now: Duration,
        connections: impl Fn(DestinationId) -> u64,
    ) -> Vec<DestinationId> {
        let expired: Vec<FullKey> = self
            .trash
            .iter()
            .filter(|&(key, &since)| {
                now.saturating_sub(since) >= TRASH_TIME
                    && self.destination_id(key).is_none_or(|id| connections(id) == 0)
            })
            .map(|(key, _)| *key)
            .collect();
        if expired.is_empty() {
            return Vec::new();
        }
        let mut draft = self.spare.draft(&self.current.services);
        let mut freed = Vec::new();
        for key in &expired {
            self.trash.remove(key);
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

    /// Checks that there are ids for everything in `desired`, and that the ports named by its rules exist.
    ///
    /// # Errors
    /// The limit that would be exceeded, or the unknown port.
    pub fn check(&self, desired: &Config) -> Result<(), Failure> {
        let (old, new) = model::Services::difference(&self.config.services, &desired.services);
        let kept: HashSet<ServiceKey> = new.iter().map(|service| service.key).collect();
        let removed = old.iter().filter(|service| !kept.contains(&service.key)).count();
        let added = new.iter().filter(|service| self.services.get(&service.key).is_none()).count();
        check_limit("services", self.running.services, self.services.len() - removed + added)?;
        let unknown = new
            .iter()
            .flat_map(|s| s.destinations.iter().map(|d| (s.key, d.key())))
            .filter(|key| self.destinations.get(key).is_none())
            .count();
        check_limit("destinations", self.running.destinations, self.destinations.len() + unknown)?;
        fwmarks::compile(&desired.fwmarks, &self.ports)?;
        Ok(())
    }

    /// Checks that there are ids for all destinations in the steps; those in the trash have one.
    fn check_steps(&self, steps: &[Step]) -> Result<(), Failure> {
        let named = |step: &Step| match step {
            Step::Destination(service, destination) => Some((*service, destination.key())),
            _ => None,
        };
        let unknown: HashSet<FullKey> =
            steps.iter().filter_map(named).filter(|key| self.destinations.get(key).is_none()).collect();
        Ok(check_limit("destinations", self.running.destinations, self.destinations.len() + unknown.len())?)
    }

    /// Returns the next generation, with the services that were published last.
    fn publish(&mut self) -> Snapshot {
        self.current.rebuild_adjacencies(self.spare.destinations());
        self.current.generation += 1;
        self.current.clone()
    }

    /// Returns the next hops of all destinations that have no MAC address yet; the kernel is asked to resolve them.
    pub fn unresolved(&self) -> impl Iterator<Item = (u16, std::net::IpAddr)> + '_ {
        let used = self.current.targets.iter().enumerate().filter(|(id, _)| self.targets.is_used(*id));
        used.filter_map(|(_, target)| unresolved(target))
    }

    /// Returns the unresolved next hops added by the last [`Compiler::configure`].
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

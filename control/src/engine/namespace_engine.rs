//! One namespace of the control thread: its configuration, its part of the workers, and its network state.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use pollux_dataplane::config::{Event, Snapshot};
use pollux_dataplane::stats::WorkerCounters;
use pollux_dataplane::trace_site;

use super::link_filter::LinkFilter;
use super::neighbours::UsedNeighbours;
use super::trash;
use crate::api::error::Failure;
use crate::api::request::{Done, Edit, Reply, Request, ServiceListQuery};
use crate::api::view::brief::BriefList;
use crate::api::view::{ServiceList, StatsView};
use crate::debug::{DebugLog, sites};
use crate::engine::compile::Compiler;
use crate::engine::defence::Defence;
use crate::engine::estimate::{Estimate, Estimators};
use crate::engine::observe;
use crate::engine::workers::Workers;
use crate::kernel::netlink::Mirror;
use crate::model::Config;
use crate::model::edit;
use crate::model::input_error::InputErrors;
use crate::model::network::NetworkState;
use crate::model::sysctl;

/// Interval at which the trash is emptied.
const TRASH_INTERVAL: Duration = Duration::from_secs(10);
/// Interval at which the kernel is asked again to resolve next hops without a MAC address.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which the defences are evaluated, as in IPVS.
const DEFEND: Duration = Duration::from_secs(1);

/// One namespace.
pub struct NamespaceEngine {
    pub(super) compiler: Compiler,
    pub(super) workers: Workers,
    /// Mirror of the kernel's network state, if there are twins.
    pub(super) mirror: Option<Mirror>,
    pub(super) used_neighbours: UsedNeighbours,
    /// Carriers that the twins were given, by port.
    pub(super) carriers: HashMap<String, bool>,
    /// The network state that is installed.
    network_state: NetworkState,
    /// The network state that the kernel reported last.
    pub(super) kernel_network: NetworkState,
    /// Ports and VLANs that belong to the namespace.
    link_filter: LinkFilter,
    /// Zero point of the workers' clocks.
    pub(super) epoch: Instant,
    pub(super) began: Instant,
    pub(super) estimators: Estimators,
    pub(super) debug: DebugLog,
    pub(super) traced_defence: Defence,
    trash_emptied: Instant,
    defended: Instant,
    resolve_requested: Instant,
}

impl NamespaceEngine {
    /// Returns a namespace without services; the network state follows by [`NamespaceEngine::set_network`]. `epoch` is
    /// the zero point of the workers' clocks.
    pub fn new(
        compiler: Compiler,
        workers: Workers,
        mirror: Option<Mirror>,
        epoch: Instant,
    ) -> NamespaceEngine {
        let now = Instant::now();
        let network_state = NetworkState::default();
        NamespaceEngine {
            compiler,
            workers,
            mirror,
            used_neighbours: UsedNeighbours::new(),
            carriers: HashMap::new(),
            kernel_network: network_state.clone(),
            network_state,
            link_filter: LinkFilter::default(),
            epoch,
            began: now,
            estimators: Estimators::new(),
            debug: DebugLog::default(),
            traced_defence: Defence::default(),
            trash_emptied: now,
            defended: now,
            resolve_requested: now,
        }
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        self.compiler.config()
    }

    /// Returns the workers.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Executes a request about this namespace.
    ///
    /// # Errors
    /// The reason for refusing it; then nothing has changed.
    pub fn handle(&mut self, request: Request) -> Result<Reply, Failure> {
        match request {
            Request::ConfigGet(_) => Ok(Reply::Config(Box::new(self.compiler.config().clone()))),
            Request::ConfigEdit(many) => self.edit_many(many.edits),
            Request::ServiceAdd(add) => self.edit_one(Edit::ServiceAdd(add)),
            Request::ServiceEdit(change) => self.edit_one(Edit::ServiceEdit(change)),
            Request::ServiceRemove(remove) => self.edit_one(Edit::ServiceRemove(remove)),
            Request::ServiceFlush(none) => self.edit_one(Edit::ServiceFlush(none)),
            Request::ServiceList(query) => Ok(self.list(query)),
            Request::DestinationAdd(add) => self.edit_one(Edit::DestinationAdd(add)),
            Request::DestinationEdit(change) => self.edit_one(Edit::DestinationEdit(change)),
            Request::DestinationRemove(remove) => self.edit_one(Edit::DestinationRemove(remove)),
            Request::ConnectionList(query) => self.connections(&query).map(Reply::Connections),
            Request::StatsGet(_) => Ok(Reply::Stats(self.stats())),
            Request::SettingsSet(change) => self.edit_one(Edit::SettingsSet(Box::new(change))),
            Request::StatsZero(query) => self.edit_one(Edit::StatsZero(query)),
            Request::FwmarksSet(set) => self.edit(|config| edit::set_fwmarks(config, set.fwmarks)),
            Request::SysctlGet(get) => {
                Ok(Reply::Sysctls(sysctl::read_all(&self.compiler.config().settings, &get.names)?))
            }
            Request::SysctlSet(values) => self.edit(|config| sysctl::write(config, &values)),
            Request::DebugSites(query) => self.debug_sites(&query),
            Request::DebugSet(query) => self.debug_set(&query),
            Request::DebugFollow(_) => Ok(Reply::Following(self.debug.follow())),
            Request::ModuleList(_) => {
                let table_bytes = self.counter(|counters| counters.table_bytes.get());
                Ok(Reply::Modules(super::modules::list(self.compiler.config(), table_bytes)))
            }
            Request::ModuleSet(set) => self.edit(|config| edit::set_modules(config, &set)),
            Request::ConfigApply(_) => Err(whole_daemon("config.apply")),
            Request::NamespaceAdd(_) => Err(whole_daemon("namespace.add")),
            Request::NamespaceRemove(_) => Err(whole_daemon("namespace.remove")),
            Request::NamespaceList(_) => Err(whole_daemon("namespace.list")),
            Request::VersionGet(_) => Err(whole_daemon("version.get")),
            Request::DaemonStop(_) => Err(whole_daemon("daemon.stop")),
        }
    }

    fn edit(
        &mut self,
        change: impl FnOnce(&mut Config) -> Result<(), edit::EditError>,
    ) -> Result<Reply, Failure> {
        let mut config = self.compiler.config().clone();
        change(&mut config)?;
        self.configure(&config)?;
        Ok(Reply::Done(Done {}))
    }

    /// Checks that a validated configuration can be installed.
    ///
    /// # Errors
    /// If a limit would be exceeded, or a port does not exist.
    pub fn check(&self, config: &Config) -> Result<(), Failure> {
        self.compiler.check(config)?;
        config.network.iter().try_for_each(|network_state| self.compiler.check_network(network_state))
    }

    /// Installs a configuration that was checked, with its static network configuration and bindings.
    ///
    /// # Errors
    /// If a worker does not respond in time.
    pub fn replace(&mut self, config: &Config, link_filter: LinkFilter) -> Result<(), Failure> {
        if link_filter != self.link_filter || config.network != self.compiler.config().network {
            self.select_network(config.network.clone(), link_filter)?;
        }
        self.configure(config)
    }

    /// Changes the ports and VLANs that belong to the namespace.
    ///
    /// # Errors
    /// If a worker does not respond in time.
    pub fn set_link_filter(&mut self, link_filter: LinkFilter) -> Result<(), Failure> {
        if link_filter == self.link_filter {
            return Ok(());
        }
        self.select_network(self.compiler.config().network.clone(), link_filter)
    }

    /// Installs the static network configuration, or else what the kernel reported last, as far as the filter allows.
    fn select_network(
        &mut self,
        fixed: Option<NetworkState>,
        link_filter: LinkFilter,
    ) -> Result<(), Failure> {
        self.link_filter = link_filter;
        self.install_network(fixed.unwrap_or_else(|| self.kernel_network.clone()))
    }

    /// Installs a validated configuration.
    ///
    /// # Errors
    /// If a limit would be exceeded, or a worker does not respond in time.
    pub fn configure(&mut self, config: &Config) -> Result<(), Failure> {
        // New modes of the defences take effect at once.
        self.compiler.set_free_memory(self.workers.free_memory());
        let now = self.began.elapsed();
        self.compile(config.settings.debug_level, |compiler| compiler.configure(config, now))
    }

    /// Compiles with this debug level, logs the changes as debug events, and installs the snapshot.
    pub(super) fn compile(
        &mut self,
        debug_level: i32,
        compile: impl FnOnce(&mut Compiler) -> Result<(Snapshot, Vec<Event>), Failure>,
    ) -> Result<(), Failure> {
        let (before, trash) = (self.compiler.config().clone(), self.compiler.trash());
        let level = self.debug.level();
        self.debug.set_level(debug_level);
        self.compiler.use_switches(self.debug.switches());
        let (snapshot, events) = compile(&mut self.compiler).inspect_err(|_| {
            self.debug.set_level(level);
            self.compiler.use_switches(self.debug.switches());
        })?;
        self.trace_changes(&before, &trash, &events);
        self.install(&snapshot, &events)
    }

    fn install(&mut self, snapshot: &Snapshot, events: &[Event]) -> Result<(), Failure> {
        let installed = self.workers.install(snapshot, events);
        let workers = &self.workers;
        self.estimators.update(&self.compiler, |id| workers.destination_stats(id));
        installed?;
        // New next hops are resolved at once, the others once a second.
        let wanted: BTreeSet<_> = self.compiler.newly_unresolved().collect();
        wanted.into_iter().for_each(|(link, address)| self.resolve(link, address));
        Ok(())
    }

    /// Installs the network state that the kernel reported. A static network configuration overrides it.
    ///
    /// # Errors
    /// If a link is on a port that does not exist, or a worker does not respond in time.
    pub fn set_network(&mut self, network_state: NetworkState) -> Result<(), Failure> {
        self.kernel_network = network_state.clone();
        if self.compiler.config().network.is_some() {
            return Ok(());
        }
        self.install_network(network_state)
    }

    /// Installs a network state from either source.
    ///
    /// # Errors
    /// Those of [`NamespaceEngine::set_network`].
    fn install_network(&mut self, mut network_state: NetworkState) -> Result<(), Failure> {
        self.link_filter.keep_own(&mut network_state);
        let before: BTreeSet<_> = self.compiler.unresolved().collect();
        let snapshot = self.compiler.set_network(&network_state)?;
        self.debug.event(trace_site!(sites, Learnt), || {
            [
                network_state.links.len(),
                network_state.addresses.len(),
                network_state.routes.len(),
                network_state.neighbours.len(),
            ]
            .map(|count| count.to_string())
        });
        self.network_state = network_state;
        self.workers.install(&snapshot, &[])?;
        // A neighbour that the kernel has deleted is resolved again at once.
        let wanted: Vec<_> =
            self.compiler.unresolved().filter(|next_hop| !before.contains(next_hop)).collect();
        wanted.into_iter().for_each(|(link, address)| self.resolve(link, address));
        Ok(())
    }

    /// Receives the workers' notifications.
    pub(super) fn poll_notifications(&mut self) {
        self.workers.poll_notifications();
    }

    /// Does periodic work; called every few milliseconds.
    pub(super) fn tick(&mut self) {
        self.log_worker_events();
        let wanted = self.workers.take_unresolved();
        for (link, address) in wanted {
            self.resolve(link.0, address);
        }
        self.workers.share_loads(self.compiler.destination_end());
        if self.resolve_requested.elapsed() > RESOLVE_INTERVAL {
            self.resolve_again();
        }
        self.confirm_neighbours();
        if self.trash_emptied.elapsed() > TRASH_INTERVAL {
            self.empty_trash();
        }
        if self.defended.elapsed() > DEFEND {
            self.defend();
        }
        let runs = self.compiler.config().settings.run_estimation != 0;
        let workers = &self.workers;
        self.estimators.tick(self.began.elapsed(), runs, |id| workers.destination_stats(id));
    }

    fn defend(&mut self) {
        self.defended = Instant::now();
        if self.compiler.set_free_memory(self.workers.free_memory()) {
            let config = self.compiler.config().clone();
            // If a worker is late, it adopts the snapshot when it can; see `Failure::WorkerLate`.
            let _ = self.configure(&config);
        }
    }

    fn resolve_again(&mut self) {
        self.resolve_requested = Instant::now();
        let wanted: BTreeSet<_> = self.compiler.unresolved().collect();
        for (link, address) in wanted {
            self.resolve(link, address);
        }
    }

    pub(super) fn resolve(&mut self, link: u16, address: std::net::IpAddr) {
        if let (Some(mirror), Some(link)) = (&self.mirror, self.network_state.links.get(usize::from(link))) {
            self.debug.event(trace_site!(sites, NeighbourAsked), || [address.to_string(), link.name.clone()]);
            // The result arrives as a change of the neighbour table. If it fails, the next request repeats it.
            let _ = mirror.resolve(&link.name, address);
        }
    }

    fn empty_trash(&mut self) {
        self.trash_emptied = Instant::now();
        let quotas = self.workers.shared().map(|shared| &shared.quotas);
        let freed = trash::empty(&mut self.compiler, self.began.elapsed(), self.workers.stats(), quotas);
        if freed.is_empty() {
            return;
        }
        // If a worker is late, it adopts the snapshot when it can. The ids are free in any case.
        let _ = self.workers.install(&self.compiler.snapshot().clone(), &[]);
        let quotas = self.workers.shared().map(|shared| &shared.quotas);
        trash::reset(&freed, self.workers.stats(), quotas, &mut self.estimators);
        self.debug.event(trace_site!(sites, TrashEmptied), || [freed.len().to_string()]);
    }

    fn list(&mut self, query: ServiceListQuery) -> Reply {
        // `live` is up to date; the brief form omits it, so the counters need not be read.
        if !query.brief {
            let workers = &self.workers;
            self.estimators.count(|id| workers.destination_stats(id));
        }
        let quotas = self.workers.shared().map(|shared| &shared.quotas);
        let services =
            observe::services(&self.compiler, self.workers.stats(), &self.estimators, quotas, query.service);
        let list = ServiceList { services, connection_capacity: self.capacity() };
        if query.brief { Reply::BriefServices(BriefList(list)) } else { Reply::Services(list) }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.workers.all().iter().map(|worker| worker.capacity).sum()
    }

    /// Returns all counters of the namespace.
    pub(super) fn stats(&mut self) -> StatsView {
        let workers = &self.workers;
        self.estimators.count(|id| workers.destination_stats(id));
        let Estimate { live, shown, rates } = self.estimators.total();
        StatsView {
            stats: shown,
            live,
            rates,
            workers: self.workers.all().iter().map(observe::worker).collect(),
            mirror: observe::kernel_counters(self.mirror.as_ref().map(Mirror::counters)),
            ..StatsView::default()
        }
    }

    /// Sum of a counter over all workers.
    pub(super) fn counter(&self, field: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.workers.stats().map(|stats| field(&stats.counters)).sum()
    }
}

/// Error for a request that concerns the whole daemon.
fn whole_daemon(method: &str) -> Failure {
    let error = format!("{method} applies to the whole daemon, not to one namespace");
    InputErrors::one("namespace", error, "leave namespace out").into()
}

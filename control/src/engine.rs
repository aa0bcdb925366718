//! The control thread's judgement: answers requests, follows the kernel, keeps workers in step.

mod connections;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use hashbrown::HashMap;
use pollux_dataplane::service::DestinationId;
use pollux_dataplane::stats::Board;

use crate::compile::Compiler;
use crate::diff;
use crate::edit;
use crate::error::Failure;
use crate::estimate::{Counted, Ledger};
use crate::kernel::facts::Facts;
use crate::kernel::netlink::Mirror;
use crate::model::{Config, ServiceKey};
use crate::observe;
use crate::request::{Apply, Done, ListQuery, Reply, Request};
use crate::state::writer::{Waiting, Writer};
use crate::sysctl;
use crate::validate::validate;
use crate::view::brief::BriefList;
use crate::view::{PortView, ServiceList, StatsView, VersionView};
use crate::workers::Workers;

/// How often removed destinations are looked through.
const SWEEP: Duration = Duration::from_secs(10);
/// How often the kernel is reminded of destinations whose hardware address is not known.
const REMIND: Duration = Duration::from_secs(1);

/// How often what is done from time to time is done, however many requests there are.
const TICK: Duration = Duration::from_millis(5);
/// How often the defences are looked at, as IPVS does.
const DEFEND: Duration = Duration::from_secs(1);

/// What the engine asks of the ports.
pub trait Ports {
    /// Every port with its counters.
    fn views(&self) -> Vec<PortView>;
}

/// Everything the control thread owns.
pub struct Engine {
    compiler: Compiler,
    workers: Workers,
    ports: Box<dyn Ports>,
    mirror: Option<Mirror>,
    facts: Facts,
    /// What the kernel said last.
    heard: Facts,
    dpdk: Option<String>,
    /// When the workers' clocks began.
    epoch: Instant,
    began: Instant,
    ledger: Ledger,
    writer: Option<Writer>,
    swept: Instant,
    defended: Instant,
    reminded: Instant,
    ticked: Instant,
    stopping: bool,
}

impl Engine {
    /// An engine without services; facts come by [`Engine::learn`]. `epoch` is when the workers' clocks began.
    pub fn new(
        compiler: Compiler,
        workers: Workers,
        ports: Box<dyn Ports>,
        mirror: Option<Mirror>,
        (dpdk, epoch): (Option<String>, Instant),
    ) -> Engine {
        let now = Instant::now();
        let facts = Facts::default();
        Engine {
            compiler,
            workers,
            ports,
            mirror,
            heard: facts.clone(),
            facts,
            dpdk,
            epoch,
            began: now,
            ledger: Ledger::new(),
            writer: None,
            swept: now,
            defended: now,
            reminded: now,
            ticked: now,
            stopping: false,
        }
    }

    /// Whether a request asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The workers.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Why it was not done; nothing has changed then.
    pub fn handle(&mut self, request: Request) -> Result<Reply, Failure> {
        match request {
            Request::ConfigGet(_) => Ok(Reply::Config(self.compiler.config().clone())),
            Request::ConfigApply(apply) => self.apply(apply),
            Request::ServiceAdd(add) => self.edit(|config| edit::add_service(config, add.service)),
            Request::ServiceEdit(change) => self.edit(|config| edit::edit_service(config, &change)),
            Request::ServiceRemove(remove) => {
                self.edit(|config| edit::remove_service(config, remove.service))
            }
            Request::ServiceFlush(_) => self.edit(|config| {
                edit::flush(config);
                Ok(())
            }),
            Request::ServiceList(query) => Ok(self.services(&query)),
            Request::DestinationAdd(add) => {
                self.edit(|config| edit::add_destination(config, add.service, add.destination))
            }
            Request::DestinationEdit(change) => self.edit_destination(&change),
            Request::DestinationRemove(remove) => {
                self.edit(|config| edit::remove_destination(config, remove.service, remove.destination))
            }
            Request::ConnectionList(query) => self.connections(&query).map(Reply::Connections),
            Request::StatsGet(_) => Ok(Reply::Stats(self.stats())),
            Request::SettingsSet(change) => self.edit(|config| edit::set_settings(config, &change)),
            Request::StatsZero(query) => self.zero(query.service),
            Request::MarksSet(set) => self.edit(|config| edit::set_marks(config, set.marks)),
            Request::SysctlGet(get) => {
                Ok(Reply::Sysctls(sysctl::read_all(&self.compiler.config().settings, &get.names)?))
            }
            Request::SysctlSet(values) => self.edit(|config| sysctl::write(config, &values)),
            Request::VersionGet(_) => Ok(Reply::Version(self.version())),
            Request::DaemonStop(_) => {
                self.stopping = true;
                Ok(Reply::Done(Done {}))
            }
        }
    }

    /// Keeps what is configured from now on, and what runs already.
    pub fn keep(&mut self, writer: Writer) {
        writer.hand(self.compiler.config().clone(), None);
        self.writer = Some(writer);
    }

    /// Carries a request out and answers it. What it changed is on its way to the state file by then, or, if answers are
    /// to wait for the disk, there.
    pub fn answer(&mut self, request: Request, to: Sender<Result<Reply, Failure>>) {
        let generation = self.compiler.snapshot().generation;
        let configures = request.configures();
        let digest = match &request {
            Request::ConfigApply(apply) => apply.digest.clone(),
            _ => None,
        };
        let answer = self.handle(request);
        match &mut self.writer {
            Some(writer) if configures && self.compiler.snapshot().generation != generation => {
                writer.applied(digest);
                writer.hand(self.compiler.config().clone(), Some(Waiting { to, answer }));
            }
            // A client that has gone does not want its answer.
            _ => drop(to.send(answer)),
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

    /// IPVS tells schedulers of every edit, also of one that changes nothing.
    fn edit_destination(&mut self, change: &edit::DestinationEdit) -> Result<Reply, Failure> {
        let mut config = self.compiler.config().clone();
        edit::edit_destination(&mut config, change)?;
        self.compiler.touch((change.service, change.destination));
        self.configure(&config)?;
        Ok(Reply::Done(Done {}))
    }

    fn zero(&mut self, only: Option<ServiceKey>) -> Result<Reply, Failure> {
        if let Some(key) = only.filter(|key| self.compiler.service_id(key).is_none()) {
            return Err(edit::EditError::NoSuchService(key).into());
        }
        self.ledger.zero(only);
        Ok(Reply::Done(Done {}))
    }

    fn apply(&mut self, mut apply: Apply) -> Result<Reply, Failure> {
        validate(&apply.config)?;
        let running = self.compiler.config().clone();
        let known: HashMap<ServiceKey, _> =
            running.services.shared().iter().map(|service| (service.key(), service)).collect();
        // What is equal becomes the same, so that only what differs is looked at from here on.
        apply.config.services.share_with(|service| known.get(&service.key()).copied());
        let mut applied = diff::diff(&running, &apply.config);
        applied.dry_run = apply.dry_run;
        self.compiler.check(&apply.config)?;
        if !apply.dry_run {
            // Facts first: they can be refused, and then nothing has changed.
            if applied.facts {
                let facts = apply.config.facts.clone().unwrap_or_else(|| self.heard.clone());
                self.use_facts(facts)?;
            }
            self.configure(&apply.config)?;
        }
        Ok(Reply::Applied(applied))
    }

    /// Brings a validated configuration to the workers.
    ///
    /// # Errors
    /// When there is no room for it, or a worker does not take it in time.
    pub fn configure(&mut self, config: &Config) -> Result<(), Failure> {
        // What is written takes its place among the defences at once.
        self.compiler.note_available(self.workers.available());
        let (snapshot, events) = self.compiler.configure(config, self.began.elapsed())?;
        let installed = self.workers.install(&snapshot, &events);
        let workers = &self.workers;
        self.ledger.follow(&self.compiler, |id| workers.counted(id));
        installed?;
        // What is new is asked for at once; the others are reminded of once a second.
        let wanted: BTreeSet<_> = self.compiler.newly_unresolved().collect();
        wanted.into_iter().for_each(|(link, address)| self.resolve(link, address));
        Ok(())
    }

    /// Brings what the kernel says of the network to the workers; facts of the configuration go before it.
    ///
    /// # Errors
    /// When a link is on a port that is not there, or a worker does not take it in time.
    pub fn learn(&mut self, facts: Facts) -> Result<(), Failure> {
        self.heard = facts.clone();
        if self.compiler.config().facts.is_some() {
            return Ok(());
        }
        self.use_facts(facts)
    }

    /// Brings facts to the workers, whoever told them.
    ///
    /// # Errors
    /// As [`Engine::learn`].
    pub fn use_facts(&mut self, facts: Facts) -> Result<(), Failure> {
        let snapshot = self.compiler.learn(&facts).map_err(|why| Failure::Internal(why.to_string()))?;
        self.facts = facts;
        self.workers.install(&snapshot, &[])
    }

    /// What has to be done from time to time, every few milliseconds.
    pub fn tick(&mut self) {
        self.workers.gather();
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        let wanted = self.workers.take_unresolved();
        for (link, address) in wanted {
            self.resolve(link.0, address);
        }
        let end = self.compiler.destination_end();
        self.workers.share_loads(end);
        if self.reminded.elapsed() > REMIND {
            self.remind();
        }
        if self.swept.elapsed() > SWEEP {
            self.sweep();
        }
        if self.defended.elapsed() > DEFEND {
            self.defend();
        }
        let runs = self.compiler.config().settings.run_estimation != 0;
        let workers = &self.workers;
        self.ledger.tick(self.began.elapsed(), runs, |id| workers.counted(id));
    }

    fn defend(&mut self) {
        self.defended = Instant::now();
        if self.compiler.note_available(self.workers.available()) {
            let config = self.compiler.config().clone();
            // What cannot be installed now is tried again in a second.
            let _ = self.configure(&config);
        }
    }

    fn remind(&mut self) {
        self.reminded = Instant::now();
        let wanted: BTreeSet<_> = self.compiler.unresolved().collect();
        for (link, address) in wanted {
            self.resolve(link, address);
        }
    }

    fn resolve(&self, link: u16, address: std::net::IpAddr) {
        if let (Some(mirror), Some(link)) = (&self.mirror, self.facts.links.get(usize::from(link))) {
            // The kernel answers with a change of its neighbours, or not at all; asking again is cheap.
            let _ = mirror.resolve(&link.name, address);
        }
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        let workers = &self.workers;
        let connections = |id: DestinationId| {
            let load = workers.load(id);
            let templates = workers.shared().map_or(0, |shared| shared.quotas.templates(id));
            u64::from(load.active) + u64::from(load.inactive) + u64::from(templates)
        };
        let freed = self.compiler.sweep(self.began.elapsed(), connections);
        if freed.is_empty() || self.workers.install(&self.compiler.snapshot().clone(), &[]).is_err() {
            return;
        }
        for (id, worker) in freed.iter().flat_map(|id| self.workers.all().iter().map(move |w| (id, w))) {
            worker.board.destinations[id.0 as usize].reset();
        }
        for &id in &freed {
            self.workers.shared().inspect(|shared| shared.quotas.reset(id));
        }
        self.ledger.forget(&freed);
    }

    fn boards(&self) -> impl Iterator<Item = &Board> + Clone {
        self.workers.all().iter().map(|worker| worker.board.as_ref())
    }

    fn services(&self, query: &ListQuery) -> Reply {
        let (quotas, connection_capacity) =
            (self.workers.shared().map(|shared| &shared.quotas), self.capacity());
        if query.brief {
            let services = observe::brief(&self.compiler, self.boards(), quotas, query.service);
            return Reply::Brief(BriefList { services, connection_capacity });
        }
        let services = observe::services(&self.compiler, self.boards(), &self.ledger, quotas, query.service);
        Reply::Services(ServiceList { services, connection_capacity })
    }

    fn capacity(&self) -> u64 {
        self.workers.all().iter().map(|worker| worker.capacity).sum()
    }

    fn stats(&mut self) -> StatsView {
        let workers = &self.workers;
        self.ledger.count(|id| workers.counted(id));
        let Counted { live, shown, rates } = self.ledger.total();
        StatsView {
            totals: live,
            shown,
            rates,
            workers: self.workers.all().iter().map(observe::worker).collect(),
            ports: self.ports.views(),
            state: self.writer.as_ref().map(Writer::view),
        }
    }

    fn version(&self) -> VersionView {
        VersionView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            dpdk: self.dpdk.clone(),
            uptime_secs: self.began.elapsed().as_secs(),
            state: self.writer.as_ref().map(Writer::view),
        }
    }
}

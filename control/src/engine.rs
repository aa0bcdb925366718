//! The control thread's judgement: answers requests, follows the kernel, keeps workers in step, for all namespaces.

mod connections;
mod debug;
mod edits;
pub mod fence;
mod guest;
pub mod instance;
mod namespaces;
#[cfg(test)]
pub(crate) mod tests;

use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use self::guest::Guest;
pub use self::instance::Instance;
use crate::debug::Debug;
use crate::diff;
use crate::edit::EditError;
use crate::error::Failure;
use crate::house::House;
use crate::kernel::facts::Facts;
use crate::model::{Config, namespace};
use crate::request::{Apply, Done, Reply, Request};
use crate::state::writer::{Waiting, Writer};
use crate::validate::validate;
use crate::view::{PortView, StatsView, VersionView};
use crate::workers::Workers;

/// How often what is done from time to time is done, however many requests there are.
const TICK: Duration = Duration::from_millis(5);

/// What the engine asks of the ports.
pub trait Ports {
    /// Every port with its counters.
    fn views(&self) -> Vec<PortView>;

    /// Their names, by number.
    fn names(&self) -> Vec<String>;
}

/// Everything the control thread owns.
pub struct Engine {
    /// The default namespace.
    home: Instance,
    guests: Vec<Guest>,
    ports: Box<dyn Ports>,
    house: Box<dyn House>,
    dpdk: Option<String>,
    /// Keeps what is configured.
    writer: Option<Writer>,
    began: Instant,
    ticked: Instant,
    stopping: bool,
}

impl Engine {
    /// An engine with nothing but the default namespace; facts come by [`Engine::learn`].
    pub fn new(home: Instance, ports: Box<dyn Ports>, house: Box<dyn House>, dpdk: Option<String>) -> Engine {
        let began = Instant::now();
        Engine {
            home,
            guests: Vec::new(),
            ports,
            house,
            dpdk,
            writer: None,
            began,
            ticked: began,
            stopping: false,
        }
    }

    /// Whether a request asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Takes over what was switched on before there was an engine.
    pub fn use_debug(&mut self, debug: Debug) {
        self.home.use_debug(debug);
    }

    /// Where events of the default namespace go.
    pub fn debug(&mut self) -> &mut Debug {
        self.home.debug()
    }

    /// The workers.
    pub fn workers(&self) -> &Workers {
        self.home.workers()
    }

    /// Everything that is configured.
    pub fn config(&self) -> Config {
        let namespaces = self.guests.iter().map(Guest::namespace).collect();
        Config { namespaces, ..self.home.config().clone() }
    }

    /// Keeps what is configured from now on, and what runs already.
    pub fn keep(&mut self, writer: Writer) {
        writer.hand(self.config(), None);
        self.writer = Some(writer);
    }

    /// Carries a request out and answers it. What it changed is on its way to the state file by then, or, if answers are
    /// to wait for the disk, there.
    pub fn answer(&mut self, namespace: Option<&str>, request: Request, to: Sender<Result<Reply, Failure>>) {
        let before = (self.writer.is_some() && request.configures()).then(|| self.config());
        let digest = match &request {
            Request::ConfigApply(apply) if namespace.is_none() => apply.digest.clone(),
            _ => None,
        };
        let answer = self.handle_in(namespace, request);
        let now = before.map(|before| (before, self.config()));
        match (&mut self.writer, now) {
            (Some(writer), Some((before, now))) if before != now || (digest.is_some() && answer.is_ok()) => {
                writer.applied(digest);
                writer.hand(now, Some(Waiting { to, answer }));
            }
            // A client that has gone does not want its answer.
            _ => drop(to.send(answer)),
        }
    }

    /// Answers one request about the default namespace, or about all.
    ///
    /// # Errors
    /// Why it was not done; nothing has changed then.
    pub fn handle(&mut self, request: Request) -> Result<Reply, Failure> {
        match request {
            Request::ConfigGet(_) => Ok(Reply::Config(Box::new(self.config()))),
            Request::ConfigApply(apply) => self.apply(apply),
            Request::NamespaceAdd(add) => self.add_namespace(add.namespace),
            Request::NamespaceRemove(remove) => self.remove_namespace(&remove.name),
            Request::NamespaceList(_) => Ok(Reply::Namespaces(self.namespaces())),
            Request::StatsGet(_) => {
                let state = self.writer.as_ref().map(Writer::view);
                Ok(Reply::Stats(StatsView { state, ..self.home.stats(self.ports.views()) }))
            }
            Request::VersionGet(_) => Ok(Reply::Version(self.version())),
            Request::DaemonStop(_) => {
                self.stopping = true;
                Ok(Reply::Done(Done {}))
            }
            request => self.home.handle(request),
        }
    }

    /// Answers one request about a namespace.
    ///
    /// # Errors
    /// When there is no such namespace, and as [`Engine::handle`].
    pub fn handle_in(&mut self, namespace: Option<&str>, request: Request) -> Result<Reply, Failure> {
        let Some(name) = namespace.filter(|name| *name != namespace::DEFAULT) else {
            return self.handle(request);
        };
        let at = self.guests.iter().position(|guest| guest.name == name);
        let at = at.ok_or_else(|| EditError::NoSuchNamespace(name.to_owned()))?;
        match request {
            Request::ConfigApply(apply) => self.apply_in(at, apply),
            request => self.guests[at].instance.handle(request),
        }
    }

    /// Brings the first configuration to the workers.
    ///
    /// # Errors
    /// As [`Engine::handle`].
    pub fn start(&mut self, config: &Config) -> Result<(), Failure> {
        let mut config = config.clone();
        self.name_ports(&mut config)?;
        validate(&config)?;
        self.change(&config, true)
    }

    fn apply(&mut self, apply: Apply) -> Result<Reply, Failure> {
        let mut config = apply.config;
        self.name_ports(&mut config)?;
        validate(&config)?;
        let running = self.config();
        config.services.share_with(&running.services);
        let mut applied = diff::diff(&running, &config);
        applied.dry_run = apply.dry_run;
        if apply.dry_run {
            self.check(&config, true)?;
        } else {
            self.change(&config, true)?;
        }
        Ok(Reply::Applied(applied))
    }

    /// Brings what the kernel says of the default namespace's network to the workers; facts of the configuration go
    /// before it.
    ///
    /// # Errors
    /// When a link is on a port that is not there, or a worker does not take it in time.
    pub fn learn(&mut self, facts: Facts) -> Result<(), Failure> {
        self.home.learn(facts)
    }

    /// What has to be done from time to time, every few milliseconds.
    pub fn tick(&mut self) {
        self.home.gather();
        self.guests.iter_mut().for_each(|guest| guest.instance.gather());
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        self.home.tick();
        for guest in &mut self.guests {
            guest.learn();
            guest.instance.tick();
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

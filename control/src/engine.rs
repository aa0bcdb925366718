//! The control thread's judgement: answers requests, follows the kernel, keeps workers in step, for all namespaces.

pub mod compile;
mod connections;
mod debug;
pub mod defence;
mod edits;
pub mod estimate;
pub mod link_filter;
pub mod modules;
mod named_namespace;
pub mod namespace_engine;
pub mod namespace_manager;
mod namespaces;
pub mod observe;
pub mod sweep;
#[cfg(test)]
pub(crate) mod tests;
pub mod workers;

use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use self::named_namespace::NamedNamespace;
pub use self::namespace_engine::NamespaceEngine;
use crate::api::error::Failure;
use crate::api::request::{Apply, Done, Reply, Request};
use crate::api::view::{PortView, StatsView, VersionView};
use crate::debug::Debug;
use crate::engine::namespace_manager::NamespaceManager;
use crate::engine::workers::Workers;
use crate::model::diff;
use crate::model::edit::EditError;
use crate::model::network_config::NetworkConfig;
use crate::model::validate::validate;
use crate::model::{Config, namespace};
use crate::state::writer::{Waiting, Writer};

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
    default_namespace: NamespaceEngine,
    named: Vec<NamedNamespace>,
    ports: Box<dyn Ports>,
    namespaces: Box<dyn NamespaceManager>,
    dpdk: Option<String>,
    /// Keeps what is configured.
    writer: Option<Writer>,
    began: Instant,
    ticked: Instant,
    stopping: bool,
}

impl Engine {
    /// An engine with nothing but the default namespace; facts come by [`Engine::learn`].
    pub fn new(
        default_namespace: NamespaceEngine,
        ports: Box<dyn Ports>,
        namespaces: Box<dyn NamespaceManager>,
        dpdk: Option<String>,
    ) -> Engine {
        let began = Instant::now();
        Engine {
            default_namespace,
            named: Vec::new(),
            ports,
            namespaces,
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
        self.default_namespace.use_debug(debug);
    }

    /// Where events of the default namespace go.
    pub fn debug(&mut self) -> &mut Debug {
        self.default_namespace.debug()
    }

    /// The workers.
    pub fn workers(&self) -> &Workers {
        self.default_namespace.workers()
    }

    /// Everything that is configured.
    pub fn config(&self) -> Config {
        let namespaces = self.named.iter().map(NamedNamespace::namespace).collect();
        Config { namespaces, ..self.default_namespace.config().clone() }
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
                Ok(Reply::Stats(StatsView { state, ..self.default_namespace.stats(self.ports.views()) }))
            }
            Request::VersionGet(_) => Ok(Reply::Version(self.version())),
            Request::DaemonStop(_) => {
                self.stopping = true;
                Ok(Reply::Done(Done {}))
            }
            request => self.default_namespace.handle(request),
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
        let at = self.named.iter().position(|named| named.name == name);
        let at = at.ok_or_else(|| EditError::NoSuchNamespace(name.to_owned()))?;
        match request {
            Request::ConfigApply(apply) => self.apply_in(at, apply),
            request => self.named[at].instance.handle(request),
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
    pub fn learn(&mut self, network_config: NetworkConfig) -> Result<(), Failure> {
        self.default_namespace.learn(network_config)
    }

    /// What has to be done from time to time, every few milliseconds.
    pub fn tick(&mut self) {
        self.default_namespace.gather();
        self.named.iter_mut().for_each(|named| named.instance.gather());
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        self.default_namespace.tick();
        for named in &mut self.named {
            named.learn();
            named.instance.tick();
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

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

use std::time::Instant;

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
use crate::validate::validate;
use crate::view::{PortView, VersionView};
use crate::workers::Workers;

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
    began: Instant,
    stopping: bool,
}

impl Engine {
    /// An engine with nothing but the default namespace; facts come by [`Engine::learn`].
    pub fn new(home: Instance, ports: Box<dyn Ports>, house: Box<dyn House>, dpdk: Option<String>) -> Engine {
        let began = Instant::now();
        Engine { home, guests: Vec::new(), ports, house, dpdk, began, stopping: false }
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
            Request::StatsGet(_) => Ok(Reply::Stats(self.home.stats(self.ports.views()))),
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
        let mut applied = diff::diff(&self.config(), &config);
        applied.dry_run = apply.dry_run;
        if !apply.dry_run {
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
        }
    }
}

//! The engine of the control thread: executes requests, follows the kernel's network state, and installs snapshots on
//! the workers, for all namespaces.

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
pub mod namespace_operations;
mod namespaces;
mod neighbours;
pub mod observe;
mod port_links;
#[cfg(test)]
pub(crate) mod tests;
pub mod trash;
pub mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;

use self::named_namespace::NamedNamespace;
pub use self::namespace_engine::NamespaceEngine;
use self::port_links::PortLinks;
pub use self::port_links::TwinState;
use crate::api::error::Failure;
use crate::api::request::{Apply, Done, Reply, Request};
use crate::api::view::{PortView, StatsView, VersionView};
use crate::debug::DebugLog;
use crate::engine::namespace_operations::NamespaceOperations;
use crate::engine::workers::Workers;
use crate::kernel::exception::ExceptionCounters;
use crate::model::diff;
use crate::model::edit::EditError;
use crate::model::input_error::InputErrors;
use crate::model::network::NetworkState;
use crate::model::validate::validate;
use crate::model::{Config, NamespaceStart, Port, namespace};
use crate::state::writer::{PendingReply, Writer};

/// Interval between periodic work, however many requests arrive.
pub const TICK: Duration = Duration::from_millis(5);

/// Access of the engine to the DPDK ports.
pub trait Ports {
    /// Returns every port with its counters.
    fn views(&self) -> Vec<PortView>;

    /// Returns the names of the ports, by number.
    fn names(&self) -> Vec<String>;

    /// Returns whether the link of each port is up, by number.
    fn links_up(&self) -> Vec<bool>;

    /// Makes the device of a port as the kernel has its twin. What the device refuses is logged.
    fn follow(&mut self, port: usize, twin: &TwinState);
}

/// State of the control thread.
pub struct Engine {
    /// The default namespace.
    default_namespace: NamespaceEngine,
    named: Vec<NamedNamespace>,
    ports: Box<dyn Ports>,
    port_links: PortLinks,
    /// The configured ports at start; later changes need a restart.
    configured_ports: Vec<Port>,
    namespaces: Box<dyn NamespaceOperations>,
    dpdk: Option<String>,
    /// Counters of the exception path, if there is one.
    exception_counters: Option<Arc<ExceptionCounters>>,
    /// Writes the state file, if there is one.
    writer: Option<Writer>,
    began: Instant,
    ticked: Instant,
    stopping: bool,
}

impl Engine {
    /// Returns an engine with only the default namespace; the network state follows by [`Engine::set_network`].
    pub fn new(
        default_namespace: NamespaceEngine,
        ports: Box<dyn Ports>,
        namespaces: Box<dyn NamespaceOperations>,
        dpdk: Option<String>,
    ) -> Engine {
        let began = Instant::now();
        Engine {
            default_namespace,
            named: Vec::new(),
            port_links: PortLinks::new(ports.names().len()),
            ports,
            configured_ports: Vec::new(),
            namespaces,
            dpdk,
            exception_counters: None,
            writer: None,
            began,
            ticked: began,
            stopping: false,
        }
    }

    /// Returns true after a request to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Shows the counters of the exception path in `stats.get`.
    pub fn show_exception_path(&mut self, counters: Arc<ExceptionCounters>) {
        self.exception_counters = Some(counters);
    }

    /// Takes over the debug sites that were enabled before the engine existed.
    pub fn use_debug(&mut self, debug: DebugLog) {
        self.default_namespace.use_debug(debug);
    }

    /// Returns the debug events of the default namespace.
    pub fn debug(&mut self) -> &mut DebugLog {
        self.default_namespace.debug()
    }

    /// Returns the workers, as seen by the default namespace.
    pub fn workers(&self) -> &Workers {
        self.default_namespace.workers()
    }

    /// Returns the running configuration, with all namespaces.
    pub fn config(&self) -> Config {
        let namespaces = self.named.iter().map(NamedNamespace::namespace).collect();
        Config { namespaces, ..self.default_namespace.config().clone() }
    }

    /// Returns the running configuration with the sizes and ports in effect, not those stored for the next start.
    fn in_effect(&self) -> Config {
        let mut config = self.config();
        config.start = self.default_namespace.compiler.running().clone();
        config.ports.clone_from(&self.configured_ports);
        for (namespace, named) in config.namespaces.iter_mut().zip(&self.named) {
            namespace.start = NamespaceStart::from(named.engine.compiler.running());
        }
        config
    }

    /// Writes the running configuration to the state file, now and at every change.
    pub fn set_state_writer(&mut self, writer: Writer) {
        writer.enqueue(self.config(), None);
        self.writer = Some(writer);
    }

    /// Executes a request and replies. A change is queued for the state file before the reply, or, with `--state-sync`,
    /// already on disk.
    pub fn execute(&mut self, namespace: Option<&str>, request: Request, to: Sender<Result<Reply, Failure>>) {
        let before = (self.writer.is_some() && request.configures()).then(|| self.config());
        let digest = match &request {
            Request::ConfigApply(apply) if namespace.is_none() => apply.digest.clone(),
            _ => None,
        };
        let reply = self.handle_in(namespace, request);
        let now = before.map(|before| (before, self.config()));
        match (&mut self.writer, now) {
            (Some(writer), Some((before, now))) if before != now || (digest.is_some() && reply.is_ok()) => {
                writer.applied(digest);
                writer.enqueue(now, Some(PendingReply { to, reply }));
            }
            // The client may have disconnected.
            _ => drop(to.send(reply)),
        }
    }

    /// Executes a request about the default namespace or the whole daemon.
    ///
    /// # Errors
    /// The reason for refusing it; then nothing has changed.
    pub fn handle(&mut self, request: Request) -> Result<Reply, Failure> {
        match request {
            Request::ConfigGet(_) => Ok(Reply::Config(Box::new(self.config()))),
            Request::ConfigApply(apply) => self.apply(apply),
            Request::NamespaceAdd(add) => self.add_namespace(add.namespace),
            Request::NamespaceRemove(remove) => self.remove_namespace(&remove.name),
            Request::NamespaceList(_) => Ok(Reply::Namespaces(self.namespaces())),
            Request::StatsGet(_) => {
                let mut ports = self.ports.views();
                self.port_links.count(&mut ports);
                let exception_path = observe::kernel_counters(self.exception_counters.as_deref());
                let state = self.writer.as_ref().map(Writer::view);
                let stats = self.default_namespace.stats();
                Ok(Reply::Stats(StatsView { ports, exception_path, state, ..stats }))
            }
            Request::VersionGet(_) => Ok(Reply::Version(self.version())),
            Request::DaemonStop(_) => {
                self.stopping = true;
                Ok(Reply::Done(Done {}))
            }
            request => self.default_namespace.handle(request),
        }
    }

    /// Executes a request about a namespace.
    ///
    /// # Errors
    /// If there is no such namespace, and those of [`Engine::handle`].
    pub fn handle_in(&mut self, namespace: Option<&str>, request: Request) -> Result<Reply, Failure> {
        let Some(name) = namespace.filter(|name| *name != namespace::DEFAULT) else {
            return self.handle(request);
        };
        let at = self.named.iter().position(|named| named.name == name);
        let at = at.ok_or_else(|| EditError::NoSuchNamespace(name.to_owned()))?;
        match request {
            Request::ConfigApply(apply) => self.apply_in(at, apply),
            request => self.named[at].engine.handle(request).map_err(|why| limit_in(name, why)),
        }
    }

    /// Installs the first configuration.
    ///
    /// # Errors
    /// Those of [`Engine::handle`].
    pub fn start(&mut self, config: &Config) -> Result<(), Failure> {
        let mut config = config.clone();
        self.name_ports(&mut config)?;
        validate(&config)?;
        self.configured_ports.clone_from(&config.ports);
        self.change(&config, true)
    }

    fn apply(&mut self, apply: Apply) -> Result<Reply, Failure> {
        check_digest(apply.digest.as_deref())?;
        let mut config = apply.config;
        self.name_ports(&mut config)?;
        validate(&config)?;
        let running = self.in_effect();
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

    /// Installs the network state of the default namespace that the kernel reported. A static network configuration
    /// overrides it.
    ///
    /// # Errors
    /// If a link is on a port that does not exist, or a worker does not respond in time.
    pub fn set_network(&mut self, network_state: NetworkState) -> Result<(), Failure> {
        self.default_namespace.set_network(network_state)
    }

    /// Does periodic work; called every few milliseconds.
    pub fn tick(&mut self) {
        self.default_namespace.poll_notifications();
        self.named.iter_mut().for_each(|named| named.engine.poll_notifications());
        if self.ticked.elapsed() < TICK {
            return;
        }
        self.ticked = Instant::now();
        self.default_namespace.tick();
        for named in &mut self.named {
            named.update_network();
            named.engine.tick();
        }
        self.follow_ports();
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

/// Checks the form of a digest: length and hash, in hexadecimal.
fn check_digest(digest: Option<&str>) -> Result<(), InputErrors> {
    let hexadecimal = |text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_ascii_hexdigit());
    let Some(digest) = digest else { return Ok(()) };
    let (length, hash) = digest.split_once('-').unwrap_or_default();
    if hexadecimal(length) && hash.len() == 16 && hexadecimal(hash) {
        return Ok(());
    }
    let hint = "write the length and the 64-bit FNV-1a hash, as in 1f4-0123456789abcdef";
    Err(InputErrors::one("digest", format!("{digest:?} is not a digest"), hint))
}

/// Names the namespace whose limit is reached: its sizes are fixed when it is added, not when polluxd starts.
fn limit_in(namespace: &str, why: Failure) -> Failure {
    match why {
        Failure::Edit(EditError::Full { limit, allowed }) => {
            Failure::NamespaceFull { namespace: namespace.to_owned(), limit, allowed }
        }
        other => other,
    }
}

//! Creates and removes namespaces: the control thread allocates and frees their memory and sends commands to the
//! workers, which never allocate, free or wait.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pollux_dataplane::conn::Sizes;
use pollux_dataplane::flow::Seed;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::steer::{RssKeys, Steering};
use pollux_dataplane::worker::binding::{Binding, NamespaceId};
use pollux_dataplane::worker::namespace::{NamespaceSetup, NamespaceWorker};
use pollux_dataplane::worker::namespace_parts::{NamespaceLimits, NamespaceParts, RingDepths};
use pollux_dataplane::worker::namespace_rings::{NamespaceCommand, NamespaceRings};

use crate::api::error::Failure;
use crate::engine::workers::{POLL_INTERVAL, WORKER_TIMEOUT, WorkerHandle, late};
use crate::kernel::namespace::{KernelMirror, KernelNamespaceError, KernelNamespaceOperations, KernelRings};
use crate::model::{self, Namespace, Start};

/// Operations on namespaces that the engine needs.
pub trait NamespaceOperations {
    /// Creates a namespace on every worker, without bindings.
    ///
    /// # Errors
    /// If there is not enough memory, the kernel refuses, or a worker does not respond in time; then it does not exist.
    fn add(&mut self, id: NamespaceId, namespace: &Namespace) -> Result<AddedNamespace, Failure>;

    /// Creates twins for the bindings that [`NamespaceOperations::bind`] will set. Returns a new mirror if the twins
    /// change.
    ///
    /// # Errors
    /// If the kernel refuses; then nothing has changed.
    fn prepare_bindings(
        &mut self,
        id: NamespaceId,
        bindings: &[model::Binding],
    ) -> Result<Option<KernelMirror>, Failure>;

    /// Discards what was prepared for a namespace.
    fn cancel_bindings(&mut self, id: NamespaceId);

    /// Sets the bindings of all ports, by port number.
    ///
    /// # Errors
    /// If a worker does not respond in time.
    fn bind(&mut self, bindings: &[Binding]) -> Result<(), Failure>;

    /// Removes a namespace without bindings from every worker and frees it.
    ///
    /// # Errors
    /// If a worker does not respond in time.
    fn remove(&mut self, id: NamespaceId) -> Result<(), Failure>;
}

/// A namespace that was added to every worker.
pub struct AddedNamespace {
    /// Handles of the workers in this namespace.
    pub workers: Vec<WorkerHandle>,
    /// Mirror of its network state, if it has twins.
    pub mirror: Option<KernelMirror>,
}

/// A worker, as seen by the operations on namespaces.
pub struct WorkerSlot<P> {
    /// Core the worker is pinned to.
    pub core: u16,
    /// Rings for namespace commands.
    pub namespace_rings: Arc<NamespaceRings<P>>,
}

/// Operations on namespaces of workers with packets of type `P`.
pub struct NamespaceWorkers<P> {
    slots: Vec<WorkerSlot<P>>,
    ports: usize,
    kernel: Box<dyn KernelNamespaceOperations<P>>,
    commands: u64,
    rss_keys: Option<Arc<RssKeys>>,
}

impl<P: Packet> NamespaceWorkers<P> {
    /// Takes the workers, which share `ports` ports.
    pub fn new(
        slots: Vec<WorkerSlot<P>>,
        ports: usize,
        kernel: Box<dyn KernelNamespaceOperations<P>>,
    ) -> NamespaceWorkers<P> {
        NamespaceWorkers { slots, ports, kernel, commands: 0, rss_keys: None }
    }

    /// Steers flows of all namespaces by the rule that the ports' RSS uses.
    #[must_use]
    pub fn with_rss_keys(self, rss_keys: Option<Arc<RssKeys>>) -> NamespaceWorkers<P> {
        NamespaceWorkers { rss_keys, ..self }
    }

    /// Has every worker execute a command, and frees the data they return.
    fn execute(&mut self, mut command: impl FnMut() -> Option<NamespaceCommand<P>>) -> Result<(), Failure> {
        self.commands += 1;
        let number = self.commands;
        for (worker, slot) in self.slots.iter().enumerate() {
            let command = command().ok_or_else(|| late(worker))?;
            slot.namespace_rings.commands.push((number, command)).map_err(|_| late(worker))?;
        }
        let began = Instant::now();
        self.slots.iter().enumerate().try_for_each(|(worker, slot)| {
            loop {
                match slot.namespace_rings.done.pop() {
                    Some((done, returned)) => {
                        drop(returned);
                        if done == number {
                            return Ok(());
                        }
                    }
                    None if began.elapsed() > WORKER_TIMEOUT => return Err(late(worker)),
                    None => thread::sleep(POLL_INTERVAL),
                }
            }
        })
    }
}

fn refused(why: KernelNamespaceError) -> Failure {
    Failure::Kernel(why.to_string())
}

/// The parts of a namespace: one for each worker, and one for the control thread.
pub struct Parts<P> {
    /// Setups by worker.
    pub setups: Vec<NamespaceSetup<P>>,
    /// Handles by worker.
    pub handles: Vec<WorkerHandle>,
    /// Rings to and from the kernel.
    pub rings: KernelRings<P>,
}

/// Creates rings, counters and shared data for workers on these cores. Without `rss_keys`, the rule used by the ports'
/// RSS, the workers steer flows by a rule of their own.
pub fn parts<P>(start: &Start, cores: &[u16], ports: usize, rss_keys: Option<&Arc<RssKeys>>) -> Parts<P> {
    let count = cores.len();
    let share = |total: u32| total.div_ceil(count.max(1) as u32);
    let limits = NamespaceLimits {
        connections: Sizes {
            ipv4: share(start.connections_ipv4),
            ipv6: share(start.connections_ipv6),
            extra: 0,
        },
        services: start.services as usize,
        destinations: start.destinations as usize,
        templates: start.templates as usize,
        rings: RingDepths::default(),
    };
    let steering = Steering { workers: count as u16, seed: Seed::random(), rss_keys: rss_keys.cloned() };
    let NamespaceParts { setups, kernel, inject, shared } = NamespaceParts::new(&steering, ports, &limits);
    let handle = |(setup, &core): (&NamespaceSetup<P>, &u16)| WorkerHandle {
        core,
        capacity: u64::from(setup.sizes.ipv4) + u64::from(setup.sizes.ipv6),
        entry_bytes: 0,
        rings: Arc::clone(&setup.rings),
        stats: Arc::clone(&setup.stats),
        shared: Arc::clone(&shared),
    };
    let handles = setups.iter().zip(cores).map(handle).collect();
    Parts { setups, handles, rings: KernelRings { kernel, inject } }
}

impl<P: Packet> NamespaceOperations for NamespaceWorkers<P> {
    fn add(&mut self, id: NamespaceId, namespace: &Namespace) -> Result<AddedNamespace, Failure> {
        let start = &Start::from(&namespace.start);
        let cores: Vec<u16> = self.slots.iter().map(|slot| slot.core).collect();
        let Parts { setups, handles, rings } = parts(start, &cores, self.ports, self.rss_keys.as_ref());
        let made: Result<Vec<_>, _> = setups.into_iter().map(NamespaceWorker::new).collect();
        let (ipv4, ipv6) = (start.connections_ipv4, start.connections_ipv6);
        let no_memory = |why: std::io::Error| Failure::NoMemory { ipv4, ipv6, why: why.to_string() };
        let mut namespace_workers = made.map_err(no_memory)?.into_iter();
        let mirror = self.kernel.add(id, namespace, rings).map_err(refused)?;
        let added = self.execute(|| {
            namespace_workers
                .next()
                .map(|namespace_worker| NamespaceCommand::Add(id, Box::new(namespace_worker)))
        });
        if let Err(why) = added {
            // Workers that have added it, or will add it, remove it again.
            self.slots
                .iter()
                .for_each(|slot| drop(slot.namespace_rings.commands.push((0, NamespaceCommand::Remove(id)))));
            self.kernel.remove(id);
            return Err(why);
        }
        Ok(AddedNamespace { workers: handles, mirror })
    }

    fn prepare_bindings(
        &mut self,
        id: NamespaceId,
        bindings: &[model::Binding],
    ) -> Result<Option<KernelMirror>, Failure> {
        self.kernel.prepare_bindings(id, bindings).map_err(refused)
    }

    fn cancel_bindings(&mut self, id: NamespaceId) {
        self.kernel.cancel_bindings(id);
    }

    fn bind(&mut self, bindings: &[Binding]) -> Result<(), Failure> {
        let outcome = self.execute(|| Some(NamespaceCommand::Bind(bindings.into())));
        self.kernel.commit_bindings();
        outcome
    }

    fn remove(&mut self, id: NamespaceId) -> Result<(), Failure> {
        self.kernel.remove(id);
        self.execute(|| Some(NamespaceCommand::Remove(id)))
    }
}

//! Where namespaces come from and go: control takes their memory, has every worker take them in, and frees what the
//! workers give back. Workers never build, free or wait.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use pollux_dataplane::conn::Sizes;
use pollux_dataplane::flow::Seed;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::steer::{Spread, Steering};
use pollux_dataplane::worker::binding::{Binding, NamespaceId};
use pollux_dataplane::worker::namespace::{NamespaceSetup, NamespaceWorker};
use pollux_dataplane::worker::namespace_parts::{NamespaceLimits, NamespaceParts, RingDepths};
use pollux_dataplane::worker::namespace_rings::{NamespaceCommand, NamespaceRings};

use crate::api::error::Failure;
use crate::engine::workers::{PATIENCE, POLL_INTERVAL, WorkerHandle, late};
use crate::kernel::namespace::{FrameCarrier, Heard, KernelNamespaceError, KernelRings};
use crate::model::{self, Namespace, Start};

/// What the engine asks for.
pub trait NamespaceManager {
    /// Makes a namespace and has every worker take it in, bound to nothing; with what its kernel says, if it has twins.
    ///
    /// # Errors
    /// When there is no memory, when the kernel refuses, or when a worker does not answer in time; then it is nowhere.
    fn admit(&mut self, id: NamespaceId, of: &Namespace) -> Result<Admitted, Failure>;

    /// Prepares twins for what [`NamespaceManager::bind`] will bind to a namespace; what its kernel says then, if that is new.
    ///
    /// # Errors
    /// When the kernel refuses; nothing has changed then.
    fn rebind(&mut self, id: NamespaceId, bindings: &[model::Binding]) -> Result<Option<Heard>, Failure>;

    /// Forgets what was prepared for a namespace.
    fn stay(&mut self, id: NamespaceId);

    /// Binds all ports anew, by their numbers.
    ///
    /// # Errors
    /// When a worker does not answer in time.
    fn bind(&mut self, bindings: &[Binding]) -> Result<(), Failure>;

    /// Takes a namespace, to which nothing is bound any more, back from every worker and frees it.
    ///
    /// # Errors
    /// When a worker does not answer in time.
    fn dismiss(&mut self, id: NamespaceId) -> Result<(), Failure>;
}

/// A namespace that every worker has taken in.
pub struct Admitted {
    /// Control's end of it.
    pub workers: Vec<WorkerHandle>,
    /// What its kernel says, if it has twins.
    pub heard: Option<Heard>,
}

/// A worker that namespaces come to.
pub struct WorkerSlot<P> {
    /// The core it is pinned to.
    pub core: u16,
    /// Its rings for this.
    pub namespace_rings: Arc<NamespaceRings<P>>,
}

/// The house of workers that carry packets of kind `P`.
pub struct NamespaceWorkers<P> {
    slots: Vec<WorkerSlot<P>>,
    ports: usize,
    carrier: Box<dyn FrameCarrier<P>>,
    orders: u64,
    spread: Option<Arc<Spread>>,
}

impl<P: Packet> NamespaceWorkers<P> {
    /// A house of these workers, which share `ports` ports.
    pub fn new(
        slots: Vec<WorkerSlot<P>>,
        ports: usize,
        carrier: Box<dyn FrameCarrier<P>>,
    ) -> NamespaceWorkers<P> {
        NamespaceWorkers { slots, ports, carrier, orders: 0, spread: None }
    }

    /// Flows of all namespaces are shared out by the rule that ports were given.
    #[must_use]
    pub fn spread_by(self, spread: Option<Arc<Spread>>) -> NamespaceWorkers<P> {
        NamespaceWorkers { spread, ..self }
    }

    /// Has every worker carry out an order, and frees what they give back.
    fn order(&mut self, mut order: impl FnMut() -> Option<NamespaceCommand<P>>) -> Result<(), Failure> {
        self.orders += 1;
        let number = self.orders;
        for slot in &self.slots {
            let order = order().ok_or_else(late)?;
            slot.namespace_rings.commands.push((number, order)).map_err(|_| late())?;
        }
        let began = Instant::now();
        self.slots.iter().try_for_each(|slot| {
            loop {
                match slot.namespace_rings.done.pop() {
                    Some((done, retired)) => {
                        drop(retired);
                        if done == number {
                            return Ok(());
                        }
                    }
                    None if began.elapsed() > PATIENCE => return Err(late()),
                    None => thread::sleep(POLL_INTERVAL),
                }
            }
        })
    }
}

fn refused(why: KernelNamespaceError) -> Failure {
    Failure::Internal(why.to_string())
}

/// The parts of a namespace: one for each worker, and control's end of it.
pub struct Parts<P> {
    /// By worker.
    pub setups: Vec<NamespaceSetup<P>>,
    /// By worker.
    pub handles: Vec<WorkerHandle>,
    /// To and from the kernel.
    pub rings: KernelRings<P>,
}

/// Rings, counters and what workers share, for workers on these cores. Without a rule that devices know, they share
/// flows out by one of their own.
pub fn parts<P>(start: &Start, cores: &[u16], ports: usize, spread: Option<&Arc<Spread>>) -> Parts<P> {
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
    let steering = Steering { workers: count as u16, seed: Seed::random(), spread: spread.cloned() };
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

impl<P: Packet> NamespaceManager for NamespaceWorkers<P> {
    fn admit(&mut self, id: NamespaceId, of: &Namespace) -> Result<Admitted, Failure> {
        let start = &Start::from(&of.start);
        let cores: Vec<u16> = self.slots.iter().map(|slot| slot.core).collect();
        let Parts { setups, handles, rings } = parts(start, &cores, self.ports, self.spread.as_ref());
        let made: Result<Vec<_>, _> = setups.into_iter().map(NamespaceWorker::new).collect();
        let (ipv4, ipv6) = (start.connections_ipv4, start.connections_ipv6);
        let no_memory = |why: std::io::Error| Failure::NoMemory { ipv4, ipv6, why: why.to_string() };
        let mut namespace_workers = made.map_err(no_memory)?.into_iter();
        let heard = self.carrier.join(id, of, rings).map_err(refused)?;
        let entered = self.order(|| {
            namespace_workers
                .next()
                .map(|namespace_worker| NamespaceCommand::Add(id, Box::new(namespace_worker)))
        });
        if let Err(why) = entered {
            // Whoever has taken it in, or does so yet, gives it back.
            self.slots
                .iter()
                .for_each(|slot| drop(slot.namespace_rings.commands.push((0, NamespaceCommand::Remove(id)))));
            self.carrier.leave(id);
            return Err(why);
        }
        Ok(Admitted { workers: handles, heard })
    }

    fn rebind(&mut self, id: NamespaceId, bindings: &[model::Binding]) -> Result<Option<Heard>, Failure> {
        self.carrier.rebind(id, bindings).map_err(refused)
    }

    fn stay(&mut self, id: NamespaceId) {
        self.carrier.stay(id);
    }

    fn bind(&mut self, bindings: &[Binding]) -> Result<(), Failure> {
        let outcome = self.order(|| Some(NamespaceCommand::Bind(bindings.into())));
        self.carrier.bound();
        outcome
    }

    fn dismiss(&mut self, id: NamespaceId) -> Result<(), Failure> {
        self.carrier.leave(id);
        self.order(|| Some(NamespaceCommand::Remove(id)))
    }
}

//! A worker: the loop of one core. It polls its ports, runs each burst through the pipeline of the namespace that the
//! frames belong to, and transmits the result.

mod background;
pub mod binding;
mod commands;
pub mod idle;
pub mod namespace;
pub mod namespace_parts;
pub mod namespace_rings;
mod sleep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::{ConfigEvents, Event, Snapshot};
use crate::io::{Batch, QueuePair};
use crate::packet::Packet;
use crate::pipeline::RxContext;
use crate::time::{Clock, Tick};
use crate::verdict::DropReason;
use crate::work_budget::WorkBudget;
use crate::worker::idle::IdleConfig;

use binding::{Binding, MAX_NAMESPACES, NamespaceId};
use namespace::{NamespaceSetup, NamespaceWorker};
use namespace_rings::NamespaceRings;
use sleep::Idle;

/// Namespace commands that may be queued for a worker; control waits for each.
const NAMESPACE_COMMANDS: usize = 16;

/// A port as one worker uses it.
pub struct Port<Q> {
    /// Number of the port.
    pub number: u16,
    /// This worker's receive and transmit queue.
    pub queues: Q,
    /// The namespaces that the port's frames belong to.
    pub binding: Binding,
}

impl<Q> Port<Q> {
    /// A port whose frames all belong to the default namespace.
    pub fn new(number: u16, queues: Q) -> Port<Q> {
        Port { number, queues, binding: Binding::default() }
    }
}

/// Everything a worker is built from.
pub struct Setup<Q: QueuePair> {
    /// All ports, by number.
    pub ports: Vec<Port<Q>>,
    /// The default namespace.
    pub default_namespace: NamespaceSetup<Q::Packet>,
    /// Rings through which control adds and removes other namespaces.
    pub namespace_rings: Arc<NamespaceRings<Q::Packet>>,
    /// How the worker idles.
    pub idle: IdleConfig,
}

impl<Q: QueuePair> Setup<Q> {
    /// A worker with these ports, a default namespace, and the default idle policy.
    pub fn new(ports: Vec<Port<Q>>, default_namespace: NamespaceSetup<Q::Packet>) -> Setup<Q> {
        let namespace_rings = NamespaceRings::new(NAMESPACE_COMMANDS);
        Setup { ports, default_namespace, namespace_rings, idle: IdleConfig::default() }
    }
}

/// The loop of one core, with everything it owns.
pub struct Worker<Q: QueuePair, C: Clock> {
    /// The default namespace.
    pub default_namespace: NamespaceWorker<Q::Packet>,
    /// The other namespaces; id 1 is at index 0. Has capacity for all of them, so adding one does not allocate.
    namespaces: Vec<Option<Box<NamespaceWorker<Q::Packet>>>>,
    ports: Vec<Port<Q>>,
    namespace_rings: Arc<NamespaceRings<Q::Packet>>,
    clock: C,
    batch: Batch<Q::Packet>,
    /// One namespace's frames of a burst; empty between bursts.
    namespace_batch: Batch<Q::Packet>,
    idle: Idle,
    stopped: bool,
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Builds a worker and allocates its memory. Its snapshot is empty: it has no links, so nothing is balanced until
    /// control installs another.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(setup: Setup<Q>, clock: C) -> std::io::Result<Worker<Q, C>> {
        Ok(Worker {
            default_namespace: NamespaceWorker::new(setup.default_namespace)?,
            namespaces: Vec::with_capacity(MAX_NAMESPACES),
            ports: setup.ports,
            namespace_rings: setup.namespace_rings,
            clock,
            batch: Batch::new(),
            namespace_batch: Batch::new(),
            idle: Idle::new(setup.idle),
            stopped: false,
        })
    }

    /// Polls until control sends [`Stop`](crate::config::Command::Stop), and idles after iterations without packets.
    pub fn run(&mut self) {
        while !self.stopped {
            if self.poll_once() == 0 {
                self.idle();
            }
        }
    }

    /// Runs one poll iteration and returns the number of packets it moved.
    pub fn poll_once(&mut self) -> usize {
        let (now, began) = (self.clock.now(), self.clock.cycles());
        self.process_namespace_commands();
        for (_, namespace) in all_namespaces(&mut self.default_namespace, &mut self.namespaces) {
            self.stopped |= namespace.process_commands(&mut self.ports);
            namespace.publish_counters();
            namespace.expire_waiting(now);
        }
        let mut moved = self.poll_ports(now);
        for (id, namespace) in all_namespaces(&mut self.default_namespace, &mut self.namespaces) {
            moved += namespace.drain_hand_off(now, &mut self.ports, &mut self.batch);
            moved += namespace.send_kernel_frames(now, id, &mut self.ports);
            namespace.expire_connections(now, moved);
            namespace.run_background(now, moved);
        }
        if moved > 0 {
            let counters = &self.default_namespace.pipeline.stats.counters;
            counters.busy_cycles.add(self.clock.cycles().wrapping_sub(began));
            counters.bursts.add(1);
        }
        moved
    }

    /// The clock, for tests that set it.
    pub fn clock(&mut self) -> &mut C {
        &mut self.clock
    }

    /// Receives one burst from each port and processes it.
    fn poll_ports(&mut self, now: Tick) -> usize {
        let mut received = 0;
        for index in 0..self.ports.len() {
            received += self.poll_port(index, now);
        }
        received
    }

    fn poll_port(&mut self, index: usize, now: Tick) -> usize {
        let port = &mut self.ports[index];
        port.queues.receive(&mut self.batch);
        let count = self.batch.len();
        if count == 0 {
            return 0;
        }
        let rx = RxContext { port: port.number, now, relayed: false };
        if port.binding.is_default() {
            self.default_namespace.receive_burst(&mut self.batch, &rx, &mut self.ports);
        } else {
            self.split_by_namespace(index, &rx);
        }
        count
    }

    /// Passes each namespace its frames of a burst, in the order they arrived.
    fn split_by_namespace(&mut self, index: usize, rx: &RxContext) {
        while let Some(first) = self.batch.first() {
            let binding = &self.ports[index].binding;
            let id = binding.namespace_of(first.bytes());
            if binding.vlans.is_empty() {
                std::mem::swap(&mut self.batch, &mut self.namespace_batch);
            } else {
                let is_same = |frame: &[u8]| binding.namespace_of(frame) == id;
                move_matching(&mut self.batch, &mut self.namespace_batch, is_same);
            }
            let namespace = match id.0.checked_sub(1) {
                None => Some(&mut self.default_namespace),
                Some(index) => self.namespaces.get_mut(usize::from(index)).and_then(Option::as_deref_mut),
            };
            match namespace {
                Some(namespace) => namespace.receive_burst(&mut self.namespace_batch, rx, &mut self.ports),
                None => self.drop_unowned(),
            }
        }
    }

    /// Drops frames of a namespace that does not exist. Control unbinds ports before it removes a namespace, so there
    /// should be none.
    #[cold]
    fn drop_unowned(&mut self) {
        let counters = &self.default_namespace.pipeline.stats.counters;
        let count = self.namespace_batch.len() as u64;
        counters.received.add(count);
        counters.drops[DropReason::OtherNamespace as usize].add(count);
        self.namespace_batch.clear();
    }

    /// Installs a snapshot in the default namespace; for replay and tests, which have no control thread.
    pub fn install(&mut self, mut snapshot: Snapshot, events: &[Event]) {
        snapshot.build_lookups();
        let config_events = ConfigEvents::new(events, &snapshot.services);
        self.default_namespace.adopt(Box::new(snapshot), config_events, &mut self.ports);
        self.default_namespace.pipeline.apply_events(&mut { WorkBudget::UNLIMITED });
    }

    /// Another namespace than the default one, for tests.
    #[cfg(test)]
    fn namespace(&mut self, id: NamespaceId) -> &mut NamespaceWorker<Q::Packet> {
        self.namespaces[usize::from(id.0) - 1].as_deref_mut().unwrap()
    }
}

/// Every namespace of a worker with its id, the default one first. Borrows only these two fields, so that the ports can
/// be used at the same time.
fn all_namespaces<'a, P>(
    default: &'a mut NamespaceWorker<P>,
    others: &'a mut [Option<Box<NamespaceWorker<P>>>],
) -> impl Iterator<Item = (NamespaceId, &'a mut NamespaceWorker<P>)> {
    let others = others.iter_mut().map(Option::as_deref_mut);
    let all = std::iter::once(Some(default)).chain(others).zip(0..);
    all.filter_map(|(namespace, id)| Some((NamespaceId(id), namespace?)))
}

/// Moves the frames for which `matches` holds from `from` to the empty `to`; both keep their order.
fn move_matching<P: Packet>(from: &mut Batch<P>, to: &mut Batch<P>, matches: impl Fn(&[u8]) -> bool) {
    for packet in std::mem::take(from) {
        let batch = if matches(packet.bytes()) { &mut *to } else { &mut *from };
        batch.push(packet);
    }
}

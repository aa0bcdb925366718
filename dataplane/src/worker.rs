//! One core's loop: adopt configuration, take bursts from its queues, run them through the line of the namespace they
//! are for, send what left.

pub mod binding;
mod commands;
pub mod idle;
pub mod namespace;
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
use crate::wire::ether::MacBytes;
use crate::work_budget::WorkBudget;
use crate::worker::idle::IdleConfig;

use binding::{Binding, NamespaceId};
use namespace::{NamespaceSetup, NamespaceWorker};
use namespace_rings::{NamespaceCommand, NamespaceRings, Retired};
use sleep::Idle;

/// A port as one worker uses it.
pub struct Port<Q> {
    /// Number of the port.
    pub number: u16,
    /// Its hardware address.
    pub mac: MacBytes,
    /// This worker's queues.
    pub queues: Q,
    /// Whose its frames are.
    pub binding: Binding,
}

/// What a worker is made from.
pub struct Setup<Q: QueuePair> {
    /// Its ports, by number.
    pub ports: Vec<Port<Q>>,
    /// The default namespace.
    pub default_namespace: NamespaceSetup<Q::Packet>,
    /// By which others come and go.
    pub namespace_rings: Arc<NamespaceRings<Q::Packet>>,
    /// What it does when nothing comes.
    pub idle: IdleConfig,
}

/// One core's loop and everything it owns.
pub struct Worker<Q: QueuePair, C: Clock> {
    /// The default namespace.
    pub default_namespace: NamespaceWorker<Q::Packet>,
    /// The others; number 1 is the first. There is room for all, so that taking one in allocates nothing.
    namespaces: Vec<Option<Box<NamespaceWorker<Q::Packet>>>>,
    ports: Vec<Port<Q>>,
    namespace_rings: Arc<NamespaceRings<Q::Packet>>,
    clock: C,
    batch: Batch<Q::Packet>,
    /// What of a burst is for one namespace, while it is shared out.
    part: Batch<Q::Packet>,
    idle: Idle,
    stopped: bool,
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Takes the worker's memory.
    ///
    /// # Errors
    /// When there is not enough of it.
    pub fn new(setup: Setup<Q>, clock: C) -> std::io::Result<Worker<Q, C>> {
        Ok(Worker {
            default_namespace: NamespaceWorker::new(setup.default_namespace)?,
            namespaces: Vec::with_capacity(binding::MOST),
            ports: setup.ports,
            namespace_rings: setup.namespace_rings,
            clock,
            batch: Batch::new(),
            part: Batch::new(),
            idle: Idle::new(setup.idle),
            stopped: false,
        })
    }

    /// Turns until control says stop, and rests as its rule says when nothing comes.
    pub fn run(&mut self) {
        while !self.stopped {
            if self.turn() == 0 {
                self.idle_policy();
            }
        }
    }

    /// One turn over all queues and rings; tells how many packets it moved.
    pub fn turn(&mut self) -> usize {
        let (now, began) = (self.clock.now(), self.clock.cycles());
        self.process_commands(now);
        let mut moved = 0;
        for index in 0..self.ports.len() {
            moved += self.poll(index, now);
        }
        moved += self.default_namespace.drain_hand_off(now, &mut self.ports, &mut self.batch);
        moved += self.default_namespace.inject(now, NamespaceId::DEFAULT, &mut self.ports);
        self.default_namespace.run_background(now, moved);
        if !self.namespaces.is_empty() {
            moved += self.poll_namespaces(now, moved);
        }
        let counters = &self.default_namespace.pipeline.stats.counters;
        if moved > 0 {
            counters.busy_cycles.add(self.clock.cycles().wrapping_sub(began));
            counters.bursts.add(1);
        }
        moved
    }

    /// The clock, for tests that move it.
    pub fn clock(&mut self) -> &mut C {
        &mut self.clock
    }

    fn poll(&mut self, index: usize, now: Tick) -> usize {
        let port = &mut self.ports[index];
        port.queues.receive(&mut self.batch);
        let count = self.batch.len();
        if count == 0 {
            return 0;
        }
        let rx = RxContext { port: port.number, mac: port.mac, now, relayed: false };
        if port.binding.is_default() {
            self.default_namespace.pipeline.stats.counters.received.add(count as u64);
            self.default_namespace.run_burst(&mut self.batch, &rx, &mut self.ports);
        } else {
            self.split_by_namespace(index, &rx);
        }
        count
    }

    /// Gives each namespace its part of a burst, in the order the packets came.
    fn split_by_namespace(&mut self, index: usize, rx: &RxContext) {
        while let Some(first) = self.batch.first() {
            let binding = &self.ports[index].binding;
            let whose = binding.of(first.bytes());
            if binding.vlans.is_empty() {
                std::mem::swap(&mut self.batch, &mut self.part);
            } else {
                split(&mut self.batch, &mut self.part, |frame| binding.of(frame) == whose);
            }
            let namespace = match whose.0.checked_sub(1) {
                None => Some(&mut self.default_namespace),
                Some(at) => self.namespaces.get_mut(usize::from(at)).and_then(Option::as_deref_mut),
            };
            let Some(namespace) = namespace else {
                // Control unbinds ports before a namespace leaves, so nobody gets here.
                let counters = &self.default_namespace.pipeline.stats.counters;
                counters.received.add(self.part.len() as u64);
                counters.drops[DropReason::OtherNamespace as usize].add(self.part.len() as u64);
                self.part.clear();
                continue;
            };
            namespace.pipeline.stats.counters.received.add(self.part.len() as u64);
            namespace.run_burst(&mut self.part, rx, &mut self.ports);
        }
    }

    /// What a turn does for every namespace beside the default one.
    fn poll_namespaces(&mut self, now: Tick, before: usize) -> usize {
        let mut moved = 0;
        for (id, namespace) in (1..).map(NamespaceId).zip(&mut self.namespaces) {
            let Some(namespace) = namespace else { continue };
            moved += namespace.drain_hand_off(now, &mut self.ports, &mut self.batch);
            moved += namespace.inject(now, id, &mut self.ports);
            namespace.run_background(now, before);
        }
        moved
    }

    /// Does what control asks.
    fn process_commands(&mut self, now: Tick) {
        if !self.namespace_rings.commands.is_empty() {
            self.process_namespace_commands();
        }
        self.stopped |= self.default_namespace.process_commands(now, &mut self.ports);
        for namespace in self.namespaces.iter_mut().flatten() {
            namespace.process_commands(now, &mut self.ports);
        }
    }

    /// Takes namespaces in and gives them back.
    #[cold]
    fn process_namespace_commands(&mut self) {
        while let Some((number, order)) = self.namespace_rings.commands.pop() {
            let retired = match order {
                NamespaceCommand::Enter(id, namespace) => self.add_namespace(id, namespace),
                NamespaceCommand::Leave(id) => self.give_back(id),
                NamespaceCommand::Bind(mut bindings) => {
                    for (port, binding) in self.ports.iter_mut().zip(&mut bindings) {
                        std::mem::swap(&mut port.binding, binding);
                    }
                    Retired::Bindings(bindings)
                }
            };
            // As deep as the ring of orders, which control waits for one at a time.
            let _ = self.namespace_rings.done.push((number, retired));
        }
    }

    fn add_namespace(
        &mut self,
        id: NamespaceId,
        namespace: Box<NamespaceWorker<Q::Packet>>,
    ) -> Retired<Q::Packet> {
        let Some(at) = id.0.checked_sub(1).map(usize::from).filter(|&at| at < binding::MOST) else {
            return Retired::NamespaceWorker(namespace);
        };
        while self.namespaces.len() <= at {
            self.namespaces.push(None);
        }
        self.namespaces[at].replace(namespace).map_or(Retired::Nothing, Retired::NamespaceWorker)
    }

    fn give_back(&mut self, id: NamespaceId) -> Retired<Q::Packet> {
        let at = id.0.checked_sub(1).map(usize::from);
        let gone = at.and_then(|at| self.namespaces.get_mut(at)).and_then(Option::take);
        while let Some(None) = self.namespaces.last() {
            self.namespaces.pop();
        }
        gone.map_or(Retired::Nothing, Retired::NamespaceWorker)
    }
}

/// Moves the frames that `is_part` from `batch` to the empty `part`; both keep their order.
fn split<P: Packet>(batch: &mut Batch<P>, part: &mut Batch<P>, is_part: impl Fn(&[u8]) -> bool) {
    for packet in std::mem::take(batch) {
        let to = if is_part(packet.bytes()) { &mut *part } else { &mut *batch };
        to.push(packet);
    }
}

/// A worker's starting snapshot is empty: everything is the kernel's until control installs one.
impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Installs a snapshot in the default namespace; for replay and tests, where there is no control thread.
    pub fn install(&mut self, mut snapshot: Snapshot, events: &[Event]) {
        snapshot.build_adjacencies();
        let config_events = ConfigEvents::new(events, &snapshot.services);
        self.default_namespace.adopt(Box::new(snapshot), config_events, &mut self.ports);
        self.default_namespace.pipeline.apply_events(&mut { WorkBudget::UNLIMITED });
    }

    /// A namespace beside the default one, for tests.
    #[cfg(test)]
    fn namespace(&mut self, id: u16) -> &mut NamespaceWorker<Q::Packet> {
        self.namespaces[usize::from(id) - 1].as_deref_mut().unwrap()
    }
}

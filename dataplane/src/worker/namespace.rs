//! One namespace at one worker: its line, its outbox, and its rings to the kernel and to the other workers. Two
//! namespaces have nothing in common but the ports, so nothing can cross.

use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;

use super::Port;
use super::binding::{Binding, NamespaceId};
use super::commands::BackgroundTask;
use crate::config::{ConfigEvents, WorkerRings};
use crate::conn::{Shared, Sizes, Table};
use crate::flow::Seed;
use crate::io::{BURST, Batch, QueuePair};
use crate::packet::Packet;
use crate::pipeline::egress::pmtu::PmtuCache;
use crate::pipeline::egress::tx_buffers::{FROM_KERNEL, HandOffRing, RELAYED};
use crate::pipeline::maintenance::defence::Defence;
use crate::pipeline::maintenance::deferred_expiry::DeferredExpiry;
use crate::pipeline::{self, KernelRing, Pipeline, RxContext, TxBuffers};
use crate::sched::SchedulerState;
use crate::stats::WorkerStats;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::verdict::DropReason;

/// What a namespace is made from, for one worker.
pub struct NamespaceSetup<P> {
    /// The worker's number.
    pub me: WorkerId,
    /// How flows are shared out; the same for all workers.
    pub steering: Steering,
    /// How many ports there are.
    pub ports: usize,
    /// The worker's share of the connections.
    pub sizes: Sizes,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Services that can exist.
    pub services: usize,
    /// Its counters.
    pub stats: Arc<WorkerStats>,
    /// To and from control.
    pub rings: Arc<WorkerRings>,
    /// Frames for the kernel.
    pub kernel: KernelRing<P>,
    /// Frames of the kernel for ports.
    pub inject: Arc<ArrayQueue<(usize, P)>>,
    /// Rings of all workers, by number.
    pub hand_off: Box<[HandOffRing<P>]>,
}

/// One namespace at one worker.
pub struct NamespaceWorker<P> {
    /// The packets' way.
    pub pipeline: Pipeline,
    pub(super) out: TxBuffers<P>,
    inject: Arc<ArrayQueue<(usize, P)>>,
    /// What control asked for and is not done yet.
    pub(super) task: Option<BackgroundTask>,
}

impl<P: Packet> NamespaceWorker<P> {
    /// Takes the memory.
    ///
    /// # Errors
    /// When there is not enough of it.
    pub fn new(setup: NamespaceSetup<P>) -> std::io::Result<NamespaceWorker<P>> {
        let random = Seed::random();
        let conns = Table::new(setup.sizes, random)?;
        setup.stats.counters.table_bytes.set(conns.bytes() as u64);
        let out = TxBuffers::new(setup.ports, setup.kernel, setup.hand_off);
        let Seed(seed, step) = Seed::random();
        let state =
            |service: usize| SchedulerState::new(seed.wrapping_add(step.wrapping_mul(service as u64)));
        let pipeline = Pipeline {
            me: setup.me,
            steering: setup.steering,
            conns,
            snapshot: Box::default(),
            scheduler_states: (0..setup.services).map(state).collect(),
            stats: setup.stats,
            rings: setup.rings,
            shared: setup.shared,
            pmtu: PmtuCache::new(),
            defence: Defence::default(),
            half_open: 0,
            opened: 0,
            last_ops: None,
            in_datagram: false,
            maintained: Tick(0),
            flush: None,
            config_events: ConfigEvents::default(),
            ending: DeferredExpiry::default(),
            ip_id: 0,
            fragment_id: random.1 as u32,
            metas: pipeline::metas(),
        };
        Ok(NamespaceWorker { pipeline, out, inject: setup.inject, task: None })
    }

    /// Runs a batch through the line, and what leaves out of the ports.
    pub(super) fn run_burst<Q: QueuePair<Packet = P>>(
        &mut self,
        batch: &mut Batch<P>,
        rx: &RxContext,
        ports: &mut [Port<Q>],
    ) {
        if self.pipeline.snapshot.debug.each_packet() {
            self.pipeline.run_traced(batch, rx, &mut self.out);
        } else {
            self.pipeline.run(batch, rx, &mut self.out);
        }
        self.flush(ports);
    }

    /// Packets that other workers found to be ours. Those that came in by one port are a burst, as they were there.
    pub(super) fn drain_hand_off<Q: QueuePair<Packet = P>>(
        &mut self,
        now: Tick,
        ports: &mut [Port<Q>],
        batch: &mut Batch<P>,
    ) -> usize {
        let me = usize::from(self.pipeline.me.0);
        let Some(ring) = self.out.hand_off.get(me).filter(|ring| !ring.is_empty()) else { return 0 };
        let mut given: Given<P> = std::iter::from_fn(|| ring.pop()).take(BURST).collect();
        let count = given.len();
        while let Some(&(tag, _)) = given.first() {
            part(&mut given, tag, batch);
            self.run_handed_off(tag, batch, now, ports);
        }
        self.pipeline.stats.counters.handoff_received.add(count as u64);
        count
    }

    /// Runs what was handed over with one tag.
    fn run_handed_off<Q: QueuePair<Packet = P>>(
        &mut self,
        tag: u16,
        batch: &mut Batch<P>,
        now: Tick,
        ports: &mut [Port<Q>],
    ) {
        let (relayed, port) = (tag & RELAYED != 0, tag & !(RELAYED | FROM_KERNEL));
        if tag & FROM_KERNEL == 0 {
            let rx = RxContext { port, mac: ports[usize::from(port)].mac, now, relayed };
            return self.run_burst(batch, &rx, ports);
        }
        for packet in batch.drain(..) {
            self.pipeline.from_kernel(port, packet, now, &mut self.out);
        }
        self.flush(ports);
    }

    /// Frames of the kernel leave, by and large as they are, by what is bound to the namespace.
    pub(super) fn inject<Q: QueuePair<Packet = P>>(
        &mut self,
        now: Tick,
        me: NamespaceId,
        ports: &mut [Port<Q>],
    ) -> usize {
        let mut count = 0;
        while count < BURST
            && let Some((port, packet)) = next(&self.inject)
        {
            count += 1;
            let counters = &self.pipeline.stats.counters;
            counters.from_kernel.add(1);
            let binding = ports.get(port).map(|port| &port.binding);
            if binding.is_some_and(|binding: &Binding| binding.of(packet.bytes()) != me) {
                counters.drops[DropReason::OtherNamespace as usize].add(1);
                continue;
            }
            self.pipeline.from_kernel(port as u16, packet, now, &mut self.out);
        }
        if count > 0 {
            self.flush(ports);
        }
        count
    }

    /// Sends what is in the outbox.
    pub(super) fn flush<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
        self.transmit(ports);
        while self.out.refill() {
            self.transmit(ports);
        }
    }

    /// Sends the outbox's batches; what a port refuses twice is dropped.
    fn transmit<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
        let counters = &self.pipeline.stats.counters;
        for (port, batch) in ports.iter_mut().zip(&mut self.out.ports) {
            if batch.is_empty() {
                continue;
            }
            let count = batch.len();
            port.queues.transmit(batch);
            if !batch.is_empty() {
                port.queues.transmit(batch);
            }
            counters.sent.add((count - batch.len()) as u64);
            counters.drops[DropReason::TransmitFull as usize].add(batch.len() as u64);
            batch.clear();
        }
    }
}

/// Packets that were handed over, with their tags: the port, and whence they are.
type Given<P> = ArrayVec<(u16, P), BURST>;

/// Moves the packets with this tag, which the first has, to the empty `batch`; all keep their order.
fn part<P>(given: &mut Given<P>, tag: u16, batch: &mut Batch<P>) {
    if given.iter().all(|&(other, _)| other == tag) {
        return batch.extend(given.drain(..).map(|(_, packet)| packet));
    }
    for (other, packet) in std::mem::take(given) {
        if other == tag {
            batch.push(packet);
        } else {
            given.push((other, packet));
        }
    }
}

/// The first in a ring. Most are empty in most turns, and to pop from an empty one costs a fence.
#[inline]
pub(super) fn next<T>(ring: &ArrayQueue<T>) -> Option<T> {
    if ring.is_empty() { None } else { ring.pop() }
}

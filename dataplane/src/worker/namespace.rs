//! One namespace at one worker: its pipeline, its transmit buffers, and its rings to the kernel and to the other
//! workers. Namespaces share nothing but the ports, so no packet can cross from one to another.

use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;

use super::Port;
use super::background::BackgroundTask;
use super::binding::NamespaceId;
use crate::config::WorkerRings;
use crate::conn::{Shared, Sizes, Table};
use crate::flow::Seed;
use crate::io::{BURST, Batch, QueuePair};
use crate::packet::Packet;
use crate::pipeline::egress::tx_buffers::{FROM_KERNEL, HandOffRing, RELAYED};
use crate::pipeline::{KernelRing, Pipeline, PipelineSetup, RxContext, TxBuffers};
use crate::stats::WorkerStats;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::verdict::DropReason;

/// Everything one worker's part of a namespace is built from.
pub struct NamespaceSetup<P> {
    /// The worker's number.
    pub worker_id: WorkerId,
    /// How flows are distributed; the same at all workers.
    pub steering: Steering,
    /// Number of ports.
    pub ports: usize,
    /// Capacity of this worker's connection table.
    pub sizes: Sizes,
    /// State that all workers share.
    pub shared: Arc<Shared>,
    /// Maximum number of services.
    pub services: usize,
    /// This worker's counters.
    pub stats: Arc<WorkerStats>,
    /// Rings to and from control.
    pub rings: Arc<WorkerRings>,
    /// Frames for the kernel.
    pub kernel: KernelRing<P>,
    /// Frames from the kernel, with the port to send them by.
    pub inject: Arc<ArrayQueue<(usize, P)>>,
    /// Hand-off rings of all workers, by worker number.
    pub hand_off: Box<[HandOffRing<P>]>,
}

/// One namespace at one worker.
pub struct NamespaceWorker<P> {
    /// The packet path.
    pub pipeline: Pipeline,
    pub(super) tx: TxBuffers<P>,
    inject: Arc<ArrayQueue<(usize, P)>>,
    /// The command that is being carried out; the next ones wait for it.
    pub(super) task: Option<BackgroundTask>,
}

impl<P: Packet> NamespaceWorker<P> {
    /// Allocates the tables and buffers.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(setup: NamespaceSetup<P>) -> std::io::Result<NamespaceWorker<P>> {
        let random = Seed::random();
        let conns = Table::new(setup.sizes, random)?;
        setup.stats.counters.table_bytes.set(conns.bytes() as u64);
        let tx = TxBuffers::new(setup.ports, setup.kernel, setup.hand_off);
        let NamespaceSetup { worker_id, steering, services, shared, stats, rings, .. } = setup;
        let pipeline =
            Pipeline::new(PipelineSetup { worker_id, steering, conns, services, shared, stats, rings });
        Ok(NamespaceWorker { pipeline, tx, inject: setup.inject, task: None })
    }

    /// Counts and runs a burst that a port received.
    pub(super) fn receive_burst<Q: QueuePair<Packet = P>>(
        &mut self,
        batch: &mut Batch<P>,
        rx: &RxContext,
        ports: &mut [Port<Q>],
    ) {
        self.pipeline.stats.counters.received.add(batch.len() as u64);
        self.run_burst(batch, rx, ports);
    }

    /// Runs a burst through the pipeline and transmits the result.
    fn run_burst<Q: QueuePair<Packet = P>>(
        &mut self,
        batch: &mut Batch<P>,
        rx: &RxContext,
        ports: &mut [Port<Q>],
    ) {
        if self.pipeline.snapshot.debug.each_packet() {
            self.pipeline.run_traced(batch, rx, &mut self.tx);
        } else {
            self.pipeline.run(batch, rx, &mut self.tx);
        }
        self.transmit(ports);
    }

    /// Processes packets that other workers handed over. Packets with the same tag form a burst, as they did there.
    pub(super) fn drain_hand_off<Q: QueuePair<Packet = P>>(
        &mut self,
        now: Tick,
        ports: &mut [Port<Q>],
        batch: &mut Batch<P>,
    ) -> usize {
        let own = usize::from(self.pipeline.worker_id.0);
        let Some(ring) = self.tx.hand_off.get(own).filter(|ring| !ring.is_empty()) else { return 0 };
        let mut packets: HandedOff<P> = std::iter::from_fn(|| ring.pop()).take(BURST).collect();
        let count = packets.len();
        while let Some(&(tag, _)) = packets.first() {
            take_tagged(&mut packets, tag, batch);
            self.run_handed_off(tag, batch, now, ports);
        }
        self.pipeline.stats.counters.handoff_received.add(count as u64);
        count
    }

    /// Runs packets that were handed over with one tag.
    fn run_handed_off<Q: QueuePair<Packet = P>>(
        &mut self,
        tag: u16,
        batch: &mut Batch<P>,
        now: Tick,
        ports: &mut [Port<Q>],
    ) {
        let (relayed, port) = (tag & RELAYED != 0, tag & !(RELAYED | FROM_KERNEL));
        if tag & FROM_KERNEL == 0 {
            let rx = RxContext { port, now, relayed };
            return self.run_burst(batch, &rx, ports);
        }
        for packet in batch.drain(..) {
            self.pipeline.from_kernel(port, packet, now, &mut self.tx);
        }
        self.transmit(ports);
    }

    /// Sends up to a burst of frames from the kernel. A frame whose port or VLAN is not bound to this namespace,
    /// `id`, is dropped.
    pub(super) fn send_kernel_frames<Q: QueuePair<Packet = P>>(
        &mut self,
        now: Tick,
        id: NamespaceId,
        ports: &mut [Port<Q>],
    ) -> usize {
        let mut count = 0;
        while count < BURST
            && let Some((port, packet)) = pop(&self.inject)
        {
            count += 1;
            let counters = &self.pipeline.stats.counters;
            counters.from_kernel.add(1);
            if ports.get(port).is_some_and(|port| port.binding.namespace_of(packet.bytes()) != id) {
                counters.drops[DropReason::OtherNamespace as usize].add(1);
                continue;
            }
            self.pipeline.from_kernel(port as u16, packet, now, &mut self.tx);
        }
        if count > 0 {
            self.transmit(ports);
        }
        count
    }

    /// Sends the transmit buffers, refilling them from the overflow until that is empty.
    pub(super) fn transmit<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
        self.transmit_batches(ports);
        while self.tx.refill() {
            self.transmit_batches(ports);
        }
    }

    /// Sends one batch per port. A port gets a second try; packets that it refuses again are dropped.
    fn transmit_batches<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
        let counters = &self.pipeline.stats.counters;
        for (port, batch) in ports.iter_mut().zip(&mut self.tx.ports) {
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

/// Packets from the hand-off ring. The tag has the port and the flags [`RELAYED`] and [`FROM_KERNEL`].
type HandedOff<P> = ArrayVec<(u16, P), BURST>;

/// Moves the packets with this tag to the empty `batch`; all keep their order.
fn take_tagged<P>(packets: &mut HandedOff<P>, tag: u16, batch: &mut Batch<P>) {
    if packets.iter().all(|&(other, _)| other == tag) {
        return batch.extend(packets.drain(..).map(|(_, packet)| packet));
    }
    for (other, packet) in std::mem::take(packets) {
        if other == tag {
            batch.push(packet);
        } else {
            packets.push((other, packet));
        }
    }
}

/// Pops from a ring. Rings are empty in most iterations, and `ArrayQueue::pop` costs a fence even then.
#[inline]
pub(super) fn pop<T>(ring: &ArrayQueue<T>) -> Option<T> {
    if ring.is_empty() { None } else { ring.pop() }
}

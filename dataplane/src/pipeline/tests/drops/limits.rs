//! Failures that ports in memory never have: a transmit queue that accepts nothing, buffers without headroom, no buffers.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::super::bed::*;
use super::{nat, syn, with};
use crate::fragments::ReassemblyBuffer;
use crate::io::mem::{Frame, ManualClock};
use crate::io::{Batch, QueuePair};
use crate::packet::Packet;
use crate::pipeline::{RxContext, TxBuffers};
use crate::service::{Method, Tunnel};
use crate::stats::WorkerStats;
use crate::time::Tick;
use crate::worker::{Port, Setup, Worker};

/// A port on which clients send SYNs and whose transmit queue is always full.
struct FullQueue;

impl QueuePair for FullQueue {
    type Packet = Frame;

    fn receive(&mut self, batch: &mut Batch<Frame>) {
        batch.push(Frame::new(&syn()));
    }

    fn transmit(&mut self, _: &mut Batch<Frame>) {}
}

pub(super) fn transmit_queue_full() -> Arc<WorkerStats> {
    let snapshot = nat().snapshot();
    let default_namespace = nat().namespace_parts().take_first();
    let stats = Arc::clone(&default_namespace.stats);
    let ports = vec![Port::new(0, FullQueue), Port::new(1, FullQueue)];
    let mut worker = Worker::new(Setup::new(ports, default_namespace), ManualClock::default()).unwrap();
    worker.install(snapshot, &[]);
    worker.poll_once();
    stats
}

pub(super) fn no_headroom_for_a_tunnel() -> Arc<WorkerStats> {
    let mut frame = Frame::new(&[]);
    while frame.push_front(1) {}
    // The headroom is payload now: the packet starts where the buffer does.
    let packet = syn();
    frame.bytes_mut()[..packet.len()].copy_from_slice(&packet);
    run(Plan::new(Method::Tunnel(Tunnel::Ipip)), frame)
}

/// A packet that must be fragmented, of a kind that cannot allocate buffers for the fragments.
pub(super) fn no_buffer_for_fragments() -> Arc<WorkerStats> {
    let mut packet = ReassemblyBuffer::allocate();
    packet.copy(&with_byte(tcp_with(client(), vip(), "S", &[0; 1000]), 20, 0));
    run(with(Plan::new(Method::Dr), |plan| plan.network.links[1].mtu = 600), packet)
}

/// Counters of a worker whose pipeline ran on this packet.
fn run<P: Packet>(plan: Plan, packet: P) -> Arc<WorkerStats> {
    let mut bed = plan.build();
    let mut tx: TxBuffers<P> = TxBuffers::new(2, Arc::new(ArrayQueue::new(1)), Box::new([]));
    let mut batch = Batch::new();
    batch.push(packet);
    let rx = RxContext { port: 0, now: Tick(0), relayed: false };
    bed.worker.default_namespace.pipeline.run(&mut batch, &rx, &mut tx);
    bed.stats
}

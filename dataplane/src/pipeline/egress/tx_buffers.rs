//! Where packets go from the line: ports, the kernel, other workers, or a short wait for a neighbour's address.

use std::collections::VecDeque;
use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;

use crate::flow::Seed;
use crate::forward::Egress;
use crate::fragments::{Limits, Reassembler, ReassemblyBuffer};
use crate::io::{BURST, Batch};
use crate::packet::Packet;
use crate::steer::WorkerId;
use crate::time::{Millis, Tick};
use crate::verdict::{DropReason, Verdict};

/// Frames for the kernel, with the port they came in by.
pub type KernelRing<P> = Arc<ArrayQueue<(usize, P)>>;

/// Packets that another worker owns, with the port they came in by.
pub type HandOffRing<P> = Arc<ArrayQueue<(u16, P)>>;

/// Set in a handed-over packet's port: it is a fragment of a train that is complete.
pub const RELAYED: u16 = 0x8000;

/// Set in a handed-over packet's port: the kernel sends it out of that port.
pub const FROM_KERNEL: u16 = 0x4000;

/// Packets that may wait for neighbours' addresses at once.
const MAX_UNRESOLVED: usize = BURST;
/// Packets that may leave behind a full batch: all that waited for the rest of their datagrams, or what a burst is cut to.
const MAX_OVERFLOW: usize = 1024 + BURST;
/// How long a packet waits: ARP asks three times in that time.
const RESOLVE_TIMEOUT: Millis = Millis(3000);

/// A packet that waits.
pub struct Unresolved<P> {
    /// The packet, complete but for its frame header.
    pub packet: P,
    /// Where it wants to go.
    pub egress: Egress,
    since: Tick,
}

impl<P> Unresolved<P> {
    /// Whether it has waited too long.
    pub fn is_over(&self, now: Tick) -> bool {
        now.since(self.since) > RESOLVE_TIMEOUT
    }
}

/// What leaves the line, gathered until the end of the burst.
pub struct TxBuffers<P> {
    /// By port.
    pub ports: Box<[Batch<P>]>,
    /// What found its port's batch full, with the port: a burst may end many trains, and be cut into more.
    overflow: VecDeque<(u16, P)>,
    /// To the kernel.
    pub kernel: KernelRing<P>,
    /// To other workers, by their number; our own is what they give us.
    pub hand_off: Box<[HandOffRing<P>]>,
    /// Waiting for a neighbour's address.
    pub unresolved: ArrayVec<Unresolved<P>, MAX_UNRESOLVED>,
    /// Fragments that wait for the others of their datagrams.
    pub reassembler: Reassembler<P>,
    /// What decisions about them are made on.
    pub reassembly_buffer: ReassemblyBuffer,
}

impl<P: Packet> TxBuffers<P> {
    /// An outbox for `ports` ports.
    pub fn new(ports: usize, kernel: KernelRing<P>, hand_off: Box<[HandOffRing<P>]>) -> TxBuffers<P> {
        let reassembler = Reassembler::new(Limits::default(), Seed::random());
        let ports = (0..ports).map(|_| Batch::new()).collect();
        TxBuffers {
            ports,
            overflow: VecDeque::with_capacity(MAX_OVERFLOW),
            kernel,
            hand_off,
            unresolved: ArrayVec::new(),
            reassembler,
            reassembly_buffer: ReassemblyBuffer::new(),
        }
    }

    /// Puts a packet with those that leave by `port`.
    #[inline(always)]
    pub fn send(&mut self, port: u16, packet: P) -> Verdict {
        match self.ports.get_mut(usize::from(port)).map(|batch| batch.try_push(packet)) {
            Some(Ok(())) => Verdict::Sent,
            Some(Err(full)) => self.send_overflow(port, full.element()),
            None => Verdict::Dropped(DropReason::NoRoute),
        }
    }

    #[cold]
    fn send_overflow(&mut self, port: u16, packet: P) -> Verdict {
        if self.overflow.len() >= MAX_OVERFLOW {
            return Verdict::Dropped(DropReason::TransmitFull);
        }
        self.overflow.push_back((port, packet));
        Verdict::Sent
    }

    /// Fills the batches, which have been sent, with what found them full; false when there is no more.
    pub fn refill(&mut self) -> bool {
        let mut any = false;
        while let Some((port, packet)) = self.overflow.pop_front() {
            let Some(batch) = self.ports.get_mut(usize::from(port)) else { continue };
            any = true;
            if let Err(full) = batch.try_push(packet) {
                self.overflow.push_front((port, full.element()));
                break;
            }
        }
        any
    }

    /// Gives a packet to the kernel.
    pub fn to_kernel(&mut self, port: u16, packet: P) -> Verdict {
        match self.kernel.push((usize::from(port), packet)) {
            Ok(()) => Verdict::ToKernel,
            Err(_) => Verdict::Dropped(DropReason::KernelRingFull),
        }
    }

    /// Gives a packet to the worker that owns its flow.
    pub fn hand_off(&mut self, owner: WorkerId, port: u16, packet: P) -> Verdict {
        match self.hand_off.get(usize::from(owner.0)).map(|ring| ring.push((port, packet))) {
            Some(Ok(())) => Verdict::HandedOff,
            _ => Verdict::Dropped(DropReason::HandOffFull),
        }
    }

    /// Keeps a packet until its next hop's address is known; false when too many wait already.
    pub fn queue_unresolved(&mut self, packet: P, egress: Egress, now: Tick) -> bool {
        self.unresolved.try_push(Unresolved { packet, egress, since: now }).is_ok()
    }
}

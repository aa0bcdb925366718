//! Buffers that packets leave from: to ports, to the kernel, to other workers, or held until a neighbour's address is known.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::flow::Seed;
use crate::forward::Egress;
use crate::fragments::{Limits, Reassembler, ReassemblyBuffer};
use crate::io::{BURST, Batch};
use crate::packet::Packet;
use crate::steer::WorkerId;
use crate::time::{Millis, Tick};
use crate::verdict::{DropReason, Verdict};

/// Ring of frames for the kernel, with the port that received them.
pub type KernelRing<P> = Arc<ArrayQueue<(usize, P)>>;

/// Hand-off ring: packets for the worker that owns their flow, with the port that received them.
pub type HandOffRing<P> = Arc<ArrayQueue<(u16, P)>>;

/// Bit of a handed-off packet's port: it is a fragment of a datagram that was complete at the other worker.
pub const RELAYED: u16 = 0x8000;

/// Bit of a handed-off packet's port: the kernel sends the packet out of that port.
pub const FROM_KERNEL: u16 = 0x4000;

/// Packets that can be held for neighbours' addresses.
const MAX_UNRESOLVED: usize = 1024;
/// Packets that can be held for one neighbour, so that one that does not answer leaves room for the others.
const MAX_UNRESOLVED_OF_ONE: usize = 64;
/// Packets that can queue behind full batches: fragments of every datagram that a burst completes, or of every packet that
/// it fragments.
const MAX_OVERFLOW: usize = 1024 + BURST;
/// How long a packet is held: the time of three ARP requests.
const RESOLVE_TIMEOUT: Millis = Millis(3000);

/// A packet held for its next hop's address.
pub struct Unresolved<P> {
    /// The packet, complete except for its frame header.
    pub packet: P,
    /// Its next hop.
    pub egress: Egress,
    since: Tick,
}

impl<P> Unresolved<P> {
    /// Returns whether it has been held too long.
    pub fn is_expired(&self, now: Tick) -> bool {
        now.since(self.since) > RESOLVE_TIMEOUT
    }
}

/// Packets that leave at the end of the burst, and those that are held.
pub struct TxBuffers<P> {
    /// One batch per port.
    pub ports: Box<[Batch<P>]>,
    /// Packets that found their port's batch full, with the port.
    overflow: VecDeque<(u16, P)>,
    /// Ring to the kernel.
    pub kernel: KernelRing<P>,
    /// Hand-off rings by worker number; our own holds what other workers hand to us.
    pub hand_off: Box<[HandOffRing<P>]>,
    /// Packets held for a neighbour's address.
    pub unresolved: VecDeque<Unresolved<P>>,
    /// Fragments held until their datagrams are complete.
    pub reassembler: Reassembler<P>,
    /// Buffer in which a complete datagram is decided about.
    pub reassembly_buffer: ReassemblyBuffer,
}

impl<P: Packet> TxBuffers<P> {
    /// Buffers for `ports` ports.
    pub fn new(ports: usize, kernel: KernelRing<P>, hand_off: Box<[HandOffRing<P>]>) -> TxBuffers<P> {
        let reassembler = Reassembler::new(Limits::default(), Seed::random());
        let ports = (0..ports).map(|_| Batch::new()).collect();
        TxBuffers {
            ports,
            overflow: VecDeque::with_capacity(MAX_OVERFLOW),
            kernel,
            hand_off,
            unresolved: VecDeque::with_capacity(MAX_UNRESOLVED),
            reassembler,
            reassembly_buffer: ReassemblyBuffer::allocate(),
        }
    }

    /// Queues a packet for transmission by `port`.
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

    /// Refills the batches, which have been transmitted, from the overflow queue. Returns false if it is empty.
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

    /// Passes a packet to the kernel.
    pub fn to_kernel(&mut self, port: u16, packet: P) -> Verdict {
        match self.kernel.push((usize::from(port), packet)) {
            Ok(()) => Verdict::ToKernel,
            Err(_) => Verdict::Dropped(DropReason::KernelRingFull),
        }
    }

    /// Hands a packet to the worker that owns its flow.
    pub fn hand_off(&mut self, owner: WorkerId, port: u16, packet: P) -> Verdict {
        match self.hand_off.get(usize::from(owner.0)).map(|ring| ring.push((port, packet))) {
            Some(Ok(())) => Verdict::HandedOff,
            _ => Verdict::Dropped(DropReason::HandOffFull),
        }
    }

    /// Holds a packet until its next hop's address is known. Returns false if there is no room.
    pub fn queue_unresolved(&mut self, packet: P, egress: Egress, now: Tick) -> bool {
        let of_one = self.unresolved.iter().filter(|held| held.egress.next == egress.next);
        if self.unresolved.len() >= MAX_UNRESOLVED || of_one.count() >= MAX_UNRESOLVED_OF_ONE {
            return false;
        }
        self.unresolved.push_back(Unresolved { packet, egress, since: now });
        true
    }
}

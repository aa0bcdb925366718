//! The board: a worker's counters in memory of its own that control reads.
//!
//! Each counter has one writer, so adding is a plain load and store; no lock, no locked instruction. A destination's
//! counters are one cache line, which is all that a packet of an existing connection counts in, its worker's totals
//! aside.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::sched::{self, Load};
use crate::service::DestinationId;
use crate::verdict::{DropReason, IcmpReason, SlowPathReason};

/// A number with one writer and any readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the owner may.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Replaces the value; only the owner may.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts of one destination.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestinationCounters {
    /// Connections made by scheduling.
    pub connections: Counter,
    /// Packets from clients.
    pub in_packets: Counter,
    /// Their bytes: IP total length.
    pub in_bytes: Counter,
    /// Packets to clients.
    pub out_packets: Counter,
    /// Their bytes.
    pub out_bytes: Counter,
    active: AtomicU32,
    inactive: AtomicU32,
}

impl DestinationCounters {
    /// Connections as they stand at this worker.
    #[inline]
    pub fn load(&self) -> Load {
        Load { active: self.active.load(Relaxed), inactive: self.inactive.load(Relaxed) }
    }

    /// A connection begins (inactive) or ends.
    pub fn count(&self, active: bool, by: i32) {
        let counter = if active { &self.active } else { &self.inactive };
        counter.store(counter.load(Relaxed).wrapping_add_signed(by), Relaxed);
    }

    /// Forgets all; for a destination id that is used anew.
    pub fn reset(&self) {
        for counter in
            [&self.connections, &self.in_packets, &self.in_bytes, &self.out_packets, &self.out_bytes]
        {
            counter.set(0);
        }
    }
}

/// What a worker counts of itself.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Packets taken from ports.
    pub received: Counter,
    /// Packets taken from other workers' hand-off.
    pub handoff_received: Counter,
    /// Packets sent out of ports, own answers included.
    pub sent: Counter,
    /// Packets given to the kernel.
    pub to_kernel: Counter,
    /// Packets of the kernel sent out of ports.
    pub from_kernel: Counter,
    /// Packets given to the worker that owns their flow.
    pub handoff_sent: Counter,
    /// Packets that wait for a neighbour's address.
    pub awaiting_neighbour: Counter,
    /// Fragments that wait for the others of their datagrams.
    pub reassembling: Counter,
    /// By reason.
    pub drops: [Counter; DropReason::ALL.len()],
    /// By reason.
    pub icmp_sent: [Counter; IcmpReason::ALL.len()],
    /// Packets that took the slow path, by reason.
    pub slow_path: [Counter; SlowPathReason::ALL.len()],
    /// Connections given up for new ones when the table was full.
    pub evicted: Counter,
    /// Pieces, past the first, of packets that had to be sent in pieces.
    pub fragments_sent: Counter,
    /// Connections that random early expiry ended.
    pub expired_early: Counter,
    /// Debug events that control was too slow for.
    pub events_lost: Counter,
    /// IPv4 connections now.
    pub connections_ipv4: Counter,
    /// IPv6 connections now.
    pub connections_ipv6: Counter,
    /// Bytes of the connection table.
    pub table_bytes: Counter,
    /// Cycles spent on bursts that held packets.
    pub busy_cycles: Counter,
    /// Bursts that held packets.
    pub bursts: Counter,
    /// Pauses between turns that found nothing.
    pub idle_pauses: Counter,
    /// Naps.
    pub sleeps: Counter,
    /// Microseconds of all naps together.
    pub sleep_us: Counter,
    /// Naps that a device's interrupt ended.
    pub interrupt_wakeups: Counter,
}

impl Default for WorkerCounters {
    fn default() -> WorkerCounters {
        WorkerCounters {
            received: Counter::default(),
            handoff_received: Counter::default(),
            sent: Counter::default(),
            to_kernel: Counter::default(),
            from_kernel: Counter::default(),
            handoff_sent: Counter::default(),
            awaiting_neighbour: Counter::default(),
            reassembling: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
            icmp_sent: std::array::from_fn(|_| Counter::default()),
            slow_path: std::array::from_fn(|_| Counter::default()),
            evicted: Counter::default(),
            expired_early: Counter::default(),
            fragments_sent: Counter::default(),
            events_lost: Counter::default(),
            connections_ipv4: Counter::default(),
            connections_ipv6: Counter::default(),
            table_bytes: Counter::default(),
            busy_cycles: Counter::default(),
            bursts: Counter::default(),
            idle_pauses: Counter::default(),
            sleeps: Counter::default(),
            sleep_us: Counter::default(),
            interrupt_wakeups: Counter::default(),
        }
    }
}

/// Everything one worker counts.
#[derive(Debug)]
pub struct WorkerStats {
    /// By [`DestinationId`].
    pub destinations: Box<[DestinationCounters]>,
    /// The worker's own.
    pub counters: WorkerCounters,
    /// What the other workers' destinations carry, written by control.
    pub others: Loads,
}

impl WorkerStats {
    /// A board for up to `destinations` destinations.
    pub fn new(destinations: usize) -> WorkerStats {
        WorkerStats {
            destinations: (0..destinations).map(|_| DestinationCounters::default()).collect(),
            counters: WorkerCounters::default(),
            others: Loads::new(destinations),
        }
    }
}

impl sched::Loads for WorkerStats {
    /// What a destination carries in all: here, and at the other workers when control last looked.
    fn load(&self, id: DestinationId) -> Load {
        let own = self.destinations.get(id.0 as usize).map_or(Load::default(), DestinationCounters::load);
        let others = self.others.get(id);
        Load { active: own.active + others.active, inactive: own.inactive + others.inactive }
    }

    fn is_overloaded(&self, _: DestinationId) -> bool {
        false
    }
}

/// Loads by destination; both numbers of one destination are read together.
#[derive(Debug)]
pub struct Loads(Box<[AtomicU64]>);

impl Loads {
    fn new(destinations: usize) -> Loads {
        Loads((0..destinations).map(|_| AtomicU64::new(0)).collect())
    }

    /// The load noted for a destination.
    pub fn get(&self, id: DestinationId) -> Load {
        let both = self.0.get(id.0 as usize).map_or(0, |load| load.load(Relaxed));
        Load { active: (both >> 32) as u32, inactive: both as u32 }
    }

    /// Notes the load of a destination; only control may.
    pub fn set(&self, id: DestinationId, load: Load) {
        if let Some(noted) = self.0.get(id.0 as usize) {
            noted.store(u64::from(load.active) << 32 | u64::from(load.inactive), Relaxed);
        }
    }
}

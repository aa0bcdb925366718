//! A worker's counters, in memory that only the worker writes and control reads.
//!
//! Each counter has a single writer, so adding is a plain load and store, without a lock or a locked instruction. The
//! counters of a destination are one cache line: a packet of an existing connection updates that line and the worker's
//! totals.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::sched::Load;
use crate::service::DestinationId;
use crate::verdict::{DropReason, IcmpReason, SlowPathReason};

/// A number with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the writer may call it.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Replaces the value. Only the writer may call it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters of one destination at one worker.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct DestinationCounters {
    /// Connections scheduled to it.
    pub connections: Counter,
    /// Packets from clients.
    pub in_packets: Counter,
    /// Bytes from clients, by IP total length.
    pub in_bytes: Counter,
    /// Packets to clients.
    pub out_packets: Counter,
    /// Bytes to clients, by IP total length.
    pub out_bytes: Counter,
    active: AtomicU32,
    inactive: AtomicU32,
}

impl DestinationCounters {
    /// Current connections at this worker.
    #[inline]
    pub fn load(&self) -> Load {
        Load { active: self.active.load(Relaxed), inactive: self.inactive.load(Relaxed) }
    }

    /// Adds `by` to the active or the inactive connections.
    pub fn count(&self, active: bool, by: i32) {
        let counter = if active { &self.active } else { &self.inactive };
        counter.store(counter.load(Relaxed).wrapping_add_signed(by), Relaxed);
    }

    /// Zeroes the totals, for a destination id that is reused. The current connections stay.
    pub fn reset(&self) {
        for counter in
            [&self.connections, &self.in_packets, &self.in_bytes, &self.out_packets, &self.out_bytes]
        {
            counter.set(0);
        }
    }
}

/// A worker's own counters. Received packets are counted once more under one verdict: sent, to the kernel, handed
/// off, or dropped by reason; or they are awaiting a neighbour or reassembly.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Packets received from ports.
    pub received: Counter,
    /// Packets received from other workers.
    pub handoff_received: Counter,
    /// Packets sent by ports, including ICMP errors.
    pub sent: Counter,
    /// Packets passed to the kernel.
    pub to_kernel: Counter,
    /// Packets received from the kernel, to be sent by ports.
    pub from_kernel: Counter,
    /// Packets handed off to the workers that own their flows.
    pub handoff_sent: Counter,
    /// Packets awaiting a neighbour's hardware address now.
    pub awaiting_neighbour: Counter,
    /// Fragments awaiting the rest of their datagrams now.
    pub reassembling: Counter,
    /// Dropped packets, by reason.
    pub drops: [Counter; DropReason::ALL.len()],
    /// ICMP errors sent, by reason.
    pub icmp_sent: [Counter; IcmpReason::ALL.len()],
    /// Packets that took the slow path, by reason.
    pub slow_path: [Counter; SlowPathReason::ALL.len()],
    /// Connections evicted for new ones when the table was full.
    pub evicted: Counter,
    /// Additional packets that result from fragmentation: fragments after the first one.
    pub fragments_sent: Counter,
    /// Connections ended by random early expiry.
    pub expired_early: Counter,
    /// Debug events lost because the ring to control was full.
    pub events_lost: Counter,
    /// IPv4 connections now.
    pub connections_ipv4: Counter,
    /// IPv6 connections now.
    pub connections_ipv6: Counter,
    /// Bytes of the connection table.
    pub table_bytes: Counter,
    /// Cycles of poll iterations that moved packets.
    pub busy_cycles: Counter,
    /// Poll iterations that moved packets.
    pub bursts: Counter,
    /// Pauses after iterations without packets.
    pub idle_pauses: Counter,
    /// Sleeps.
    pub sleeps: Counter,
    /// Total time slept, in microseconds.
    pub sleep_us: Counter,
    /// Sleeps that an interrupt ended.
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

/// All counters of one worker in one namespace.
#[derive(Debug)]
pub struct WorkerStats {
    /// By [`DestinationId`].
    pub destinations: Box<[DestinationCounters]>,
    /// The worker's own counters.
    pub counters: WorkerCounters,
    /// Load of destinations at the other workers, written by control.
    pub others: RemoteLoads,
}

impl WorkerStats {
    /// Counters for up to `destinations` destinations.
    pub fn new(destinations: usize) -> WorkerStats {
        WorkerStats {
            destinations: (0..destinations).map(|_| DestinationCounters::default()).collect(),
            counters: WorkerCounters::default(),
            others: RemoteLoads::new(destinations),
        }
    }

    /// The load of a destination: exact for this worker, and as of control's last sample for the others.
    pub fn load(&self, id: DestinationId) -> Load {
        let own = self.destinations.get(id.0 as usize).map_or(Load::default(), DestinationCounters::load);
        let others = self.others.get(id);
        Load { active: own.active + others.active, inactive: own.inactive + others.inactive }
    }
}

/// Load by destination. Both numbers of a destination are read at once.
#[derive(Debug)]
pub struct RemoteLoads(Box<[AtomicU64]>);

impl RemoteLoads {
    fn new(destinations: usize) -> RemoteLoads {
        RemoteLoads((0..destinations).map(|_| AtomicU64::new(0)).collect())
    }

    /// The load of a destination.
    pub fn get(&self, id: DestinationId) -> Load {
        let both = self.0.get(id.0 as usize).map_or(0, |load| load.load(Relaxed));
        Load { active: (both >> 32) as u32, inactive: both as u32 }
    }

    /// Sets the load of a destination. Only control may call it.
    pub fn set(&self, id: DestinationId, load: Load) {
        if let Some(stored) = self.0.get(id.0 as usize) {
            stored.store(u64::from(load.active) << 32 | u64::from(load.inactive), Relaxed);
        }
    }
}

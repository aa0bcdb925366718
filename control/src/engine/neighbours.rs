//! Neighbours that packets are sent to stay confirmed. The kernel does not see these packets, so it would leave a
//! neighbour's entry stale, keep the address of one that has moved, and delete entries in use when its table is full.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pollux_dataplane::config::{LinkId, NextHop};
use pollux_dataplane::service::DestinationId;

use super::NamespaceEngine;
use crate::api::view::Stats;

/// Interval at which the kernel is told which neighbours are in use. It probes a stale one 5 s after that
/// (`delay_first_probe_time`).
const INTERVAL: Duration = Duration::from_secs(3);
/// Neighbours of which the kernel is told at one tick.
const AT_ONCE: usize = 64;

/// Neighbours in use.
pub(super) struct UsedNeighbours {
    /// Packets to and from each destination so far, by id.
    packets: Vec<(u64, u64)>,
    /// Those of which the kernel is yet to be told.
    queue: VecDeque<(LinkId, IpAddr)>,
    collected: Instant,
}

impl UsedNeighbours {
    pub(super) fn new() -> UsedNeighbours {
        UsedNeighbours { packets: Vec::new(), queue: VecDeque::new(), collected: Instant::now() }
    }
}

impl NamespaceEngine {
    /// Tells the kernel which neighbours are in use; called at every tick.
    pub(super) fn confirm_neighbours(&mut self) {
        let now: Vec<_> = (0..AT_ONCE).map_while(|_| self.used_neighbours.queue.pop_front()).collect();
        if now.is_empty() && self.used_neighbours.collected.elapsed() > INTERVAL {
            self.used_neighbours.collected = Instant::now();
            self.mark_next_hops();
            self.used_neighbours.queue = self.compiler.snapshot().network.take_used().collect();
        }
        now.into_iter().for_each(|(link, address)| self.resolve(link.0, address));
    }

    /// Marks the next hops of destinations that got packets, and the routers if replies went to clients. Workers mark next
    /// hops on the slow path only; clients on the same link are confirmed by what they send.
    fn mark_next_hops(&mut self) {
        let snapshot = self.compiler.snapshot();
        let packets = &mut self.used_neighbours.packets;
        packets.resize(self.compiler.destination_end() as usize, (0, 0));
        let mut replies = false;
        for (id, counted) in (0..).map(DestinationId).zip(packets) {
            let Stats { in_packets, out_packets, .. } = self.workers.destination_stats(id);
            let (in_before, out_before) = std::mem::replace(counted, (in_packets, out_packets));
            replies |= out_packets != out_before;
            if in_packets == in_before {
                continue;
            }
            let destination = snapshot.services.destination(id);
            let next = destination.and_then(|destination| Some(snapshot.target(destination.target)?.next));
            if let Some(NextHop::Hop(hop)) = next
                && let Some(hop) = snapshot.network.hop_at(hop)
            {
                hop.used.mark();
            }
        }
        if replies {
            snapshot.network.router_hops().for_each(|hop| hop.used.mark());
        }
    }
}

//! Commands from control to one namespace of a worker. They are carried out in order; one that takes longer than an
//! iteration becomes a [`BackgroundTask`], and the next command waits for it.

use super::Port;
use super::background::BackgroundTask;
use super::namespace::{NamespaceWorker, pop};
use crate::config::{Command, ConfigEvents, NextHop, Snapshot};
use crate::forward;
use crate::io::QueuePair;
use crate::packet::Packet;
use crate::verdict::Verdict;

impl<P: Packet> NamespaceWorker<P> {
    /// Carries out commands until one has to go on in the background. Returns whether the worker is to stop.
    pub(super) fn process_commands<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) -> bool {
        let mut stops = false;
        while self.task.is_none()
            && let Some(command) = pop(&self.pipeline.rings.commands)
        {
            match command {
                Command::Install(snapshot, config_events) => {
                    let generation = snapshot.generation;
                    let old = self.adopt(snapshot, config_events, ports);
                    self.task = Some(BackgroundTask::Adopt(generation, old));
                }
                Command::List(page) => self.task = Some(BackgroundTask::List(page)),
                Command::Stop => stops = true,
            }
        }
        stops
    }

    /// Switches to another snapshot and returns the previous one.
    pub(super) fn adopt<Q: QueuePair<Packet = P>>(
        &mut self,
        snapshot: Box<Snapshot>,
        config_events: ConfigEvents,
        ports: &mut [Port<Q>],
    ) -> Box<Snapshot> {
        let old = self.pipeline.adopt(snapshot, config_events);
        self.send_resolved(ports);
        old
    }

    /// Sends the waiting packets whose next hop is resolved in the new snapshot. The others keep waiting.
    fn send_resolved<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
        let counters = &self.pipeline.stats.counters;
        for _ in 0..self.tx.unresolved.len() {
            let Some(mut waiting) = self.tx.unresolved.pop_front() else { break };
            let NextHop::Unresolved(link, address) = waiting.egress.next else { continue };
            let network = &self.pipeline.snapshot.network;
            let hop = network.neighbours.get(&(link, address)).and_then(|&id| network.hop_at(id));
            let Some(hop) = hop else {
                self.tx.unresolved.push_back(waiting);
                continue;
            };
            let verdict = match forward::frame(&mut waiting.packet, &waiting.egress, hop) {
                Ok(()) => self.tx.send(hop.port, waiting.packet),
                Err(why) => Verdict::Dropped(why),
            };
            if let Verdict::Dropped(why) = verdict {
                counters.drops[why as usize].add(1);
            }
        }
        counters.awaiting_neighbour.set(self.tx.unresolved.len() as u64);
        self.transmit(ports);
    }
}

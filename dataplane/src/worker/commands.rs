//! What control asks a namespace's part of a worker for: carried out one after the other, beside packets, a part in each
//! turn.

use super::Port;
use super::namespace::{NamespaceWorker, next};
use crate::config::{Command, ConfigEvents, NextHop, Notification, Page, Snapshot};
use crate::forward;
use crate::io::QueuePair;
use crate::packet::Packet;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::work_budget::WorkBudget;

/// What control asked for and takes more than a turn. Commands are carried out one after the other.
pub(super) enum BackgroundTask {
    /// News of this generation are heard; the snapshot before is kept to go back with them.
    Adopt(u64, Box<Snapshot>),
    /// A page of connections is filled.
    List(Page),
}

impl<P: Packet> NamespaceWorker<P> {
    /// Does what control asks; true when it asks to stop.
    pub(super) fn process_commands<Q: QueuePair<Packet = P>>(
        &mut self,
        now: Tick,
        ports: &mut [Port<Q>],
    ) -> bool {
        let mut stops = false;
        while self.task.is_none()
            && let Some(command) = next(&self.pipeline.rings.commands)
        {
            match command {
                Command::Install(snapshot, config_events) => {
                    let generation = snapshot.generation;
                    self.task =
                        Some(BackgroundTask::Adopt(generation, self.adopt(snapshot, config_events, ports)));
                }
                Command::List(page) => self.task = Some(BackgroundTask::List(page)),
                Command::Stop => stops = true,
            }
        }
        self.pipeline.publish();
        if self.out.reassembler.held() > 0 {
            self.expire_fragments(now);
        }
        if !self.out.unresolved.is_empty() {
            self.expire_unresolved(now);
        }
        stops
    }

    /// What no packet asked for, in a turn that moved so many.
    pub(super) fn run_background(&mut self, now: Tick, moved: usize) {
        self.pipeline.expire(now, moved > 0);
        let mut budget = WorkBudget::after(moved);
        self.pipeline.flush(&mut budget);
        if let Some(task) = self.task.take() {
            self.continue_task(task, now, &mut budget);
        }
    }

    /// Goes on with a chore; when it is done, control hears of it.
    #[cold]
    fn continue_task(&mut self, task: BackgroundTask, now: Tick, budget: &mut WorkBudget) {
        let note = match task {
            BackgroundTask::Adopt(generation, old) => match self.pipeline.apply_events(budget) {
                Some(config_events) => Notification::Adopted(generation, old, config_events),
                None => return self.task = Some(BackgroundTask::Adopt(generation, old)),
            },
            BackgroundTask::List(mut page) => {
                if !self.pipeline.list(&mut page, now, budget) {
                    return self.task = Some(BackgroundTask::List(page));
                }
                Notification::Listed(page)
            }
        };
        // Control keeps the ring deep enough for every answer it waits for.
        let _ = self.pipeline.rings.notifications.push(note);
    }

    /// Whether something that control asked for is not done yet.
    pub fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    /// Whether work is left that a turn does only a part of.
    pub(super) fn is_behind(&self, now: Tick) -> bool {
        self.is_busy() || self.pipeline.is_behind(now)
    }

    /// Acts on another snapshot from now on; gives back the one before.
    pub(super) fn adopt<Q: QueuePair<Packet = P>>(
        &mut self,
        snapshot: Box<Snapshot>,
        config_events: ConfigEvents,
        ports: &mut [Port<Q>],
    ) -> Box<Snapshot> {
        let old = self.pipeline.adopt(snapshot, config_events);
        self.retry(ports);
        old
    }

    /// Sends the waiting packets whose next hop's address has become known.
    fn retry<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
        let counters = &self.pipeline.stats.counters;
        for _ in 0..self.out.unresolved.len() {
            let mut waiting = self.out.unresolved.remove(0);
            let NextHop::Unresolved(link, address) = waiting.egress.next else { continue };
            let network = &self.pipeline.snapshot.network;
            let hop = network.neighbours.get(&(link, address)).and_then(|&id| network.hop_at(id));
            match hop {
                None => {
                    // There is room: the packet has just left its place. It keeps the time it came.
                    let _ = self.out.unresolved.try_push(waiting);
                }
                Some(hop) => {
                    let framed = forward::frame(&mut waiting.packet, &waiting.egress, hop);
                    let verdict = match framed {
                        Ok(()) => self.out.send(hop.port, waiting.packet),
                        Err(why) => Verdict::Dropped(why),
                    };
                    if let Verdict::Dropped(why) = verdict {
                        counters.drops[why as usize].add(1);
                    }
                }
            }
        }
        counters.awaiting_neighbour.set(self.out.unresolved.len() as u64);
        self.flush(ports);
    }

    fn expire_fragments(&mut self, now: Tick) {
        let counters = &self.pipeline.stats.counters;
        self.out.reassembler.expire(now, |_| counters.drops[DropReason::FragmentTimeout as usize].add(1));
        counters.reassembling.set(self.out.reassembler.held() as u64);
    }

    fn expire_unresolved(&mut self, now: Tick) {
        let before = self.out.unresolved.len();
        self.out.unresolved.retain(|waiting| !waiting.is_over(now));
        let gone = before - self.out.unresolved.len();
        let counters = &self.pipeline.stats.counters;
        counters.drops[DropReason::NeighbourUnresolved as usize].add(gone as u64);
        counters.awaiting_neighbour.set(self.out.unresolved.len() as u64);
    }
}

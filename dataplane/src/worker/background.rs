//! Work of a poll iteration that no packet causes: publishing counters, expiry, and bounded slices of the commands that
//! take longer than one iteration.

use super::namespace::NamespaceWorker;
use crate::config::{Notification, Page, Snapshot};
use crate::packet::Packet;
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::work_budget::WorkBudget;

/// A command that is being carried out, a slice in each iteration.
pub(super) enum BackgroundTask {
    /// Applying the events of a new snapshot, of this generation. The old snapshot is returned with them at the end.
    Adopt(u64, Box<Snapshot>),
    /// Filling a page of connections.
    List(Page),
}

impl<P: Packet> NamespaceWorker<P> {
    /// Copies the sizes of the tables to the counters that control reads.
    #[inline]
    pub(super) fn publish_counters(&self) {
        self.pipeline.publish();
    }

    /// Drops fragments and packets awaiting a neighbour that have waited too long.
    #[inline]
    pub(super) fn expire_waiting(&mut self, now: Tick) {
        if self.tx.reassembler.held() > 0 {
            self.expire_fragments(now);
        }
        if !self.tx.unresolved.is_empty() {
            self.expire_unresolved(now);
        }
    }

    fn expire_fragments(&mut self, now: Tick) {
        let counters = &self.pipeline.stats.counters;
        self.tx.reassembler.expire(now, |_| counters.drops[DropReason::FragmentTimeout as usize].add(1));
        counters.reassembling.set(self.tx.reassembler.held() as u64);
    }

    fn expire_unresolved(&mut self, now: Tick) {
        let before = self.tx.unresolved.len();
        self.tx.unresolved.retain(|waiting| !waiting.is_expired(now));
        let expired = before - self.tx.unresolved.len();
        let counters = &self.pipeline.stats.counters;
        counters.drops[DropReason::NeighbourUnresolved as usize].add(expired as u64);
        counters.awaiting_neighbour.set(self.tx.unresolved.len() as u64);
    }

    /// Ends the connections whose timers are due; fewer of them in an iteration that moved packets.
    pub(super) fn expire_connections(&mut self, now: Tick, moved: usize) {
        self.pipeline.expire(now, moved > 0);
    }

    /// Does a bounded slice of background work. The more packets the iteration moved, the smaller it is.
    pub(super) fn run_background(&mut self, now: Tick, moved: usize) {
        let mut budget = WorkBudget::after(moved);
        self.pipeline.flush(&mut budget);
        if let Some(task) = self.task.take() {
            self.continue_task(task, now, &mut budget);
        }
    }

    /// Does a slice of the task, and notifies control when it is complete.
    #[cold]
    fn continue_task(&mut self, task: BackgroundTask, now: Tick, budget: &mut WorkBudget) {
        let notification = match task {
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
        // Never full: control keeps the ring deep enough for every reply it waits for.
        let _ = self.pipeline.rings.notifications.push(notification);
    }

    /// Whether a command is still being carried out.
    pub fn is_busy(&self) -> bool {
        self.task.is_some()
    }

    /// Whether work is left for the next iteration, so that the worker should not sleep.
    pub(super) fn is_behind(&self, now: Tick) -> bool {
        self.is_busy() || self.pipeline.is_behind(now)
    }
}

//! Listing of connections, a page at a time, in bounded slices.

use crate::config::Page;
use crate::config::ring::Connection;
use crate::conn::{ConnId, Flags};
use crate::pipeline::Pipeline;
use crate::time::{Millis, Tick};
use crate::work_budget::WorkBudget;

impl Pipeline {
    /// Continues to fill a page within the budget. Returns true when it is done. A connection keeps its place in the table for
    /// life, so a walk over all places finds it once.
    pub fn list(&self, page: &mut Page, now: Tick, budget: &mut WorkBudget) -> bool {
        while let Some((from, reach)) = page.next_scan() {
            if budget.is_exhausted() {
                return false;
            }
            let (found, next) = self.conns.next_live(from, reach.min(budget.remaining()));
            let looked = next.unwrap_or_else(|| self.conns.capacity()).saturating_sub(from);
            page.advance(next, looked);
            if let Some(id) = found {
                page.connections.push(self.listed(id, now));
                budget.spend_units(1);
            }
            budget.spend(looked - u32::from(found.is_some()));
        }
        true
    }

    fn listed(&self, id: ConnId, now: Tick) -> Connection {
        let (entry, endpoints) = (self.conns.entry(id), self.shown_endpoints(id));
        Connection {
            endpoints,
            protocol: entry.protocol,
            state: entry.state,
            method: entry.flags.method(),
            expires: Millis(
                u32::try_from(self.conns.deadline(id, now).0.saturating_sub(now.0)).unwrap_or(u32::MAX),
            ),
            in_packets: entry.in_packets,
            inactive: entry.flags.has(Flags::INACTIVE),
            no_output: entry.flags.has(Flags::NO_OUTPUT),
        }
    }
}

//! When connections expire.

use super::Table;
use crate::conn::entry::{ConnId, Expiry};
use crate::time::{Millis, Tick};

impl Table {
    /// Records that a packet came, and the time to live from now on.
    #[inline(always)]
    pub fn touch(&mut self, id: ConnId, timeout: Millis, now: Tick) {
        let expiry = Expiry::new(timeout, now);
        if self.records.entries[id.0 as usize].touch(&expiry) {
            self.rearm(id, expiry.end(now));
        }
    }

    /// Moves a connection's timer to an earlier deadline, after [`Entry::touch`](crate::conn::Entry::touch) returned
    /// true.
    #[cold]
    pub fn rearm(&mut self, id: ConnId, deadline: Tick) {
        self.wheel.disarm(&mut self.records.entries, id.0);
        self.wheel.arm(&mut self.records.entries, id.0, deadline);
    }

    /// When a connection expires if no further packet comes.
    pub fn deadline(&self, id: ConnId, now: Tick) -> Tick {
        let entry = self.entry(id);
        let age = (now.0 as u32).wrapping_sub(entry.seen);
        Tick((now.0 + u64::from(entry.timeout)).saturating_sub(u64::from(age)))
    }

    /// The next expired connection, which the caller must [remove](Table::remove).
    ///
    /// Examines at most `budget` timers and subtracts them from it, so that no burst waits for a mass expiry.
    pub fn pop_expired(&mut self, now: Tick, budget: &mut u32) -> Option<ConnId> {
        while *budget > 0 {
            let id = ConnId(self.wheel.pop(&mut self.records.entries, now)?);
            *budget -= 1;
            let deadline = self.deadline(id, now);
            if deadline <= now {
                return Some(id);
            }
            self.wheel.arm(&mut self.records.entries, id.0, deadline);
        }
        None
    }

    /// True if [`Table::pop_expired`] may find more at `now` with a further budget.
    pub fn is_behind(&self, now: Tick) -> bool {
        self.wheel.is_behind(now)
    }
}

//! Connections that are to expire now: with the next tick, as a kernel's timer would have it, unless a packet comes
//! before and revives them.

use arrayvec::ArrayVec;

use crate::conn::{ConnId, Flags};
use crate::pipeline::Pipeline;
use crate::time::{Millis, Tick};

/// How many may end at once; more end on the spot.
const MOST: usize = 256;

/// A tick of a kernel's clock.
const TICK: Millis = Millis(5);

/// The connections, and when the last of them was told.
#[derive(Debug, Default)]
pub struct DeferredExpiry {
    ids: ArrayVec<ConnId, MOST>,
    since: Tick,
}

impl Pipeline {
    /// Lets a connection expire with the next tick. It can still be found, and counts, until then.
    pub(crate) fn expire_soon(&mut self, id: ConnId, now: Tick) {
        self.conns.entry_mut(id).timeout = 0;
        self.maintenance.deferred_expiry.since = now;
        if self.maintenance.deferred_expiry.ids.try_push(id).is_err() {
            self.remove_connection(id, true);
        }
    }

    /// Takes leave of those that no packet has revived, once the tick is over.
    #[inline]
    pub(crate) fn expire_deferred(&mut self, now: Tick) {
        if !self.maintenance.deferred_expiry.ids.is_empty()
            && now.since(self.maintenance.deferred_expiry.since) >= TICK
        {
            self.expire_deferred_now();
        }
    }

    /// Takes leave of them at once: for replay, where a command takes longer than a tick.
    pub fn expire_deferred_now(&mut self) {
        for id in std::mem::take(&mut self.maintenance.deferred_expiry.ids) {
            let entry = self.conns.entry(id);
            if entry.flags.has(Flags::LIVE) && entry.timeout == 0 {
                self.remove_connection(id, true);
            }
        }
    }
}

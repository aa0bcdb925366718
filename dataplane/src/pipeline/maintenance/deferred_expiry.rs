//! Connections whose timer was set to expire at once. Like a kernel timer it fires at the next tick, unless a packet revives
//! the connection before that.

use arrayvec::ArrayVec;

use crate::conn::{ConnId, Flags};
use crate::pipeline::Pipeline;
use crate::time::{Millis, Tick};

/// Connections that can wait for the tick; more expire at once.
const MAX_DEFERRED: usize = 256;

/// Tick of the kernel's clock that is modelled.
const TICK: Millis = Millis(5);

/// Connections that expire at the next tick, and when the last one was added.
#[derive(Debug, Default)]
pub struct DeferredExpiry {
    ids: ArrayVec<ConnId, MAX_DEFERRED>,
    since: Tick,
}

impl Pipeline {
    /// Expires a connection at the next tick. Until then it can be found, and it counts.
    pub(crate) fn expire_soon(&mut self, id: ConnId, now: Tick) {
        self.conns.entry_mut(id).timeout = 0;
        self.maintenance.deferred_expiry.since = now;
        if self.maintenance.deferred_expiry.ids.try_push(id).is_err() {
            self.remove_connection(id, true);
        }
    }

    /// Removes those that no packet has revived, once the tick has passed.
    #[inline]
    pub(crate) fn expire_deferred(&mut self, now: Tick) {
        if !self.maintenance.deferred_expiry.ids.is_empty()
            && now.since(self.maintenance.deferred_expiry.since) >= TICK
        {
            self.expire_deferred_now();
        }
    }

    /// Removes them at once: for replay, where a command takes longer than a tick.
    pub fn expire_deferred_now(&mut self) {
        for id in std::mem::take(&mut self.maintenance.deferred_expiry.ids) {
            let entry = self.conns.entry(id);
            if entry.flags.has(Flags::LIVE) && entry.timeout == 0 {
                self.remove_connection(id, true);
            }
        }
    }
}

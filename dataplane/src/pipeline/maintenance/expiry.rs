//! Expiry of connections, templates, path MTUs and scheduler caches.

use arrayvec::ArrayVec;

use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Flags};
use crate::pipeline::Pipeline;
use crate::proto;
use crate::service::DestinationId;
use crate::time::{Millis, Tick};
use crate::trace::event;

/// Timers visited in a poll iteration that moved no packets.
const EXPIRE_BUDGET: u32 = 64;
/// Timers visited in a poll iteration that moved packets, in addition to two for each connection that it opened. So a mass
/// expiry makes progress under traffic without delaying packets.
const EXPIRE_BUDGET_BUSY: u32 = 8;
/// Connections removed together, so that the memory of one is prefetched while another is removed.
const REMOVAL_BATCH: usize = 16;

/// Interval of maintenance of schedulers, templates and path MTUs.
const MAINTENANCE_INTERVAL: Millis = Millis(100);

impl Pipeline {
    /// Removes expired connections; only a few if `hurried`, because packets are arriving.
    pub fn expire(&mut self, now: Tick, hurried: bool) {
        self.expire_deferred(now);
        let opened = std::mem::take(&mut self.maintenance.opened);
        let mut budget = if hurried { EXPIRE_BUDGET_BUSY + 2 * opened } else { EXPIRE_BUDGET };
        let mut expired = ArrayVec::<ConnId, REMOVAL_BATCH>::new();
        while !self.pop_expired(&mut expired, now, &mut budget) {
            for id in expired.drain(..) {
                event!(self, Expired, |pipeline| pipeline.connection_record(id));
                self.remove_connection(id, false);
            }
        }
        if now.since(self.maintenance.maintained) >= MAINTENANCE_INTERVAL {
            self.maintenance.maintained = now;
            self.maintain(now);
        }
        self.expire_early(now);
    }

    /// Collects expired connections and prefetches what their removal reads. Returns true if there are none.
    #[inline]
    fn pop_expired(
        &mut self,
        expired: &mut ArrayVec<ConnId, REMOVAL_BATCH>,
        now: Tick,
        budget: &mut u32,
    ) -> bool {
        while expired.remaining_capacity() > 0
            && let Some(id) = self.conns.pop_expired(now, budget)
        {
            self.conns.prefetch_removal(id);
            expired.push(id);
        }
        expired.is_empty()
    }

    /// Whether [`Pipeline::expire`] or [`Pipeline::flush`] has more to do than one poll iteration allows.
    pub fn is_behind(&self, now: Tick) -> bool {
        let sweeps = self.snapshot.settings.drop_entry && self.maintenance.defence.is_sweeping();
        sweeps || self.maintenance.flush.is_some() || self.conns.is_behind(now)
    }

    /// Maintenance a few times a second.
    #[cold]
    fn maintain(&mut self, now: Tick) {
        self.expire_templates(now);
        self.pmtu.expire(now);
        for state in &mut self.scheduler_states {
            state.maintain(now, &self.snapshot.settings);
        }
    }

    /// Removes a connection and takes it off its destination's counts. If it is `forced`, its template goes too unless another
    /// connection holds it.
    pub(crate) fn remove_connection(&mut self, id: ConnId, forced: bool) {
        let destination_id = DestinationId(self.conns.entry(id).destination);
        self.apply_events_of_destination(destination_id);
        let entry = self.conns.entry(id);
        if let Some(counters) = self.stats.destinations.get(destination_id.0 as usize) {
            counters.count(!entry.flags.has(Flags::INACTIVE), -1);
        }
        if let Some(destination) = self.snapshot.services.destination(destination_id) {
            self.shared.quotas.unbind(destination_id, destination);
        }
        self.maintenance.half_open -= u32::from(proto::is_half_open(entry.protocol, entry.state));
        if let Some(template) = self.conns.template(id) {
            self.release_template(template, forced);
        }
        event!(self, Unbound, |pipeline| pipeline.connection_record(id));
        self.conns.remove(id);
    }

    /// The endpoints of a connection, with the destination's address in its own family.
    pub(crate) fn shown_endpoints(&self, id: ConnId) -> Endpoints {
        let mut endpoints = self.conns.endpoints(id);
        let destination = DestinationId(self.conns.entry(id).destination);
        // The table lacks it only where the families differ.
        if endpoints.destination.address.is_unspecified()
            && let Some(configured) = self.snapshot.services.destination(destination)
        {
            endpoints.destination.address = configured.endpoint.address;
        }
        endpoints
    }

    /// Publishes how many connections the table holds.
    pub fn publish(&self) {
        let (counters, used) = (&self.stats.counters, self.conns.used());
        counters.connections_ipv4.set(used.ipv4.into());
        counters.connections_ipv6.set(used.ipv6.into());
    }
}

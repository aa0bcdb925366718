//! What a worker does between bursts: connections expire, configurations are adopted, pages of connections are filled.

use arrayvec::ArrayVec;

use super::Line;
use crate::config::ring::Connection;
use crate::config::{Event, EventKind, Page, Snapshot};
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Flags};
use crate::proto;
use crate::sched::Load;
use crate::service::DestinationId;
use crate::time::{Millis, Tick};
use crate::trace::{Record, event};

/// Timers looked at in a turn that has time for them.
const EXPIRE_BUDGET: u32 = 64;
/// Timers looked at in a turn that packets came in, beside one for each connection that it opened: a mass expiry goes on
/// under traffic, and is not felt.
const EXPIRE_AT_LEAST: u32 = 8;
/// Connections that end together, so that what is looked up for one comes while another is seen to.
const TOGETHER: usize = 16;

/// How often schedulers, templates and paths are seen to.
const TEND: Millis = Millis(100);

impl Line {
    /// Forgets connections whose time is over; only a few when it is `hurried`, because packets come.
    pub fn expire(&mut self, now: Tick, hurried: bool) {
        self.take_leave(now);
        let opened = std::mem::take(&mut self.opened);
        let mut budget = if hurried { EXPIRE_AT_LEAST + 2 * opened } else { EXPIRE_BUDGET };
        let mut over = ArrayVec::<ConnId, TOGETHER>::new();
        while !self.pop_expired(&mut over, now, &mut budget) {
            for id in over.drain(..) {
                event!(self, Expired, |line| line.told(id));
                self.forget(id, false);
            }
        }
        if now.since(self.tended) >= TEND {
            self.tended = now;
            self.tend(now);
        }
        self.expire_early(now);
        if let Some(from) = self.flush_from {
            self.flush(from);
        }
    }

    /// Takes some whose time is over, and asks for what is needed to forget them; true when there are none.
    #[inline]
    fn pop_expired(&mut self, over: &mut ArrayVec<ConnId, TOGETHER>, now: Tick, budget: &mut u32) -> bool {
        while over.remaining_capacity() > 0
            && let Some(id) = self.conns.pop_expired(now, budget)
        {
            self.conns.prefetch_removal(id);
            over.push(id);
        }
        over.is_empty()
    }

    /// Whether [`Line::expire`] has more to do than one turn allows.
    pub fn is_behind(&self, now: Tick) -> bool {
        let sweeps = self.snapshot.settings.drop_entry && self.defence.is_sweeping();
        sweeps || self.flush_from.is_some() || self.conns.is_behind(now)
    }

    /// `expire_nodest_conn`: connections of removed destinations end, and in any case those of protocols that are off, a part of the table at a time.
    #[cold]
    fn flush(&mut self, from: u32) {
        const AT_ONCE: u32 = 4096;
        let end = from.saturating_add(AT_ONCE).min(self.conns.capacity());
        let settings_expire = self.snapshot.settings.expire_nodest_conn;
        for id in (from..end).map(ConnId) {
            let entry = self.conns.entry(id);
            let of = self.snapshot.services.destination(DestinationId(entry.destination));
            let gone = settings_expire && of.is_some_and(|d| !d.available);
            let off = self.snapshot.settings.is_off(entry.protocol);
            if entry.flags.has(Flags::LIVE) && (gone || off) {
                self.forget(id, true);
            }
        }
        self.flush_from = (end < self.conns.capacity()).then_some(end);
        if self.flush_from.is_none() && settings_expire {
            let services = &self.snapshot.services;
            let stays = |id| services.destination(id).is_some_and(|d| d.available);
            let gone = |id| self.shared.quotas.count_template(id, false);
            self.shared.templates.retain(stays, gone);
        }
    }

    /// What is seen to a few times a second.
    #[cold]
    fn tend(&mut self, now: Tick) {
        self.expire_templates(now);
        self.paths.expire(now);
        for memory in &mut self.memories {
            memory.tend(now, &self.snapshot.settings);
        }
    }

    /// Ends a connection and takes it off its destination's counts. One that is `forced` to end takes its template
    /// along, if nothing else speaks for that.
    pub(super) fn forget(&mut self, id: ConnId, forced: bool) {
        let entry = self.conns.entry(id);
        let of = DestinationId(entry.destination);
        if let Some(counters) = self.board.destinations.get(of.0 as usize) {
            counters.count(!entry.flags.has(Flags::INACTIVE), -1);
        }
        if let Some(destination) = self.snapshot.services.destination(of) {
            self.shared.quotas.unbind(of, destination);
        }
        self.half_open -= u32::from(proto::is_half_open(entry.protocol, entry.state));
        if let Some(template) = self.conns.template(id) {
            self.release_template(template, forced);
        }
        event!(self, Unbound, |line| line.told(id));
        self.conns.remove(id);
    }

    /// Acts on `snapshot` from now on; gives back the one before.
    pub fn adopt(&mut self, snapshot: Box<Snapshot>, events: &[Event]) -> Box<Snapshot> {
        for event in events {
            self.weigh(&snapshot, event);
            let service = snapshot.services.service(event.service);
            if let (Some(service), Some(memory)) = (service, self.memories.get_mut(event.service.0 as usize))
            {
                memory.hear(service.scheduler, event);
            }
        }
        if snapshot.network.generation != self.snapshot.network.generation {
            self.paths.clear();
        }
        let removed = events.iter().any(|event| matches!(event.kind, EventKind::Removed(..)));
        if removed && snapshot.settings.expire_nodest_conn {
            self.flush_from = Some(0);
        }
        if snapshot.settings.protocols_off != self.snapshot.settings.protocols_off {
            self.flush_from = Some(0);
        }
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        event!(self, Adopted, |line| Record::new([line.snapshot.generation as u32, 0, 0, 0]));
        old
    }

    /// Thresholds that come or go with an edit change whose connections are counted.
    fn weigh(&self, new: &Snapshot, event: &Event) {
        let (id, clears) = match event.kind {
            EventKind::Added(id) => (id, true),
            EventKind::Edited { destination, clears } => (destination, clears),
            EventKind::Fresh | EventKind::Removed(..) => return,
        };
        if event.again {
            // Counted already; only what the edit lifts is new.
            return self.shared.quotas.clear(id, clears);
        }
        let Some(old) = self.snapshot.services.destination(id) else { return };
        let load = self.board.destinations.get(id.0 as usize).map_or(Load::default(), |c| c.load());
        if let Some(new) = new.services.destination(id) {
            let clears = clears
                && (!matches!(event.kind, EventKind::Added(_)) || new.upper == 0 || new.upper > old.upper);
            self.shared.quotas.edited(id, old, new, (load.active + load.inactive).cast_signed(), clears);
        }
    }

    /// The connections from `page.from` on, as many as the page has room for.
    pub fn list(&self, page: &mut Page, now: Tick) {
        const REACH: u32 = 4096;
        page.connections.clear();
        let mut at = Some(page.from);
        let mut reach = REACH;
        while let Some(from) = at {
            if page.connections.len() == page.connections.capacity() || reach == 0 {
                break;
            }
            let (id, next) = self.conns.next_live(from, reach);
            reach = reach.saturating_sub(next.unwrap_or(u32::MAX).saturating_sub(from));
            if let Some(id) = id {
                page.connections.push(self.listed(id, now));
            }
            at = next;
        }
        page.next = at;
    }

    /// The ends of a connection, its destination's of whichever family.
    pub(super) fn shown_endpoints(&self, id: ConnId) -> Endpoints {
        let mut endpoints = self.conns.endpoints(id);
        let destination = DestinationId(self.conns.entry(id).destination);
        if let Some(configured) = self.snapshot.services.destination(destination) {
            endpoints.destination.address = configured.endpoint.address;
        }
        endpoints
    }

    fn listed(&self, id: ConnId, now: Tick) -> Connection {
        let (entry, endpoints) = (self.conns.entry(id), self.shown_endpoints(id));
        let destination = DestinationId(entry.destination);
        Connection {
            endpoints,
            protocol: entry.protocol,
            state: entry.state,
            destination: (!entry.flags.has(Flags::BYPASS)).then_some(destination),
            method: entry.flags.method(),
            expires: Millis(
                u32::try_from(self.conns.deadline(id, now).0.saturating_sub(now.0)).unwrap_or(u32::MAX),
            ),
            in_packets: entry.in_packets,
            inactive: entry.flags.has(Flags::INACTIVE),
            no_output: entry.flags.has(Flags::NO_OUTPUT),
        }
    }

    /// Shows on the board what the table holds.
    pub fn publish(&self) {
        let (gauges, used) = (&self.board.gauges, self.conns.used());
        gauges.connections_ipv4.set(used.ipv4.into());
        gauges.connections_ipv6.set(used.ipv6.into());
    }
}

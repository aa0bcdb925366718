//! The thread of the mirror: receives changes, updates the tables, and publishes the network state.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::rule::RuleMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{MirrorCounters, NetlinkError, Twin};
use crate::kernel::count;
use crate::kernel::rtnetlink::{Monitor, RequestSocket};
use crate::kernel::tables::{Effect, Tables};
use crate::model::network::NetworkState;

/// Delay after the first change, so that the messages of one `ip` command are published together.
const COALESCE_DELAY: Duration = Duration::from_millis(1);
/// Minimum interval between two published states, each of which is compiled into a snapshot.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// Delay after a failed dump.
const RETRY: Duration = Duration::from_millis(100);

/// Publishes network states; a newer one replaces one that was not received yet.
pub(super) struct Publisher {
    pub(super) network_state: Sender<NetworkState>,
    pub(super) stale: Receiver<NetworkState>,
    pub(super) last: Option<NetworkState>,
}

impl Publisher {
    /// Publishes a state; returns false if it equals the last one.
    fn publish(&mut self, network_state: NetworkState) -> bool {
        if self.last.as_ref() == Some(&network_state) {
            return false;
        }
        let _ = self.stale.try_recv();
        // The channel is open, because `stale` is a receiver, and empty, because this is the only sender.
        let _ = self.network_state.try_send(network_state.clone());
        self.last = Some(network_state);
        true
    }
}

/// Work to do before the state can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    /// Publish the tables.
    Publish,
    /// Read the routes again.
    Routes,
    /// Read all tables again.
    Everything,
}

pub(super) struct MirrorThread {
    twins: Vec<Twin>,
    requests: RequestSocket,
    monitor: Monitor,
    tables: Tables,
    publisher: Publisher,
    counters: Arc<MirrorCounters>,
    due: Due,
    /// Time at which `due` is done.
    at: Instant,
    last_published: Instant,
}

impl MirrorThread {
    /// Subscribes, then reads all tables and publishes the first state. In this order no change is missed.
    pub(super) fn new(
        twins: Vec<Twin>,
        publisher: Publisher,
        counters: Arc<MirrorCounters>,
    ) -> Result<MirrorThread, NetlinkError> {
        let now = Instant::now();
        let (requests, monitor) = (RequestSocket::open()?, Monitor::open()?);
        let tables = Tables::default();
        let due = Due::Everything;
        let mut new = MirrorThread {
            twins,
            requests,
            monitor,
            tables,
            publisher,
            counters,
            due,
            at: now,
            last_published: now,
        };
        new.update(now)?;
        Ok(new)
    }

    pub(super) fn run(&mut self, stop: &AtomicBool, wake: &OwnedFd) {
        while !stop.load(Relaxed) {
            self.wait(wake);
            while self.listen() && Instant::now() < self.at {}
            let now = Instant::now();
            if self.due != Due::Nothing && now >= self.at && self.update(now).is_err() {
                count(&self.counters.failed_dumps);
                self.due = Due::Everything;
                self.at = now + RETRY;
            }
        }
    }

    /// Sleeps until a message arrives, work is due, or the mirror is dropped.
    fn wait(&self, wake: &OwnedFd) {
        let mut fds = [PollFd::new(&self.monitor.socket, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        let limit = (self.due != Due::Nothing)
            .then(|| self.at.saturating_duration_since(Instant::now()))
            .and_then(|wait| Timespec::try_from(wait).ok());
        // An interrupted sleep ends early, which is harmless.
        let _ = poll(&mut fds, limit.as_ref());
    }

    /// Receives messages; returns false if there are none.
    fn listen(&mut self) -> bool {
        let (tables, counters) = (&mut self.tables, &self.counters);
        let mut due = Due::Nothing;
        let any = self.monitor.receive(|message| {
            let effect = message.map(|m| tables.apply(&m));
            count(if effect.is_some() { &counters.received } else { &counters.lost });
            due = due.max(match effect {
                Some(Effect::None) => Due::Nothing,
                Some(Effect::Changed) => Due::Publish,
                Some(Effect::StaleRoutes) => Due::Routes,
                None => Due::Everything,
            });
        });
        if self.due == Due::Nothing && due != Due::Nothing {
            self.at = (Instant::now() + COALESCE_DELAY).max(self.last_published + MIN_INTERVAL);
        }
        self.due = self.due.max(due);
        any
    }

    /// Brings the tables up to date and publishes the state.
    fn update(&mut self, now: Instant) -> Result<(), NetlinkError> {
        match self.due {
            Due::Nothing => return Ok(()),
            Due::Publish => {}
            Due::Routes => self.read_routes()?,
            Due::Everything => self.read_everything()?,
        }
        self.due = Due::Nothing;
        self.last_published = now;
        if self.publisher.publish(self.tables.network_state(&self.twins)) {
            count(&self.counters.published);
        }
        Ok(())
    }

    fn read_everything(&mut self) -> Result<(), NetlinkError> {
        // Messages received from here on may already be in the dump; applying them again is harmless.
        self.monitor.discard();
        count(&self.counters.full_dumps);
        self.tables = Tables::default();
        self.read("read the links", RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        self.read("read the addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        self.read("read the routes", RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut rules = RuleMessage::default();
            rules.header.family = family;
            // The kernel may be built without policy routing.
            match self.read("read the rules", RouteNetlinkMessage::GetRule(rules)) {
                Ok(()) | Err(NetlinkError::Refused { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        self.read("read the neighbours", RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()))
    }

    fn read_routes(&mut self) -> Result<(), NetlinkError> {
        count(&self.counters.route_dumps);
        self.tables.clear_routes();
        self.read("read the routes", RouteNetlinkMessage::GetRoute(RouteMessage::default()))
    }

    fn read(&mut self, doing: &'static str, request: RouteNetlinkMessage) -> Result<(), NetlinkError> {
        let (rows, unreadable) = self.requests.dump(doing, &request)?;
        self.counters.unreadable.fetch_add(unreadable, Relaxed);
        rows.iter().for_each(|row| self.tables.load(row));
        Ok(())
    }
}

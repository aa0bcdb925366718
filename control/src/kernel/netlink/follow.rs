//! The mirror's thread: listen, take in, and tell at the right time.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
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
use crate::kernel::rtnetlink::{Asker, Listener};
use crate::kernel::tables::{Effect, Tables};
use crate::model::network_config::NetworkConfig;

/// After a quiet time: long enough that the messages of one `ip` command make one picture.
const SETTLE: Duration = Duration::from_millis(1);
/// Between two pictures: a snapshot is compiled from each, and more than fifty a second help nobody.
const PACE: Duration = Duration::from_millis(20);
/// After a failed dump, so that a kernel short of memory is not asked in a tight loop.
const RETRY: Duration = Duration::from_millis(100);

/// Where pictures go; one that nobody has fetched yet is replaced by the newer one.
pub(super) struct Outlet {
    pub(super) network_config: Sender<NetworkConfig>,
    pub(super) stale: Receiver<NetworkConfig>,
    pub(super) last: Option<NetworkConfig>,
}

impl Outlet {
    /// False when this is what was told last.
    fn tell(&mut self, network_config: NetworkConfig) -> bool {
        if self.last.as_ref() == Some(&network_config) {
            return false;
        }
        let _ = self.stale.try_recv();
        // We hold a receiver, so the channel is open; and it is empty, since nobody else sends.
        let _ = self.network_config.try_send(network_config.clone());
        self.last = Some(network_config);
        true
    }
}

/// What is to be done before the tables can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    Picture,
    Routes,
    Everything,
}

pub(super) struct Follower {
    twins: Vec<Twin>,
    asker: Asker,
    listener: Listener,
    tables: Tables,
    outlet: Outlet,
    counters: Arc<MirrorCounters>,
    due: Due,
    /// When `due` is done.
    at: Instant,
    last_told: Instant,
}

impl Follower {
    /// Subscribes, then reads every table and tells the first picture: in this order no change is missed.
    pub(super) fn new(
        twins: Vec<Twin>,
        outlet: Outlet,
        counters: Arc<MirrorCounters>,
    ) -> Result<Follower, NetlinkError> {
        let now = Instant::now();
        let (asker, listener) = (Asker::open()?, Listener::open()?);
        let tables = Tables::default();
        let due = Due::Everything;
        let mut new =
            Follower { twins, asker, listener, tables, outlet, counters, due, at: now, last_told: now };
        new.settle(now)?;
        Ok(new)
    }

    pub(super) fn run(&mut self, stop: &AtomicBool, wake: &OwnedFd) {
        while !stop.load(Relaxed) {
            self.wait(wake);
            while self.listen() && Instant::now() < self.at {}
            let now = Instant::now();
            if self.due != Due::Nothing && now >= self.at && self.settle(now).is_err() {
                count(&self.counters.failed_dumps);
                self.due = Due::Everything;
                self.at = now + RETRY;
            }
        }
    }

    /// Sleeps until something is heard, something is due, or the mirror is dropped.
    fn wait(&self, wake: &OwnedFd) {
        let mut fds = [PollFd::new(&self.listener.socket, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        let limit = (self.due != Due::Nothing)
            .then(|| self.at.saturating_duration_since(Instant::now()))
            .and_then(|wait| Timespec::try_from(wait).ok());
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, limit.as_ref());
    }

    /// Takes in one portion of news; false when there is none.
    fn listen(&mut self) -> bool {
        let (tables, counters) = (&mut self.tables, &self.counters);
        let mut due = Due::Nothing;
        let any = self.listener.receive(|message| {
            let effect = message.map(|m| tables.apply(&m));
            count(if effect.is_some() { &counters.heard } else { &counters.lost });
            due = due.max(match effect {
                Some(Effect::None) => Due::Nothing,
                Some(Effect::Changed) => Due::Picture,
                Some(Effect::StaleRoutes) => Due::Routes,
                None => Due::Everything,
            });
        });
        if self.due == Due::Nothing && due != Due::Nothing {
            self.at = (Instant::now() + SETTLE).max(self.last_told + PACE);
        }
        self.due = self.due.max(due);
        any
    }

    /// Brings the tables up to date and tells them.
    fn settle(&mut self, now: Instant) -> Result<(), NetlinkError> {
        match self.due {
            Due::Nothing => return Ok(()),
            Due::Picture => {}
            Due::Routes => self.read_routes()?,
            Due::Everything => self.read_everything()?,
        }
        self.due = Due::Nothing;
        self.last_told = now;
        if self.outlet.tell(self.tables.network_config(&self.twins)) {
            count(&self.counters.sent);
        }
        Ok(())
    }

    fn read_everything(&mut self) -> Result<(), NetlinkError> {
        // What is heard from here on is at most as old as what is read next, and applying it twice does no harm.
        self.listener.forget();
        count(&self.counters.full_dumps);
        self.tables = Tables::default();
        self.read("read the links", RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        self.read("read the addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        self.read("read the routes", RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut rules = RuleMessage::default();
            rules.header.family = family;
            // A kernel may be built without policy routing, and then there are none.
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
        let (rows, unreadable) = self.asker.dump(doing, &request)?;
        self.counters.unreadable.fetch_add(unreadable, Relaxed);
        rows.iter().for_each(|row| self.tables.load(row));
        Ok(())
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

//! The mirror: keeps a picture of the kernel's tables up to date and hands out a new one whenever it matters.
//!
//! A thread of its own reads everything once, then listens. A single change is told after a millisecond, so that the
//! few messages that belong together make one picture; a storm is told at most every 20 milliseconds. When the kernel
//! had to drop messages because we were slow, everything is read again.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{self, Receiver};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{EventfdFlags, eventfd};

use super::rtnetlink::Asker;
use crate::model::network_config::NetworkConfig;

pub use super::rtnetlink::NetlinkError;

mod follow;

/// A kernel interface that stands for a DPDK port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The interface's name.
    pub ifname: String,
    /// The DPDK port's name.
    pub port: String,
    /// The VLAN of the port that it stands for, when it is not all of it. The kernel sees frames without the tag.
    pub vlan: Option<u16>,
}

/// What the mirror has done so far.
#[derive(Debug, Default)]
pub struct MirrorCounters {
    /// Messages about changes.
    pub heard: AtomicU64,
    /// Times every table was read.
    pub full_dumps: AtomicU64,
    /// Times only the routes were read again.
    pub route_dumps: AtomicU64,
    /// Attempts to read that failed and were put off.
    pub failed_dumps: AtomicU64,
    /// Times messages were lost, or could not be read.
    pub lost: AtomicU64,
    /// Rows of dumps that could not be read and are missing from the facts.
    pub unreadable: AtomicU64,
    /// Pictures handed out.
    pub sent: AtomicU64,
}

/// A running mirror; dropping it ends its thread.
pub struct Mirror {
    counters: Arc<MirrorCounters>,
    asker: Mutex<Asker>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Reads the tables of the calling thread's network namespace and follows them from then on. The first picture is
    /// already in the channel on return. The channel holds one picture, always the newest: who comes late misses
    /// nothing but history.
    ///
    /// # Errors
    /// When the kernel cannot be asked, or a thread cannot be started.
    pub fn start(twins: Vec<Twin>) -> Result<(Mirror, Receiver<NetworkConfig>), NetlinkError> {
        let io = |doing| move |e| NetlinkError::Io { doing, source: e };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| io("make an event descriptor")(e.into()))?;
        let wake = Arc::new(wake);
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(MirrorCounters::default());
        let (network_config, pictures) = channel::bounded(1);
        let outlet = follow::Outlet { network_config, stale: pictures.clone(), last: None };
        let mut follower = follow::Follower::new(twins, outlet, Arc::clone(&counters))?;
        let (its_stop, its_wake) = (Arc::clone(&stop), Arc::clone(&wake));
        let asker = Mutex::new(Asker::open()?);
        let thread = thread::Builder::new()
            .name("pollux-netlink".to_owned())
            .spawn(move || follower.run(&its_stop, &its_wake))
            .map_err(io("start a thread"))?;
        Ok((Mirror { counters, asker, stop, wake, thread: Some(thread) }, pictures))
    }

    /// Has the kernel find out a neighbour's hardware address: it sends the ARP request or the neighbour solicitation
    /// itself, and the outcome arrives as facts. Asking again for a known or pending neighbour does no harm.
    ///
    /// # Errors
    /// When there is no such link, or the kernel refuses, for example because the link is down.
    pub fn resolve(&self, link: &str, address: IpAddr) -> Result<(), NetlinkError> {
        let mut asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner);
        let mut message = NeighbourMessage::default();
        message.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.ifindex = asker.index_of(link)?;
        message.header.state = NeighbourState::None;
        // "Use": behave as if a packet for this neighbour had just been sent.
        message.header.flags = NeighbourFlags::Use;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        asker.command(
            "resolve a neighbour",
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// What the mirror has done so far.
    pub fn counters(&self) -> &MirrorCounters {
        &self.counters
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // A full event counter is the only failure, and then the thread is awake anyway.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

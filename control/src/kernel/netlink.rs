//! The mirror: follows the kernel's tables and publishes the network state when it changes.
//!
//! A thread reads all tables once, then listens for changes. A change is published after a millisecond, so that the
//! messages of one `ip` command are published together; many changes are published at most every 20 milliseconds. If
//! the kernel dropped messages because the thread was too slow, all tables are read again.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam::channel::{self, Receiver};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::event::{EventfdFlags, eventfd};
use serde::Serialize;

use super::rtnetlink::RequestSocket;
use crate::model::network::NetworkState;

pub use super::rtnetlink::NetlinkError;

mod thread;

/// A TAP twin of a DPDK port, or of one of its VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Name of the interface.
    pub ifname: String,
    /// Name of the DPDK port.
    pub port: String,
    /// VLAN of the port; if absent, it is the twin of the whole port. The kernel sees frames without the tag.
    pub vlan: Option<u16>,
}

/// Counters of the mirror.
#[derive(Debug, Default, Serialize)]
pub struct MirrorCounters {
    /// Messages about changes.
    pub received: AtomicU64,
    /// Times all tables were read.
    pub full_dumps: AtomicU64,
    /// Times only the routes were read again.
    pub route_dumps: AtomicU64,
    /// Failed attempts to read the tables; they are repeated.
    pub failed_dumps: AtomicU64,
    /// Times messages were lost or could not be parsed.
    pub lost: AtomicU64,
    /// Rows of dumps that could not be parsed and are missing.
    pub unreadable: AtomicU64,
    /// Network states published.
    pub published: AtomicU64,
}

/// A running mirror; dropping it ends its thread.
pub struct Mirror {
    twins: Vec<Twin>,
    counters: Arc<MirrorCounters>,
    requests: Mutex<RequestSocket>,
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Reads the tables of the calling thread's network namespace and follows them. The first network state is in the
    /// channel on return. The channel holds only the newest one.
    ///
    /// # Errors
    /// If the tables cannot be read, or the thread cannot be created.
    pub fn start(twins: Vec<Twin>) -> Result<(Mirror, Receiver<NetworkState>), NetlinkError> {
        let io = |doing| move |e| NetlinkError::Io { doing, source: e };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| io("make an event descriptor")(e.into()))?;
        let wake = Arc::new(wake);
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(MirrorCounters::default());
        let (network_state, states) = channel::bounded(1);
        let publisher = thread::Publisher { network_state, stale: states.clone(), last: None };
        let mut mirror_thread = thread::MirrorThread::new(twins.clone(), publisher, Arc::clone(&counters))?;
        let (its_stop, its_wake) = (Arc::clone(&stop), Arc::clone(&wake));
        let requests = Mutex::new(RequestSocket::open()?);
        let thread = std::thread::Builder::new()
            .name("pollux-netlink".to_owned())
            .spawn(move || mirror_thread.run(&its_stop, &its_wake))
            .map_err(io("start a thread"))?;
        Ok((Mirror { twins, counters, requests, stop, wake, thread: Some(thread) }, states))
    }

    /// Makes the kernel resolve a neighbour's MAC address by ARP or neighbour discovery. The result arrives as a new
    /// network state. Repeating it for a known or pending neighbour is harmless.
    ///
    /// # Errors
    /// If there is no such link, or the kernel refuses, for example because the link is down.
    pub fn resolve(&self, link: &str, address: IpAddr) -> Result<(), NetlinkError> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut message = NeighbourMessage::default();
        message.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.ifindex = requests.index_of(link)?;
        message.header.state = NeighbourState::None;
        // NTF_USE: behave as if a packet for this neighbour had just been sent.
        message.header.flags = NeighbourFlags::Use;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        requests.command(
            "resolve a neighbour",
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Sets the carrier of the twins of a port, as the port's link has it. Without carrier the kernel withdraws the routes
    /// by them.
    ///
    /// # Errors
    /// If the kernel refuses, for example because a twin is gone.
    pub fn set_carrier(&self, port: &str, up: bool) -> Result<(), NetlinkError> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for twin in self.twins.iter().filter(|twin| twin.port == port) {
            let mut message = LinkMessage::default();
            message.header.index = requests.index_of(&twin.ifname)?;
            message.attributes.push(LinkAttribute::Carrier(up.into()));
            requests.command("set the carrier of a twin", RouteNetlinkMessage::NewLink(message), 0)?;
        }
        Ok(())
    }

    /// Returns the counters.
    pub fn counters(&self) -> &MirrorCounters {
        &self.counters
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // This fails only if the event counter is full, and then the thread is awake anyway.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

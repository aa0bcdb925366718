//! One immutable generation of everything a worker acts on.

use std::sync::Arc;

use super::adjacency::{self, Adjacency};
use super::fwmarks::FwmarkRule;
use crate::conn::quota::Counting;
use crate::forward::tunnel_header::TunnelHeader;
use crate::network::{Network, Target};
use crate::proto::Timeouts;
use crate::service::{DestinationId, ServiceId, Services, TargetId};
use crate::time::Millis;
use crate::trace::Switches;
use crate::wire::protocol;

/// Time-outs and switches, with the names of IPVS's sysctls; spec 7.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long silent connections live, by protocol and state.
    pub timeouts: Timeouts,
    /// What a SYN on an old connection may do; spec 4.6.
    pub conn_reuse_mode: u32,
    /// Expire connections whose destination is gone or quiesced.
    pub expire_nodest_conn: bool,
    /// Templates of quiesced destinations no longer count.
    pub expire_quiescent_template: bool,
    /// Let any TCP segment but a RST open a connection.
    pub sloppy_tcp: bool,
    /// Let any SCTP chunk but an ABORT open a connection.
    pub sloppy_sctp: bool,
    /// Answer packets from a NAT destination that belong to no connection.
    pub nat_icmp_send: bool,
    /// Answer packets that a tunnel cannot carry.
    pub pmtu_disc: bool,
    /// Let an ICMP error about no known connection open one.
    pub schedule_icmp: bool,
    /// What a mark service has no destination for goes where it was addressed.
    pub cache_bypass: bool,
    /// Look the way of a NAT destination's packet up again with the virtual address as its source.
    pub snat_reroute: bool,
    /// Random early expiry is on; spec 4.10.
    pub drop_entry: bool,
    /// One in so many packets that would open a connection is dropped; 0 drops none. Spec 7.3.
    pub drop_rate: u32,
    /// The tables of `secure_tcp` are in use; spec 5.2.
    pub secure_tcp: bool,
    /// How long `lblc` keeps an idle entry.
    pub lblc_expiration: Millis,
    /// How long `lblcr` keeps an idle entry, and an unchanged set.
    pub lblcr_expiration: Millis,
    /// Protocols whose packets are not looked at.
    pub protocols_off: ProtocolSet,
    /// Do as Linux 6.1 where later kernels and the specification differ.
    pub like_linux_6_1: bool,
}

/// A set of the protocols that are balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolSet(u8);

impl ProtocolSet {
    /// Those that can be in it, by their bits.
    const ALL: [u8; 5] = [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::AH, protocol::ESP];

    /// The set of these numbers; what is not balanced is left out.
    pub fn of(numbers: &[u8]) -> ProtocolSet {
        let bit = |(place, number): (usize, &u8)| u8::from(numbers.contains(number)) << place;
        ProtocolSet(ProtocolSet::ALL.iter().enumerate().map(bit).sum())
    }

    /// Whether a protocol is in it.
    pub fn contains(self, number: u8) -> bool {
        let place = ProtocolSet::ALL.iter().position(|known| *known == number);
        self.0 != 0 && place.is_some_and(|place| self.0 >> place & 1 != 0)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeouts: Timeouts::default(),
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            sloppy_sctp: false,
            nat_icmp_send: false,
            pmtu_disc: true,
            schedule_icmp: false,
            cache_bypass: false,
            snat_reroute: true,
            drop_entry: false,
            drop_rate: 0,
            secure_tcp: false,
            lblc_expiration: Millis::from_secs(86400),
            lblcr_expiration: Millis::from_secs(86400),
            protocols_off: ProtocolSet::default(),
            like_linux_6_1: false,
        }
    }
}

impl Settings {
    /// Whether packets of this protocol are not looked at.
    pub fn is_off(&self, protocol: u8) -> bool {
        self.protocols_off.contains(protocol)
    }
}

/// A change that schedulers with a memory must hear of, in the order it happened.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Whose destinations changed.
    pub service: ServiceId,
    /// What happened.
    pub kind: EventKind,
    /// Greatest common divisor of all positive weights after the change; 1 if there are none.
    pub gcd: u32,
    /// Greatest weight after the change.
    pub max_weight: u32,
    /// What it does to the count of connections behind the destination's thresholds.
    pub counting: Counting,
}

/// What happened to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was made, or got another scheduler: its scheduler starts afresh.
    Fresh,
    /// A destination was added, perhaps one that was removed before.
    Added(DestinationId),
    /// A destination was edited. `clears` says that it is no longer overloaded, whatever it carries; spec 2.4.
    Edited {
        /// Which one.
        destination: DestinationId,
        /// Whether the edit lifts its overload.
        clears: bool,
    },
    /// A destination was removed; with the one before it in the list.
    Removed(DestinationId, Option<DestinationId>),
}

/// Everything a worker acts on; two snapshots share what did not change between them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts generations; a reply to a request waits until every worker has adopted its generation.
    pub generation: u64,
    /// What is balanced.
    pub services: Arc<Services>,
    /// How receivers are reached.
    pub network: Arc<Network>,
    /// The ways to destinations, by [`TargetId`].
    pub targets: Arc<[Target]>,
    /// The same for plain packets, by [`DestinationId`]; [`Snapshot::build_adjacencies`] makes them.
    pub adjacencies: Arc<[Adjacency]>,
    /// Headers of tunnels to destinations.
    pub tunnel_headers: Arc<[TunnelHeader]>,
    /// Which packets are marked, and how.
    pub fwmarks: Arc<[FwmarkRule]>,
    /// Time-outs and switches.
    pub settings: Settings,
    /// Which debug events are told.
    pub debug: Switches,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            generation: 0,
            services: Arc::default(),
            network: Arc::default(),
            targets: Arc::new([]),
            adjacencies: Arc::default(),
            tunnel_headers: Arc::default(),
            fwmarks: Arc::new([]),
            settings: Settings::default(),
            debug: Switches::default(),
        }
    }
}

impl Snapshot {
    /// Makes the lanes anew. To be called before workers get a snapshot whose targets or network changed.
    pub fn build_adjacencies(&mut self) {
        (self.adjacencies, self.tunnel_headers) =
            adjacency::build_adjacencies(&self.services, &self.targets, &self.network);
    }

    /// Makes the lanes of these destinations anew, the only ones that differ from what the lanes were made of.
    pub fn rebuild_adjacencies(&mut self, destinations: &[u32]) {
        if !destinations.is_empty() {
            let made = (&*self.adjacencies, &self.tunnel_headers);
            (self.adjacencies, self.tunnel_headers) = adjacency::rebuild_adjacencies(
                made,
                destinations,
                (&self.services, &self.targets),
                &self.network,
            );
        }
    }

    /// The way to a destination.
    #[inline]
    pub fn target(&self, id: TargetId) -> Option<&Target> {
        self.targets.get(id.0 as usize)
    }
}

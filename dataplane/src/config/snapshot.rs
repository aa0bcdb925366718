//! The snapshot: one immutable generation of the configuration of a worker.

use std::sync::Arc;

use super::adjacency::{self, Adjacency};
use super::fwmarks::FwmarkRule;
use super::receivers::Receivers;
use crate::conn::quota::Counting;
use crate::forward::tunnel_header::TunnelHeader;
use crate::icmp::rate_limit::IcmpLimits;
use crate::network::{Network, Target};
use crate::proto::Timeouts;
use crate::service::{DestinationId, ServiceId, Services, TargetId};
use crate::time::Millis;
use crate::trace::Switches;
use crate::wire::protocol;

/// Timeouts and switches, named after the sysctls of IPVS; spec 7.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Idle timeouts by protocol and state.
    pub timeouts: Timeouts,
    /// Whether a SYN may reuse the port of an existing connection; spec 4.6.
    pub conn_reuse_mode: u32,
    /// Expire connections whose destination was removed or quiesced.
    pub expire_nodest_conn: bool,
    /// Ignore templates of quiesced destinations.
    pub expire_quiescent_template: bool,
    /// Let any TCP segment but a RST open a connection.
    pub sloppy_tcp: bool,
    /// Let any SCTP chunk but an ABORT open a connection.
    pub sloppy_sctp: bool,
    /// Send an ICMP error for packets of a NAT destination that belong to no connection.
    pub nat_icmp_send: bool,
    /// Send an ICMP error for packets that are too big for a tunnel.
    pub pmtu_disc: bool,
    /// Let an ICMP error that belongs to no connection open one.
    pub schedule_icmp: bool,
    /// Without a usable destination, a fwmark service forwards packets to their original address.
    pub cache_bypass: bool,
    /// Route replies of NAT destinations by the virtual address as their source.
    pub snat_reroute: bool,
    /// Random early expiry is active; spec 4.10.
    pub drop_entry: bool,
    /// Drop one in this many packets that would open a connection; 0 drops none. Spec 7.3.
    pub drop_rate: u32,
    /// Use the state tables of `secure_tcp`; spec 5.2.
    pub secure_tcp: bool,
    /// How long `lblc` caches an idle entry.
    pub lblc_expiration: Millis,
    /// How long `lblcr` caches an idle entry, and leaves a set unchanged.
    pub lblcr_expiration: Millis,
    /// Protocols that are not balanced.
    pub protocols_off: ProtocolSet,
    /// Rate limits of ICMP errors.
    pub icmp_limits: IcmpLimits,
    /// Behave as Linux 6.1 where later kernels and the specification differ.
    pub like_linux_6_1: bool,
}

/// A set of protocols, of those that can be balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolSet(u8);

impl ProtocolSet {
    /// The protocols that can be balanced, by bit.
    const ALL: [u8; 5] = [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::AH, protocol::ESP];

    /// The set of these protocol numbers. Others than those that can be balanced are ignored.
    pub fn of(numbers: &[u8]) -> ProtocolSet {
        let bit = |(index, number): (usize, &u8)| u8::from(numbers.contains(number)) << index;
        ProtocolSet(ProtocolSet::ALL.iter().enumerate().map(bit).sum())
    }

    /// Whether the set has a protocol.
    pub fn contains(self, number: u8) -> bool {
        let index = ProtocolSet::ALL.iter().position(|known| *known == number);
        self.0 != 0 && index.is_some_and(|index| self.0 >> index & 1 != 0)
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
            icmp_limits: IcmpLimits::default(),
            like_linux_6_1: false,
        }
    }
}

impl Settings {
    /// Whether this protocol is not balanced.
    pub fn is_off(&self, protocol: u8) -> bool {
        self.protocols_off.contains(protocol)
    }
}

/// A change of a service or a destination, for schedulers with state and for connection counts. Events are in order.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The service that changed.
    pub service: ServiceId,
    /// The change.
    pub kind: EventKind,
    /// Greatest common divisor of all non-zero weights after the change; 1 if there are none.
    pub gcd: u32,
    /// Greatest weight after the change.
    pub max_weight: u32,
    /// How it affects the connection count of the destination's thresholds.
    pub counting: Counting,
}

/// A change of a service or of one of its destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The service was added, or its scheduler replaced: the scheduler starts without state.
    Reset,
    /// A destination was added. It may have been removed before.
    Added(DestinationId),
    /// A destination was edited.
    Edited {
        /// The destination.
        destination: DestinationId,
        /// Whether the edit ends its overload, whatever its load is; spec 2.4.
        clears: bool,
    },
    /// A destination was removed. The second one is its predecessor in the list.
    Removed(DestinationId, Option<DestinationId>),
}

/// Configuration of a worker. Successive snapshots share the parts that did not change.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Generation number. Control answers a request when every worker has adopted its generation.
    pub generation: u64,
    /// Services and destinations.
    pub services: Arc<Services>,
    /// Links, routes and neighbours.
    pub network: Arc<Network>,
    /// Hardware addresses of the links. See [`Snapshot::build_lookups`].
    pub receivers: Arc<Receivers>,
    /// Routes to destination addresses, by [`TargetId`].
    pub targets: Arc<[Target]>,
    /// Adjacencies for the fast path, by [`DestinationId`]. See [`Snapshot::build_lookups`].
    pub adjacencies: Arc<[Adjacency]>,
    /// Headers of tunnels to destinations, which adjacencies refer to.
    pub tunnel_headers: Arc<[TunnelHeader]>,
    /// Rules that assign firewall marks.
    pub fwmarks: Arc<[FwmarkRule]>,
    /// Timeouts and switches.
    pub settings: Settings,
    /// Enabled debug events.
    pub debug: Switches,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            generation: 0,
            services: Arc::default(),
            network: Arc::default(),
            receivers: Arc::default(),
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
    /// Builds adjacencies and receivers. Required before workers get a snapshot whose targets or network changed.
    pub fn build_lookups(&mut self) {
        self.receivers = Arc::new(Receivers::new(&self.network.links));
        (self.adjacencies, self.tunnel_headers) = adjacency::build_adjacencies(self.adjacency_sources());
    }

    /// Rebuilds the adjacencies of these destinations only, if nothing else changed since they were built.
    pub fn rebuild_adjacencies(&mut self, destinations: &[u32]) {
        if !destinations.is_empty() {
            let built = (&*self.adjacencies, &*self.tunnel_headers);
            (self.adjacencies, self.tunnel_headers) =
                adjacency::rebuild_adjacencies(built, destinations, self.adjacency_sources());
        }
    }

    fn adjacency_sources(&self) -> adjacency::Sources<'_> {
        adjacency::Sources { services: &self.services, targets: &self.targets, network: &self.network }
    }

    /// The route to a destination address.
    #[inline]
    pub fn target(&self, id: TargetId) -> Option<&Target> {
        self.targets.get(id.0 as usize)
    }
}

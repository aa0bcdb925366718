//! What an operator configures, as a worker sees it: services, their destinations, and how to find them.

use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};

use crate::flow::Endpoint;

/// Index of a service in [`Services`]; stable over generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// Index of a destination in [`Services`]; stable over generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub u32);

/// Index of a distinct destination address in [`crate::config::Snapshot::targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(pub u32);

/// How packets reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Addresses and ports are rewritten, both ways.
    Nat,
    /// Only the link-layer address changes.
    Dr,
    /// IP in IP, RFC 2003 and RFC 2473.
    Tunnel,
}

/// How a service chooses destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where clients reach it.
    pub endpoint: Endpoint,
    /// Protocol number.
    pub protocol: u8,
    /// How destinations are chosen.
    pub scheduler: Scheduler,
    /// Its destinations, the newest first as IPVS walks them.
    pub destinations: Vec<DestinationId>,
}

/// A real server.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How packets reach it.
    pub method: Method,
    /// Still configured; a removed destination stays as a ghost while it has connections.
    pub available: bool,
    /// Share of new connections; 0 gets none.
    pub weight: u32,
    /// Whom it serves.
    pub service: ServiceId,
    /// Its address's place in the network.
    pub target: TargetId,
}

/// All services and destinations of one generation.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Services by id; a removed one leaves a hole.
    pub services: Vec<Option<Service>>,
    /// Destinations by id, ghosts included; a freed one leaves a hole.
    pub destinations: Vec<Option<Destination>>,
    /// Which service clients mean.
    pub by_endpoint: HashMap<(Endpoint, u8), ServiceId>,
    /// Where NAT destinations send their replies from, ghosts included; tells which end of a packet is the client.
    pub nat_sources: HashSet<(Endpoint, u8)>,
    /// Addresses of services and NAT destinations: what a fragment of balanced traffic has at one end.
    pub addresses: HashSet<IpAddr>,
}

impl Services {
    /// The service with this id.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)?.as_ref()
    }

    /// The destination with this id.
    #[inline]
    pub fn destination(&self, id: DestinationId) -> Option<&Destination> {
        self.destinations.get(id.0 as usize)?.as_ref()
    }

    /// The service that clients reach at `endpoint`.
    pub fn lookup(&self, endpoint: Endpoint, protocol: u8) -> Option<ServiceId> {
        self.by_endpoint.get(&(endpoint, protocol)).copied()
    }
}

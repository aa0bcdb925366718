//! Flow steering: the worker that owns a flow is a pure function of the client's endpoint, so it is the same for both
//! directions.
//!
//! The snapshot alone decides which end of a packet is the client: the source of a packet to a service, or the
//! destination of a packet from a NAT destination or from a service's own address.

pub mod rss;

use std::sync::Arc;

use crate::config::{Ingress, Snapshot, fwmarks};
use crate::flow::{Endpoint, Key, Seed};
use crate::parse::{Kind, Parsed};

pub use rss::{Facing, RssKeys};

/// Number of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// The steering function; the same at all workers.
#[derive(Clone, Debug)]
pub struct Steering {
    /// Number of workers.
    pub workers: u16,
    /// Seed of the hash.
    pub seed: Seed,
    /// If present, flows are steered by a hash that devices compute too, and not by the seed.
    pub rss_keys: Option<Arc<RssKeys>>,
}

impl Steering {
    /// The owner of a packet's flow; `None` for packets that have no state at any worker.
    pub fn owner(&self, parsed: &Parsed, port: u16, snapshot: &Snapshot) -> Option<WorkerId> {
        let key = match parsed.kind {
            Kind::Flow | Kind::TruncatedL4 | Kind::Ipsec | Kind::TunnelError => parsed.key,
            // The quoted packet went in the opposite direction.
            Kind::IcmpError => parsed.key.reversed(),
            Kind::Fragment | Kind::Other => return None,
        };
        let ingress = Ingress { port, vlan: parsed.vlan, protocol: parsed.protocol };
        client(&key, ingress, snapshot).map(|client| self.worker_of(client))
    }

    /// The worker that reassembles a datagram. The key has its addresses and identification.
    pub fn datagram_owner(&self, datagram: &Key) -> WorkerId {
        self.scale(self.seed.hash(datagram))
    }

    fn worker_of(&self, client: Endpoint) -> WorkerId {
        if let Some(rss_keys) = &self.rss_keys {
            return WorkerId(rss_keys.bucket(client) % self.workers.max(1));
        }
        let Some(key) = Key::between(client, client, 0) else { return WorkerId(0) };
        self.scale(self.seed.hash(&key))
    }

    /// Maps a hash to a worker by its upper 32 bits.
    fn scale(&self, hash: u64) -> WorkerId {
        WorkerId((((hash >> 32) * u64::from(self.workers)) >> 32) as u16)
    }
}

/// The client's endpoint, if the packet belongs to balanced traffic.
pub fn client(key: &Key, ingress: Ingress, snapshot: &Snapshot) -> Option<Endpoint> {
    let services = &snapshot.services;
    let fwmark = fwmarks::fwmark(&snapshot.fwmarks, key, ingress);
    if services.lookup(key.dst(), key.protocol(), fwmark).is_some() {
        return Some(key.src());
    }
    let is_reply = services.nat_sources.contains_key(&(key.src(), key.protocol()))
        || services.nat_addresses.contains(&key.src_address())
        || services.lookup(key.src(), key.protocol(), 0).is_some();
    is_reply.then(|| key.dst())
}

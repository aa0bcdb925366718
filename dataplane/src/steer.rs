//! Which worker owns a flow: a pure function of the client's endpoint, the same for both directions.
//!
//! The snapshot alone tells which end of a packet is the client: the source of what goes to a service, the
//! destination of what comes from a NAT destination or from a service's own address.

pub mod spread;

use std::sync::Arc;

use crate::config::{Ingress, Snapshot, fwmarks};
use crate::flow::{Endpoint, Key, Seed};
use crate::parse::{Kind, Parsed};

pub use spread::{Facing, Spread};

/// The number of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// The rule that all workers share.
#[derive(Clone, Debug)]
pub struct Steering {
    /// How many workers there are.
    pub workers: u16,
    /// The same at every worker.
    pub seed: Seed,
    /// Flows are shared out by what devices know too, and not by the seed.
    pub spread: Option<Arc<Spread>>,
}

impl Steering {
    /// The owner of a packet's flow; `None` for what no worker keeps anything about.
    pub fn owner(&self, parsed: &Parsed, port: u16, snapshot: &Snapshot) -> Option<WorkerId> {
        let key = match parsed.kind {
            Kind::Flow | Kind::TruncatedL4 | Kind::Ipsec | Kind::TunnelError => parsed.key,
            // What an error quotes went the other way.
            Kind::IcmpError => parsed.key.reversed(),
            Kind::Fragment | Kind::Other => return None,
        };
        let ingress = Ingress { port, vlan: parsed.vlan, protocol: parsed.protocol };
        client(&key, ingress, snapshot).map(|client| self.of(client))
    }

    /// The worker that gathers the fragments of a datagram, named by its addresses and identification.
    pub fn of_datagram(&self, datagram: &Key) -> WorkerId {
        self.share(self.seed.hash(datagram))
    }

    fn of(&self, client: Endpoint) -> WorkerId {
        if let Some(spread) = &self.spread {
            return WorkerId(spread.bucket(client) % self.workers.max(1));
        }
        let Some(key) = Key::between(client, client, 0) else { return WorkerId(0) };
        self.share(self.seed.hash(&key))
    }

    fn share(&self, hash: u64) -> WorkerId {
        WorkerId((((hash >> 32) * u64::from(self.workers)) >> 32) as u16)
    }
}

/// The client's end of a packet, if it is one of balanced traffic.
pub fn client(key: &Key, ingress: Ingress, snapshot: &Snapshot) -> Option<Endpoint> {
    let services = &snapshot.services;
    let fwmark = fwmarks::fwmark(&snapshot.fwmarks, key, ingress);
    if services.lookup(key.dst(), key.protocol(), fwmark).is_some() {
        return Some(key.src());
    }
    let from_us = services.nat_sources.contains_key(&(key.src(), key.protocol()))
        || services.nat_addresses.contains(&key.src_address())
        || services.lookup(key.src(), key.protocol(), 0).is_some();
    from_us.then(|| key.dst())
}

//! A worker with two ports in memory, one towards clients and one towards servers, for unit tests, benchmarks and
//! fuzzing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;

use crate::config::{HopId, Link, LinkId, Network, Route, Settings, Snapshot};
use crate::conn::Sizes;
use crate::flow::{Endpoint, Seed};
use crate::io::mem::{Frame, ManualClock, Wire};
use crate::pipeline::KernelRing;
use crate::pipeline::egress::tx_buffers::HandOffRing;
use crate::sched::{self, Load, Loads};
use crate::service::{
    Destination, DestinationId, Method, Scheduler, Service, ServiceId, ServiceKey, Services, TargetId, Tunnel,
};
use crate::stats::{Counter, WorkerStats};
use crate::steer::{RssKeys, Steering};
use crate::time::Tick;
use crate::trace::Switches;
use crate::wire::{ether, ether::MacBytes, protocol};
use crate::worker::namespace_parts::{NamespaceLimits, NamespaceParts, RingDepths};
use crate::worker::namespace_rings::NamespaceRings;
use crate::worker::{Port, Setup, Worker};

/// Our MAC address on the clients' side.
pub const CLIENT_SIDE: MacBytes = [2, 0, 0, 0, 1, 1];
/// Our MAC address on the servers' side.
pub const SERVER_SIDE: MacBytes = [2, 0, 0, 0, 2, 1];
/// The MAC address of the router towards clients.
pub const ROUTER: MacBytes = [2, 0, 0, 0, 1, 0xfe];
/// The MAC address of all servers.
pub const SERVER_MAC: MacBytes = [2, 0, 0, 0, 2, 2];

/// An IPv4 address.
pub fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

/// An endpoint.
pub fn at(address: IpAddr, l4_port: u16) -> Endpoint {
    Endpoint { address, l4_port }
}

/// The client of most tests.
pub fn client() -> Endpoint {
    at(v4(192, 0, 2, 10), 40000)
}

/// The service of most tests.
pub fn vip() -> Endpoint {
    at(v4(10, 9, 9, 1), 80)
}

/// Its first destination; in most tests the only one.
pub fn server() -> Endpoint {
    nth_server(0)
}

/// The nth destination; ten of them have neighbours.
pub fn nth_server(n: u8) -> Endpoint {
    at(v4(10, 0, 2, 2 + n), 8080)
}

/// A worker with its wires and rings.
pub struct Bed {
    /// The worker.
    pub worker: Worker<Wire, ManualClock>,
    /// The wire to clients.
    pub outside: Wire,
    /// The wire to servers.
    pub inside: Wire,
    /// Frames passed to the kernel.
    pub kernel: KernelRing<Frame>,
    /// Frames from the kernel, with the port to send them by.
    pub inject: KernelRing<Frame>,
    /// The worker's counters.
    pub stats: Arc<WorkerStats>,
    /// Rings for namespace commands.
    pub namespace_rings: Arc<NamespaceRings<Frame>>,
    /// Hand-off rings, by worker.
    pub hand_off: Box<[HandOffRing<Frame>]>,
}

/// Parameters of a bed.
pub struct Plan {
    /// Forwarding method.
    pub method: Method,
    /// Scheduler.
    pub scheduler: Scheduler,
    /// Number of destinations, at most ten.
    pub servers: u8,
    /// Timeouts and switches.
    pub settings: Settings,
    /// Capacity of the connection table.
    pub sizes: Sizes,
    /// Links, routes and neighbours.
    pub network: Network,
    /// The destinations' weight.
    pub weight: u32,
    /// Number of workers that share the flows; the bed's worker is the first.
    pub workers: u16,
    /// The RSS keys of the ports, if devices steer.
    pub rss_keys: Option<Arc<RssKeys>>,
    /// The service's protocol.
    pub protocol: u8,
    /// Maximum number of services.
    pub services: usize,
    /// Enabled debug events.
    pub debug: Switches,
    /// Capacity of the ring to the kernel.
    pub kernel_ring: usize,
    /// Capacity of hand-off rings.
    pub hand_off_ring: usize,
}

impl Plan {
    /// A TCP service with one destination.
    pub fn new(method: Method) -> Plan {
        Plan {
            method,
            scheduler: Scheduler::Rr,
            servers: 1,
            settings: Settings::default(),
            sizes: Sizes { ipv4: 64, ipv6: 8, extra: 0 },
            network: network(),
            weight: 1,
            workers: 1,
            rss_keys: None,
            protocol: protocol::TCP,
            services: 4,
            debug: Switches::default(),
            kernel_ring: 64,
            hand_off_ring: 1,
        }
    }

    /// The snapshot for the worker.
    pub fn snapshot(&self) -> Snapshot {
        let mut services = Services::default();
        self.serve(&mut services, vip(), (0..self.servers).map(nth_server));
        let target = |n| self.network.target(nth_server(n).address);
        Snapshot {
            generation: 1,
            services: Arc::new(services),
            network: Arc::new(self.network.clone()),
            targets: (0..self.servers).map(target).collect(),
            settings: self.settings.clone(),
            debug: self.debug,
            ..Snapshot::default()
        }
    }

    /// Adds a service. Its destinations' targets have the same ids as the destinations.
    pub fn serve(&self, to: &mut Services, vip: Endpoint, servers: impl Iterator<Item = Endpoint>) {
        let service = ServiceId(to.services.len() as u32);
        to.hooked[usize::from(vip.address.is_ipv6())] = true;
        let mut destinations = Vec::new();
        for endpoint in servers {
            let id = to.destinations.len() as u32;
            let (method, weight, target) = (self.method, self.weight, TargetId(id));
            to.destinations.push(Some(Destination {
                endpoint,
                method,
                available: true,
                weight,
                last_weight: weight,
                upper: 0,
                lower: 0,
                service,
                target,
            }));
            destinations.push(DestinationId(id));
            if let Method::Tunnel(Tunnel::Gue { l4_port, .. }) = method {
                to.gue_ends.insert(Endpoint { l4_port, ..endpoint });
            }
            if method == Method::Nat {
                to.nat_sources.insert((endpoint, self.protocol), true);
                to.addresses.insert(endpoint.address);
            }
        }
        let (protocol, scheduler) = (self.protocol, self.scheduler);
        let slots = sched::slots(scheduler, vip.address.is_ipv6(), &destinations, |id| to.destination(id));
        to.services.push(Some(Service {
            key: ServiceKey::Address(vip, protocol),
            scheduler,
            fallback: false,
            hash_l4_port: false,
            ops: false,
            persistence: None,
            destinations,
            slots,
        }));
        to.by_endpoint.insert((vip, protocol), service);
        to.addresses.insert(vip.address);
    }

    /// A bed with the plan's snapshot.
    ///
    /// # Errors
    /// When there is not enough memory for the connections.
    pub fn bed(self) -> std::io::Result<Bed> {
        let snapshot = self.snapshot();
        self.bed_with(snapshot)
    }

    /// A bed with another snapshot.
    ///
    /// # Errors
    /// When there is not enough memory for the connections.
    pub fn bed_with(self, snapshot: Snapshot) -> std::io::Result<Bed> {
        let (outside, inside) = (Wire::default(), Wire::default());
        let mut parts = self.namespace_parts();
        let default_namespace = parts.take_first();
        let NamespaceParts { kernel, inject, .. } = parts;
        let (stats, hand_off) = (Arc::clone(&default_namespace.stats), default_namespace.hand_off.clone());
        let ports = vec![Port::new(0, outside.clone()), Port::new(1, inside.clone())];
        let setup = Setup::new(ports, default_namespace);
        let namespace_rings = Arc::clone(&setup.namespace_rings);
        let mut worker = Worker::new(setup, ManualClock::default())?;
        worker.install(snapshot, &[]);
        Ok(Bed { worker, outside, inside, kernel, inject, stats, namespace_rings, hand_off })
    }

    /// Parts of a namespace with the plan's sizes, for workers on two ports.
    pub fn namespace_parts<P>(&self) -> NamespaceParts<P> {
        let limits = NamespaceLimits {
            connections: self.sizes,
            services: self.services,
            destinations: 16,
            templates: 64,
            rings: RingDepths {
                control: 16,
                kernel: self.kernel_ring,
                inject: 8,
                hand_off: self.hand_off_ring,
            },
        };
        let steering = Steering { workers: self.workers, seed: Seed(3, 5), rss_keys: self.rss_keys.clone() };
        NamespaceParts::new(&steering, 2, &limits)
    }
}

/// Two links: one with a default route to a router, and one with the servers.
pub fn network() -> Network {
    let link = |port, mac, own| Link {
        port,
        vlan: None,
        up: true,
        mac,
        other_macs: Vec::new(),
        mtu: 1500,
        ipv4: Some(own),
        ipv6: None,
    };
    let mut network = Network { generation: 1, ..Network::default() };
    network.links.push(link(0, CLIENT_SIDE, Ipv4Addr::new(10, 0, 1, 1)));
    network.links.push(link(1, SERVER_SIDE, Ipv4Addr::new(10, 0, 2, 1)));
    let send = |link, via| Route::Send { link: LinkId(link), via, mtu: None, source: None };
    let everywhere = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
    network.routes4.insert(everywhere, send(0, Some(v4(10, 0, 1, 254))));
    network.routes4.insert(Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 2, 0), 24), send(1, None));
    network.local.insert(vip().address);
    neighbour(&mut network, 0, v4(10, 0, 1, 254), ROUTER);
    for n in 0..10 {
        neighbour(&mut network, 1, nth_server(n).address, SERVER_MAC);
    }
    network
}

/// Adds a neighbour with its hardware address.
pub fn neighbour(network: &mut Network, link: u16, address: IpAddr, mac: MacBytes) {
    let ethertype = if address.is_ipv4() { ether::IPV4 } else { ether::IPV6 };
    let hop = Network::hop(&network.links[usize::from(link)], mac)(ethertype);
    network.neighbours.insert((LinkId(link), address), HopId(network.hops.len() as u32));
    network.hops.push(hop);
}

impl Bed {
    /// Receives a frame from the clients' side.
    pub fn client_sends(&mut self, frame: &[u8]) {
        self.outside.put(frame);
        self.worker.poll_once();
        self.reconciles();
    }

    /// Receives a frame from the servers' side.
    pub fn server_sends(&mut self, frame: &[u8]) {
        self.inside.put(frame);
        self.worker.poll_once();
        self.reconciles();
    }

    /// Sends a frame from the kernel by a port.
    pub fn kernel_sends(&mut self, port: usize, frame: &[u8]) {
        // Never full: every iteration empties the ring.
        _ = self.inject.push((port, Frame::new(frame)));
        self.worker.poll_once();
        self.reconciles();
    }

    /// Sets the clock.
    pub fn at(&mut self, millis: u64) -> &mut Bed {
        self.worker.clock().0 = Tick(millis);
        self
    }

    /// Panics unless every packet was counted once: in = out + dropped + to the kernel + handed off + waiting.
    pub fn reconciles(&self) {
        let counters = &self.stats.counters;
        let dropped: u64 = counters.drops.iter().map(Counter::get).sum();
        let out = counters.sent.get() + dropped + counters.to_kernel.get() + counters.handoff_sent.get();
        let received = counters.received.get() + counters.handoff_received.get() + counters.from_kernel.get();
        let received = received + counters.fragments_sent.get();
        assert_eq!(
            received,
            out + counters.awaiting_neighbour.get() + counters.reassembling.get(),
            "every packet is counted once"
        );
    }
}

/// The load that a worker counts, for schedulers of services without thresholds: no destination is ever overloaded.
pub struct NoThresholds<'a>(pub &'a WorkerStats);

impl Loads for NoThresholds<'_> {
    fn load(&self, id: DestinationId) -> Load {
        self.0.load(id)
    }

    fn is_overloaded(&self, _: DestinationId) -> bool {
        false
    }
}

//! A worker on two ports in memory, with a client's network behind the one and servers behind the other: what unit
//! tests, benchmarks and fuzzing run packets through.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use ipnet::Ipv4Net;

use crate::config::{HopId, Link, LinkId, Network, Route, Settings, Snapshot, WorkerRings};
use crate::conn::{Shared, Sizes};
use crate::flow::{Endpoint, Seed};
use crate::io::mem::{Frame, ManualClock, Wire};
use crate::pipeline::KernelRing;
use crate::pipeline::egress::tx_buffers::HandOffRing;
use crate::sched;
use crate::service::{
    Destination, DestinationId, Method, Name, Scheduler, Service, ServiceId, Services, TargetId, Tunnel,
};
use crate::stats::{Counter, WorkerStats};
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::trace::Switches;
use crate::wire::{ether, ether::MacBytes, protocol};
use crate::worker::binding::Binding;
use crate::worker::idle::IdleConfig;
use crate::worker::namespace::NamespaceSetup;
use crate::worker::namespace_rings::NamespaceRings;
use crate::worker::{Port, Setup, Worker};

/// Our address on the clients' side.
pub const CLIENT_SIDE: MacBytes = [2, 0, 0, 0, 1, 1];
/// Our address on the servers' side.
pub const SERVER_SIDE: MacBytes = [2, 0, 0, 0, 2, 1];
/// The router before the clients.
pub const ROUTER: MacBytes = [2, 0, 0, 0, 1, 0xfe];
/// All servers.
pub const SERVER_MAC: MacBytes = [2, 0, 0, 0, 2, 2];

/// An IPv4 address.
pub fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

/// An endpoint.
pub fn at(address: IpAddr, l4_port: u16) -> Endpoint {
    Endpoint { address, l4_port }
}

/// The client of most rows.
pub fn client() -> Endpoint {
    at(v4(192, 0, 2, 10), 40000)
}

/// The service of most rows.
pub fn vip() -> Endpoint {
    at(v4(10, 9, 9, 1), 80)
}

/// Its first destination, and in most rows the only one.
pub fn server() -> Endpoint {
    nth_server(0)
}

/// A destination; there are neighbours for ten.
pub fn nth_server(n: u8) -> Endpoint {
    at(v4(10, 0, 2, 2 + n), 8080)
}

/// The worker and both ends of its wires.
pub struct Bed {
    /// The worker.
    pub worker: Worker<Wire, ManualClock>,
    /// Where clients are.
    pub outside: Wire,
    /// Where servers are.
    pub inside: Wire,
    /// What the kernel got.
    pub kernel: KernelRing<Frame>,
    /// What the kernel sends, with the port it leaves by.
    pub inject: KernelRing<Frame>,
    /// The worker's counters.
    pub stats: Arc<WorkerStats>,
    /// By which namespaces come to the worker and go.
    pub namespace_rings: Arc<NamespaceRings<Frame>>,
    /// What is handed over, by worker.
    pub hand_off: Box<[HandOffRing<Frame>]>,
}

/// What a bed is made with.
pub struct Plan {
    /// How packets reach the destinations.
    pub method: Method,
    /// How a destination is chosen.
    pub scheduler: Scheduler,
    /// How many destinations, at most ten.
    pub servers: u8,
    /// Time-outs and switches.
    pub settings: Settings,
    /// Room for connections.
    pub sizes: Sizes,
    /// What is around.
    pub network: Network,
    /// The destinations' weight.
    pub weight: u32,
    /// How many workers share the flows; the bed is the first.
    pub workers: u16,
    /// The service's protocol.
    pub protocol: u8,
    /// Services that can exist.
    pub services: usize,
    /// Which debug events are told.
    pub debug: Switches,
    /// Room for frames to the kernel.
    pub kernel_ring: usize,
    /// Room for packets that are handed over.
    pub hand_off_ring: usize,
}

impl Plan {
    /// A service over TCP with one destination.
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
            protocol: protocol::TCP,
            services: 4,
            debug: Switches::default(),
            kernel_ring: 64,
            hand_off_ring: 1,
        }
    }

    /// What a worker acts on.
    pub fn snapshot(&self) -> Snapshot {
        let mut services = Services::default();
        self.serve(&mut services, vip(), (0..self.servers).map(nth_server));
        let target = |n| self.network.target(nth_server(n).address);
        Snapshot {
            generation: 1,
            services: Arc::new(services),
            network: Arc::new(self.network.clone()),
            targets: (0..self.servers).map(target).collect(),
            adjacencies: Arc::default(),
            tunnel_headers: Arc::default(),
            fwmarks: Arc::new([]),
            settings: self.settings.clone(),
            debug: self.debug,
        }
    }

    /// Adds a service; its destinations' targets have the same numbers as they.
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
            name: Name::Address(vip, protocol),
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

    /// A bed that acts on the plan's snapshot.
    ///
    /// # Errors
    /// When there is not enough memory for the connections.
    pub fn bed(self) -> std::io::Result<Bed> {
        let snapshot = self.snapshot();
        self.bed_with(snapshot)
    }

    /// A bed that acts on another snapshot.
    ///
    /// # Errors
    /// When there is not enough memory for the connections.
    pub fn bed_with(self, snapshot: Snapshot) -> std::io::Result<Bed> {
        let (outside, inside) = (Wire::default(), Wire::default());
        let kernel: KernelRing<Frame> = Arc::new(ArrayQueue::new(self.kernel_ring));
        let stats = Arc::new(WorkerStats::new(16));
        let port = |number, mac, queues: &Wire| Port {
            number,
            mac,
            queues: queues.clone(),
            binding: Binding::default(),
        };
        let default_namespace = self.namespace(Arc::clone(&stats), Arc::clone(&kernel));
        let (inject, hand_off) = (Arc::clone(&default_namespace.inject), default_namespace.hand_off.clone());
        let ports = vec![port(0, CLIENT_SIDE, &outside), port(1, SERVER_SIDE, &inside)];
        let namespace_rings = NamespaceRings::new(4);
        let setup = Setup {
            ports,
            default_namespace,
            namespace_rings: Arc::clone(&namespace_rings),
            idle: IdleConfig::default(),
        };
        let mut worker = Worker::new(setup, ManualClock::default())?;
        worker.install(snapshot, &[]);
        Ok(Bed { worker, outside, inside, kernel, inject, stats, namespace_rings, hand_off })
    }

    /// What a namespace at the bed's worker is made from.
    pub fn namespace(&self, stats: Arc<WorkerStats>, kernel: KernelRing<Frame>) -> NamespaceSetup<Frame> {
        NamespaceSetup {
            me: WorkerId(0),
            steering: Steering { workers: self.workers, seed: Seed(3, 5), spread: None },
            ports: 2,
            sizes: self.sizes,
            shared: Arc::new(Shared::new(16, 64)),
            services: self.services,
            stats,
            rings: WorkerRings::new(16),
            kernel,
            inject: Arc::new(ArrayQueue::new(8)),
            hand_off: (0..self.workers).map(|_| Arc::new(ArrayQueue::new(self.hand_off_ring))).collect(),
        }
    }
}

/// Two links, a default route to a router outside, servers on the link inside.
pub fn network() -> Network {
    let link = |port, mac, own| Link { port, vlan: None, mac, mtu: 1500, ipv4: Some(own), ipv6: None };
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

/// Makes a neighbour's hardware address known.
pub fn neighbour(network: &mut Network, link: u16, address: IpAddr, mac: MacBytes) {
    let ethertype = if address.is_ipv4() { ether::IPV4 } else { ether::IPV6 };
    let hop = Network::hop(&network.links[usize::from(link)], mac)(ethertype);
    network.neighbours.insert((LinkId(link), address), HopId(network.hops.len() as u32));
    network.hops.push(hop);
}

impl Bed {
    /// Takes a frame in at the client's side.
    pub fn client_sends(&mut self, frame: &[u8]) {
        self.outside.put(frame);
        self.worker.poll_once();
        self.reconciles();
    }

    /// Takes a frame in at the servers' side.
    pub fn server_sends(&mut self, frame: &[u8]) {
        self.inside.put(frame);
        self.worker.poll_once();
        self.reconciles();
    }

    /// Lets the kernel send a frame out of a port.
    pub fn kernel_sends(&mut self, port: usize, frame: &[u8]) {
        // The ring is emptied by every turn.
        _ = self.inject.push((port, Frame::new(frame)));
        self.worker.poll_once();
        self.reconciles();
    }

    /// Sets the clock.
    pub fn at(&mut self, millis: u64) -> &mut Bed {
        self.worker.clock().0 = Tick(millis);
        self
    }

    /// `in = out + dropped + to the kernel + handed off + waiting`; stops the test when it is not so.
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

//! A worker on two ports in memory, with a client's network behind the one and servers behind the other.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use etherparse::PacketBuilder;

use crate::config::{HopId, Link, LinkId, Network, Route, Settings, Snapshot, Target, WorkerRings};
use crate::conn::Sizes;
use crate::flow::{Endpoint, Seed};
use crate::io::mem::{Frame, Hand, Wire};
use crate::line::KernelRing;
use crate::service::{Destination, DestinationId, Method, Scheduler, Service, ServiceId, Services, TargetId};
use crate::stats::Board;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::wire::{ether, protocol};
use crate::worker::{Port, Setup, Worker};

pub(super) const CLIENT_SIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];
pub(super) const SERVER_SIDE: [u8; 6] = [2, 0, 0, 0, 2, 1];
pub(super) const ROUTER: [u8; 6] = [2, 0, 0, 0, 1, 0xfe];
pub(super) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 2];

pub(super) fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

pub(super) fn at(address: IpAddr, l4_port: u16) -> Endpoint {
    Endpoint { address, l4_port }
}

/// The client of most rows.
pub(super) fn client() -> Endpoint {
    at(v4(192, 0, 2, 10), 40000)
}

/// The service of most rows.
pub(super) fn vip() -> Endpoint {
    at(v4(10, 9, 9, 1), 80)
}

/// Its destination.
pub(super) fn server() -> Endpoint {
    at(v4(10, 0, 2, 2), 8080)
}

/// The worker and both ends of its wires.
pub(super) struct Bed {
    pub(super) worker: Worker<Wire, Hand>,
    pub(super) outside: Wire,
    pub(super) inside: Wire,
    pub(super) kernel: KernelRing<Frame>,
    pub(super) board: Arc<Board>,
}

/// What a bed is made with.
pub(super) struct Plan {
    pub(super) method: Method,
    pub(super) settings: Settings,
    pub(super) sizes: Sizes,
    pub(super) network: Network,
    pub(super) weight: u32,
    pub(super) workers: u16,
    pub(super) protocol: u8,
    pub(super) kernel_ring: usize,
}

impl Plan {
    pub(super) fn new(method: Method) -> Plan {
        Plan {
            method,
            settings: Settings::default(),
            sizes: Sizes { ipv4: 64, ipv6: 8 },
            network: network(),
            weight: 1,
            workers: 1,
            protocol: protocol::TCP,
            kernel_ring: 64,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut services = Services::default();
        services.services.push(Some(Service {
            endpoint: vip(),
            protocol: self.protocol,
            scheduler: Scheduler::Rr,
            destinations: vec![DestinationId(0)],
        }));
        services.destinations.push(Some(Destination {
            endpoint: server(),
            method: self.method,
            available: true,
            weight: self.weight,
            service: ServiceId(0),
            target: TargetId(0),
        }));
        services.by_endpoint.insert((vip(), self.protocol), ServiceId(0));
        services.addresses.insert(vip().address);
        if self.method == Method::Nat {
            services.nat_sources.insert((server(), self.protocol));
        }
        let targets: Vec<Target> = vec![self.network.target(server().address)];
        Snapshot {
            generation: 1,
            services: Arc::new(services),
            network: Arc::new(self.network.clone()),
            targets: targets.into(),
            settings: self.settings.clone(),
        }
    }

    pub(super) fn build(self) -> Bed {
        let (outside, inside) = (Wire::default(), Wire::default());
        let kernel: KernelRing<Frame> = Arc::new(ArrayQueue::new(self.kernel_ring));
        let board = Arc::new(Board::new(8));
        let port = |number, mac, queues: &Wire| Port { number, mac, queues: queues.clone() };
        let setup = Setup {
            me: WorkerId(0),
            steering: Steering { workers: self.workers, seed: Seed(3, 5) },
            ports: vec![port(0, CLIENT_SIDE, &outside), port(1, SERVER_SIDE, &inside)],
            sizes: self.sizes,
            services: 4,
            board: Arc::clone(&board),
            rings: WorkerRings::new(16),
            kernel: Arc::clone(&kernel),
            inject: Arc::new(ArrayQueue::new(8)),
            hand_off: (0..self.workers).map(|_| Arc::new(ArrayQueue::new(1))).collect(),
        };
        let mut worker = Worker::new(setup, Hand::default()).unwrap();
        worker.install(self.snapshot(), &[]);
        Bed { worker, outside, inside, kernel, board }
    }
}

/// Two links, a default route to a router outside, servers on the link inside.
pub(super) fn network() -> Network {
    let link = |port, mac, own| Link { port, vlan: None, mac, mtu: 1500, ipv4: Some(own), ipv6: None };
    let mut network = Network { generation: 1, ..Network::default() };
    network.links.push(link(0, CLIENT_SIDE, Ipv4Addr::new(10, 0, 1, 1)));
    network.links.push(link(1, SERVER_SIDE, Ipv4Addr::new(10, 0, 2, 1)));
    let send = |link, via| Route::Send { link: LinkId(link), via, mtu: None, source: None };
    network.routes4.insert("0.0.0.0/0".parse().unwrap(), send(0, Some(v4(10, 0, 1, 254))));
    network.routes4.insert("10.0.2.0/24".parse().unwrap(), send(1, None));
    network.local.insert(vip().address);
    for (link, address, mac) in [(0, v4(10, 0, 1, 254), ROUTER), (1, server().address, SERVER_MAC)] {
        let hop = Network::hop(&network.links[link as usize], mac)(ether::IPV4);
        network.neighbours.insert((LinkId(link), address), HopId(network.hops.len() as u32));
        network.hops.push(hop);
    }
    network
}

impl Bed {
    /// Takes a frame in at the client's side.
    pub(super) fn client_sends(&mut self, frame: &[u8]) {
        self.outside.put(frame);
        self.worker.turn();
        self.reconciles();
    }

    /// Takes a frame in at the servers' side.
    pub(super) fn server_sends(&mut self, frame: &[u8]) {
        self.inside.put(frame);
        self.worker.turn();
        self.reconciles();
    }

    pub(super) fn at(&mut self, millis: u64) -> &mut Bed {
        self.worker.clock().0 = Tick(millis);
        self
    }

    /// `in = out + dropped + to the kernel + handed off + waiting`.
    pub(super) fn reconciles(&self) {
        let gauges = &self.board.gauges;
        let dropped: u64 = gauges.drops.iter().map(crate::stats::Counter::get).sum();
        let out = gauges.sent.get() + dropped + gauges.to_kernel.get() + gauges.handed_off.get();
        let received = gauges.received.get() + gauges.taken_over.get() + gauges.from_kernel.get();
        assert_eq!(received, out + gauges.waiting.get());
    }
}

/// TCP from one endpoint to another, in a frame from `mac` outside or inside, with these flags.
pub(super) fn tcp(from: Endpoint, to: Endpoint, flags: &str) -> Vec<u8> {
    let (source, receiver) = if from == server() { (SERVER_MAC, SERVER_SIDE) } else { (ROUTER, CLIENT_SIDE) };
    let ether = PacketBuilder::ethernet2(source, receiver);
    let ip = match (from.address, to.address) {
        (IpAddr::V4(s), IpAddr::V4(d)) => ether.ipv4(s.octets(), d.octets(), 64),
        (IpAddr::V6(s), IpAddr::V6(d)) => ether.ipv6(s.octets(), d.octets(), 64),
        _ => panic!("mixed families"),
    };
    let mut tcp = ip.tcp(from.l4_port, to.l4_port, 1000, 1024);
    for flag in flags.chars() {
        tcp = match flag {
            'S' => tcp.syn(),
            'A' => tcp.ack(1),
            'F' => tcp.fin(),
            'R' => tcp.rst(),
            _ => tcp,
        };
    }
    let mut frame = Vec::new();
    tcp.write(&mut frame, &[]).unwrap();
    frame
}

/// UDP likewise.
pub(super) fn udp(from: Endpoint, to: Endpoint, data: &[u8]) -> Vec<u8> {
    let (source, receiver) = if from == server() { (SERVER_MAC, SERVER_SIDE) } else { (ROUTER, CLIENT_SIDE) };
    let ether = PacketBuilder::ethernet2(source, receiver);
    let (IpAddr::V4(s), IpAddr::V4(d)) = (from.address, to.address) else { panic!("IPv4 only") };
    let mut frame = Vec::new();
    ether.ipv4(s.octets(), d.octets(), 64).udp(from.l4_port, to.l4_port).write(&mut frame, data).unwrap();
    frame
}

/// Sets one byte and makes the IPv4 header checksum right again.
pub(super) fn with_byte(mut frame: Vec<u8>, place: usize, value: u8) -> Vec<u8> {
    frame[place] = value;
    crate::wire::ipv4::fill_checksum(&mut frame[14..]);
    frame
}

/// An ICMP error of this type and code about `quoted`, from a router outside.
pub(super) fn error_about(quoted: &[u8], to: IpAddr, kind: u8, code: u8) -> Vec<u8> {
    let IpAddr::V4(to) = to else { panic!("IPv4 only") };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv4([203, 0, 113, 1], to.octets(), 64)
        .icmpv4_raw(kind, code, [0; 4])
        .write(&mut frame, &quoted[14..])
        .unwrap();
    frame
}

//! Workers on two ports in memory, and namespaces that come and go there.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use etherparse::{PacketBuilder, SingleVlanHeader, VlanId};

use crate::config::{Command, ConfigEvents, Snapshot, WorkerRings};
use crate::conn::{Shared, Sizes};
use crate::flow::{Endpoint, Key, Seed};
use crate::io::mem::{Frame, ManualClock, Wire};
use crate::service::Method;
use crate::stats::{Counter, WorkerStats};
use crate::steer::{Spread, Steering, WorkerId};
use crate::testkit::*;
use crate::verdict::DropReason;
use crate::wire::protocol;
use crate::worker::binding::{Binding, NamespaceId};
use crate::worker::idle::IdleConfig;
use crate::worker::namespace::{NamespaceSetup, NamespaceWorker};
use crate::worker::namespace_rings::{NamespaceCommand, NamespaceRings, Retired};
use crate::worker::{Port, Setup, Worker};

/// What one namespace has outside the workers, and its part of each that has not been taken in yet.
pub(super) struct TestNamespace {
    pub(super) worker_stats: Vec<Arc<WorkerStats>>,
    pub(super) rings: Vec<Arc<WorkerRings>>,
    pub(super) kernel: Arc<ArrayQueue<(usize, Frame)>>,
    pub(super) inject: Arc<ArrayQueue<(usize, Frame)>>,
    pub(super) shared: Arc<Shared>,
    pub(super) setups: Vec<NamespaceSetup<Frame>>,
}

impl TestNamespace {
    pub(super) fn new(workers: u16) -> TestNamespace {
        TestNamespace::spread(workers, None)
    }

    /// One whose flows are shared out by what devices know too.
    pub(super) fn spread(workers: u16, spread: Option<Arc<Spread>>) -> TestNamespace {
        let (kernel, inject) = (Arc::new(ArrayQueue::new(64)), Arc::new(ArrayQueue::new(8)));
        let shared = Arc::new(Shared::new(16, 64));
        let hand_off: Box<[_]> = (0..workers).map(|_| Arc::new(ArrayQueue::new(64))).collect();
        let worker_stats: Vec<_> = (0..workers).map(|_| Arc::new(WorkerStats::new(16))).collect();
        let rings: Vec<_> = (0..workers).map(|_| WorkerRings::new(8)).collect();
        let setup = |me: u16| NamespaceSetup {
            me: WorkerId(me),
            steering: Steering { workers, seed: Seed(3, 5), spread: spread.clone() },
            ports: 2,
            sizes: Sizes { ipv4: 64, ipv6: 8 },
            shared: Arc::clone(&shared),
            services: 4,
            stats: Arc::clone(&worker_stats[usize::from(me)]),
            rings: Arc::clone(&rings[usize::from(me)]),
            kernel: Arc::clone(&kernel),
            inject: Arc::clone(&inject),
            hand_off: hand_off.clone(),
        };
        let setups = (0..workers).map(setup).collect();
        TestNamespace { worker_stats, rings, kernel, inject, shared, setups }
    }

    pub(super) fn drops(&self, why: DropReason) -> u64 {
        self.worker_stats.iter().map(|stats| stats.counters.drops[why as usize].get()).sum()
    }

    pub(super) fn sum(&self, of: fn(&WorkerStats) -> u64) -> u64 {
        self.worker_stats.iter().map(|stats| of(stats)).sum()
    }

    /// Whether anything was ever counted here.
    pub(super) fn is_silent(&self) -> bool {
        let silent = |stats: &WorkerStats| {
            let counters = &stats.counters;
            counters.received.get()
                + counters.sent.get()
                + counters.handoff_received.get()
                + counters.to_kernel.get()
                == 0
                && counters.drops.iter().all(|counter| counter.get() == 0)
                && stats.destinations.iter().all(|of| of.in_packets.get() + of.out_packets.get() == 0)
        };
        self.worker_stats.iter().all(|stats| silent(stats)) && self.kernel.is_empty()
    }

    pub(super) fn reconciles(&self) {
        let sum = |of: fn(&WorkerStats) -> u64| self.sum(of);
        let came = sum(|b| {
            b.counters.received.get() + b.counters.handoff_received.get() + b.counters.from_kernel.get()
        });
        let went =
            sum(|b| b.counters.sent.get() + b.counters.to_kernel.get() + b.counters.handoff_sent.get());
        let held = sum(|b| b.counters.awaiting_neighbour.get() + b.counters.reassembling.get());
        let dropped = sum(|b| b.counters.drops.iter().map(Counter::get).sum());
        assert_eq!(came, went + held + dropped, "every packet of a namespace is counted once, in it");
    }
}

/// Workers on the same two ports; each has its own queues.
pub(super) struct World {
    pub(super) workers: Vec<Worker<Wire, ManualClock>>,
    pub(super) namespace_rings: Vec<Arc<NamespaceRings<Frame>>>,
    pub(super) outside: Vec<Wire>,
    pub(super) inside: Vec<Wire>,
    pub(super) default_namespace: TestNamespace,
    pub(super) commands: u64,
}

impl World {
    pub(super) fn new(workers: u16) -> World {
        World::of(TestNamespace::new(workers))
    }

    /// Workers whose default namespace is this.
    pub(super) fn of(mut default_namespace: TestNamespace) -> World {
        let mut world = World {
            workers: Vec::new(),
            namespace_rings: Vec::new(),
            outside: Vec::new(),
            inside: Vec::new(),
            default_namespace: TestNamespace::new(0),
            commands: 0,
        };
        for setup in std::mem::take(&mut default_namespace.setups) {
            let (outside, inside, namespace_rings) =
                (Wire::default(), Wire::default(), NamespaceRings::new(4));
            let port = |number, mac, wire: &Wire| Port {
                number,
                mac,
                queues: wire.clone(),
                binding: Binding::default(),
            };
            let ports = vec![port(0, CLIENT_SIDE, &outside), port(1, SERVER_SIDE, &inside)];
            let setup = Setup {
                ports,
                default_namespace: setup,
                namespace_rings: Arc::clone(&namespace_rings),
                idle: IdleConfig::default(),
            };
            world.workers.push(Worker::new(setup, ManualClock::default()).unwrap());
            world.namespace_rings.push(namespace_rings);
            world.outside.push(outside);
            world.inside.push(inside);
        }
        World { default_namespace, ..world }
    }

    /// One order to every worker; what they give back.
    pub(super) fn order(&mut self, order: impl Fn(usize) -> NamespaceCommand<Frame>) -> Vec<Retired<Frame>> {
        self.commands += 1;
        let number = self.commands;
        for (worker, namespace_rings) in self.namespace_rings.iter().enumerate() {
            assert!(namespace_rings.commands.push((number, order(worker))).is_ok());
        }
        self.turn();
        let done = |namespace_rings: &Arc<NamespaceRings<Frame>>| {
            namespace_rings.done.pop().filter(|done| done.0 == number).unwrap().1
        };
        self.namespace_rings.iter().map(done).collect()
    }

    /// Takes a namespace in and has it act on `snapshot`.
    pub(super) fn enter_state(&mut self, id: NamespaceId, snapshot: &Snapshot) -> TestNamespace {
        let mut realm = TestNamespace::new(self.workers.len() as u16);
        let setups = std::mem::take(&mut realm.setups);
        let tenants: Vec<_> =
            setups.into_iter().map(|setup| Some(Box::new(NamespaceWorker::new(setup).unwrap()))).collect();
        let tenants = std::cell::RefCell::new(tenants);
        self.order(|worker| NamespaceCommand::Enter(id, tenants.borrow_mut()[worker].take().unwrap()));
        for rings in &realm.rings {
            let install = Command::Install(Box::new(snapshot.clone()), ConfigEvents::default());
            assert!(rings.commands.push(install).is_ok());
        }
        self.turn();
        realm
    }

    pub(super) fn bind(&mut self, ports: [Binding; 2]) {
        self.order(|_| NamespaceCommand::Bind(Box::new(ports.clone())));
    }

    pub(super) fn leave(&mut self, id: NamespaceId) -> Vec<Box<NamespaceWorker<Frame>>> {
        let namespace = |retired| match retired {
            Retired::NamespaceWorker(namespace) => namespace,
            _ => panic!("the namespace is given back"),
        };
        self.order(|_| NamespaceCommand::Leave(id)).into_iter().map(namespace).collect()
    }

    /// Often enough for what is handed over to arrive.
    pub(super) fn turn(&mut self) {
        for _ in 0..3 {
            self.workers.iter_mut().for_each(|worker| _ = worker.turn());
        }
    }

    pub(super) fn left(wires: &[Wire]) -> Vec<Vec<u8>> {
        wires.iter().flat_map(|wire| std::iter::from_fn(|| wire.take())).collect()
    }
}

pub(super) fn on(port: NamespaceId, vlans: &[(u16, NamespaceId)]) -> Binding {
    Binding { port, vlans: vlans.to_vec() }
}

/// The snapshot of a namespace whose only destination is this one; the addresses are the same in all.
pub(super) fn serving(nth: u8, vlan: Option<u16>) -> Snapshot {
    let mut network = network();
    for link in &mut network.links {
        link.vlan = vlan;
    }
    (network.neighbours, network.hops) = Default::default();
    neighbour(&mut network, 0, v4(10, 0, 1, 254), ROUTER);
    neighbour(&mut network, 1, nth_server(nth).address, SERVER_MAC);
    let plan = Plan { network, ..Plan::new(Method::Nat) };
    let mut snapshot = plan.snapshot();
    let mut services = crate::service::Services::default();
    plan.serve(&mut services, vip(), std::iter::once(nth_server(nth)));
    snapshot.services = Arc::new(services);
    snapshot.targets = Arc::new([plan.network.target(nth_server(nth).address)]);
    snapshot.build_adjacencies();
    snapshot
}

pub(super) fn syn(from: Endpoint, to: Endpoint, vlan: Option<u16>) -> Vec<u8> {
    let from_client = to.address == vip().address;
    let (source, receiver) = if from_client { (ROUTER, CLIENT_SIDE) } else { (SERVER_MAC, SERVER_SIDE) };
    let (IpAddr::V4(s), IpAddr::V4(d)) = (from.address, to.address) else { panic!("IPv4 only") };
    let ether = PacketBuilder::ethernet2(source, receiver);
    let ip = match vlan {
        Some(vlan) => ether.single_vlan(VlanId::try_new(vlan).unwrap()).ipv4(s.octets(), d.octets(), 64),
        None => ether.ipv4(s.octets(), d.octets(), 64),
    };
    let tcp = ip.tcp(from.l4_port, to.l4_port, 1, 1024).syn();
    let tcp = if from_client { tcp } else { tcp.ack(1) };
    let mut frame = Vec::new();
    tcp.write(&mut frame, &[]).unwrap();
    frame
}

/// Where a frame goes, and with which tag.
pub(super) fn heading(frame: &[u8]) -> ([u8; 4], Option<u16>) {
    let tag = (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
    let ip = if tag.is_some() { SingleVlanHeader::LEN + 14 } else { 14 };
    (frame[ip + 16..ip + 20].try_into().unwrap(), tag)
}

pub(super) fn knows(namespace: &NamespaceWorker<Frame>) -> bool {
    let key = Key::between(client(), vip(), protocol::TCP).unwrap();
    namespace.pipeline.conns.find(namespace.pipeline.conns.hash(&key), &key).is_some()
}

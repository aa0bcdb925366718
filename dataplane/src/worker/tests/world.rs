//! Workers on two ports in memory, with namespaces that are added and removed.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use etherparse::{PacketBuilder, SingleVlanHeader, VlanId};

use crate::config::{Command, ConfigEvents, Snapshot, WorkerRings};
use crate::conn::Shared;
use crate::flow::{Endpoint, Key};
use crate::io::mem::{Frame, ManualClock, Wire};
use crate::service::Method;
use crate::stats::{Counter, WorkerStats};
use crate::steer::RssKeys;
use crate::testkit::*;
use crate::verdict::DropReason;
use crate::wire::protocol;
use crate::worker::binding::{Binding, NamespaceId};
use crate::worker::namespace::{NamespaceSetup, NamespaceWorker};
use crate::worker::namespace_parts::NamespaceParts;
use crate::worker::namespace_rings::{NamespaceCommand, NamespaceRings, Returned};
use crate::worker::{Port, Setup, Worker};

/// Control's end of one namespace, and the setups of the workers that have not been built yet.
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
        TestNamespace::with_rss(workers, None)
    }

    /// A namespace whose flows are distributed by the devices' hash.
    pub(super) fn with_rss(workers: u16, rss_keys: Option<Arc<RssKeys>>) -> TestNamespace {
        let plan = Plan { workers, rss_keys, hand_off_ring: 64, ..Plan::new(Method::Nat) };
        let NamespaceParts { setups, kernel, inject, shared } = plan.namespace_parts();
        let worker_stats = setups.iter().map(|setup| Arc::clone(&setup.stats)).collect();
        let rings = setups.iter().map(|setup| Arc::clone(&setup.rings)).collect();
        TestNamespace { worker_stats, rings, kernel, inject, shared, setups }
    }

    pub(super) fn drops(&self, why: DropReason) -> u64 {
        self.worker_stats.iter().map(|stats| stats.counters.drops[why as usize].get()).sum()
    }

    pub(super) fn sum(&self, counter: fn(&WorkerStats) -> u64) -> u64 {
        self.worker_stats.iter().map(|stats| counter(stats)).sum()
    }

    /// Whether nothing was counted here.
    pub(super) fn is_unused(&self) -> bool {
        let unused = |stats: &WorkerStats| {
            let counters = &stats.counters;
            counters.received.get()
                + counters.sent.get()
                + counters.handoff_received.get()
                + counters.to_kernel.get()
                == 0
                && counters.drops.iter().all(|counter| counter.get() == 0)
                && stats
                    .destinations
                    .iter()
                    .all(|counters| counters.in_packets.get() + counters.out_packets.get() == 0)
        };
        self.worker_stats.iter().all(|stats| unused(stats)) && self.kernel.is_empty()
    }

    pub(super) fn assert_reconciled(&self) {
        let sum = |counter: fn(&WorkerStats) -> u64| self.sum(counter);
        let received = sum(|stats| {
            stats.counters.received.get()
                + stats.counters.handoff_received.get()
                + stats.counters.from_kernel.get()
        });
        let sent = sum(|stats| {
            stats.counters.sent.get() + stats.counters.to_kernel.get() + stats.counters.handoff_sent.get()
        });
        let held = sum(|stats| stats.counters.awaiting_neighbour.get() + stats.counters.reassembling.get());
        let dropped = sum(|stats| stats.counters.drops.iter().map(Counter::get).sum());
        assert_eq!(received, sent + held + dropped, "every packet is counted once, in its own namespace");
    }
}

/// Workers that share two ports, each with its own queues.
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

    /// Workers with this default namespace.
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
            let (outside, inside) = (Wire::default(), Wire::default());
            let ports = vec![Port::new(0, outside.clone()), Port::new(1, inside.clone())];
            let setup = Setup::new(ports, setup);
            let namespace_rings = Arc::clone(&setup.namespace_rings);
            world.workers.push(Worker::new(setup, ManualClock::default()).unwrap());
            world.namespace_rings.push(namespace_rings);
            world.outside.push(outside);
            world.inside.push(inside);
        }
        World { default_namespace, ..world }
    }

    /// Sends a command to every worker and returns the answers.
    pub(super) fn command(
        &mut self,
        command: impl Fn(usize) -> NamespaceCommand<Frame>,
    ) -> Vec<Returned<Frame>> {
        self.commands += 1;
        let number = self.commands;
        for (worker, namespace_rings) in self.namespace_rings.iter().enumerate() {
            assert!(namespace_rings.commands.push((number, command(worker))).is_ok());
        }
        self.poll();
        let done = |namespace_rings: &Arc<NamespaceRings<Frame>>| {
            namespace_rings.done.pop().filter(|done| done.0 == number).unwrap().1
        };
        self.namespace_rings.iter().map(done).collect()
    }

    /// Adds a namespace and installs `snapshot` in it.
    pub(super) fn add_namespace(&mut self, id: NamespaceId, snapshot: &Snapshot) -> TestNamespace {
        let mut namespace = TestNamespace::new(self.workers.len() as u16);
        let setups = std::mem::take(&mut namespace.setups);
        let workers: Vec<_> =
            setups.into_iter().map(|setup| Some(Box::new(NamespaceWorker::new(setup).unwrap()))).collect();
        let workers = std::cell::RefCell::new(workers);
        self.command(|worker| NamespaceCommand::Add(id, workers.borrow_mut()[worker].take().unwrap()));
        for rings in &namespace.rings {
            let install = Command::Install(Box::new(snapshot.clone()), ConfigEvents::default());
            assert!(rings.commands.push(install).is_ok());
        }
        self.poll();
        namespace
    }

    pub(super) fn bind(&mut self, ports: [Binding; 2]) {
        self.command(|_| NamespaceCommand::Bind(Box::new(ports.clone())));
    }

    pub(super) fn remove_namespace(&mut self, id: NamespaceId) -> Vec<NamespaceWorker<Frame>> {
        let namespace = |returned| match returned {
            Returned::NamespaceWorker(namespace) => *namespace,
            _ => panic!("the namespace is returned"),
        };
        self.command(|_| NamespaceCommand::Remove(id)).into_iter().map(namespace).collect()
    }

    /// Polls often enough for handed-off packets to arrive.
    pub(super) fn poll(&mut self) {
        for _ in 0..3 {
            self.workers.iter_mut().for_each(|worker| _ = worker.poll_once());
        }
    }

    pub(super) fn take_sent(wires: &[Wire]) -> Vec<Vec<u8>> {
        wires.iter().flat_map(|wire| std::iter::from_fn(|| wire.take())).collect()
    }
}

pub(super) fn bound(port: NamespaceId, vlans: &[(u16, NamespaceId)]) -> Binding {
    Binding { port, vlans: vlans.to_vec() }
}

/// The snapshot of a namespace with one destination, the `nth` server. The service is the same in all.
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
    snapshot.build_lookups();
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

/// The destination address and the VLAN of a frame.
pub(super) fn destination_and_vlan(frame: &[u8]) -> ([u8; 4], Option<u16>) {
    let tag = (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
    let ip = if tag.is_some() { SingleVlanHeader::LEN + 14 } else { 14 };
    (frame[ip + 16..ip + 20].try_into().unwrap(), tag)
}

pub(super) fn has_connection(namespace: &NamespaceWorker<Frame>) -> bool {
    let key = Key::between(client(), vip(), protocol::TCP).unwrap();
    namespace.pipeline.conns.find(namespace.pipeline.conns.hash(&key), &key).is_some()
}

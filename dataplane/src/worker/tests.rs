//! Namespaces at a worker: the same addresses in each, and nothing that crosses.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use etherparse::{PacketBuilder, SingleVlanHeader, VlanId};

use super::binding::{Binding, NamespaceId};
use super::moves::{Move, Moves, Retired};
use super::tenant::{Tenant, TenantSetup};
use super::{Port, Setup, Worker};
use crate::config::{Command, Snapshot, WorkerRings};
use crate::conn::{Shared, Sizes};
use crate::flow::{Endpoint, Key, Seed};
use crate::io::mem::{Frame, Hand, Wire};
use crate::packet::Packet;
use crate::service::Method;
use crate::stats::{Board, Counter};
use crate::steer::{Steering, WorkerId};
use crate::testkit::*;
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wire::protocol;

const BLUE: NamespaceId = NamespaceId(1);
const GREEN: NamespaceId = NamespaceId(2);

/// What one namespace has outside the workers, and its part of each that has not been taken in yet.
struct Realm {
    boards: Vec<Arc<Board>>,
    rings: Vec<Arc<WorkerRings>>,
    kernel: Arc<ArrayQueue<(usize, Frame)>>,
    inject: Arc<ArrayQueue<(usize, Frame)>>,
    shared: Arc<Shared>,
    setups: Vec<TenantSetup<Frame>>,
}

impl Realm {
    fn new(workers: u16) -> Realm {
        let (kernel, inject) = (Arc::new(ArrayQueue::new(64)), Arc::new(ArrayQueue::new(8)));
        let shared = Arc::new(Shared::new(16, 64));
        let hand_off: Box<[_]> = (0..workers).map(|_| Arc::new(ArrayQueue::new(64))).collect();
        let boards: Vec<_> = (0..workers).map(|_| Arc::new(Board::new(16))).collect();
        let rings: Vec<_> = (0..workers).map(|_| WorkerRings::new(8)).collect();
        let setup = |me: u16| TenantSetup {
            me: WorkerId(me),
            steering: Steering { workers, seed: Seed(3, 5) },
            ports: 2,
            sizes: Sizes { ipv4: 64, ipv6: 8 },
            shared: Arc::clone(&shared),
            services: 4,
            board: Arc::clone(&boards[usize::from(me)]),
            rings: Arc::clone(&rings[usize::from(me)]),
            kernel: Arc::clone(&kernel),
            inject: Arc::clone(&inject),
            hand_off: hand_off.clone(),
        };
        let setups = (0..workers).map(setup).collect();
        Realm { boards, rings, kernel, inject, shared, setups }
    }

    fn drops(&self, why: DropReason) -> u64 {
        self.boards.iter().map(|board| board.gauges.drops[why as usize].get()).sum()
    }

    fn sum(&self, of: fn(&Board) -> u64) -> u64 {
        self.boards.iter().map(|board| of(board)).sum()
    }

    /// Whether anything was ever counted here.
    fn is_silent(&self) -> bool {
        let silent = |board: &Board| {
            let gauges = &board.gauges;
            gauges.received.get() + gauges.sent.get() + gauges.taken_over.get() + gauges.to_kernel.get() == 0
                && gauges.drops.iter().all(|counter| counter.get() == 0)
                && board.destinations.iter().all(|of| of.in_packets.get() + of.out_packets.get() == 0)
        };
        self.boards.iter().all(|board| silent(board)) && self.kernel.is_empty()
    }

    fn reconciles(&self) {
        let sum = |of: fn(&Board) -> u64| self.sum(of);
        let came = sum(|b| b.gauges.received.get() + b.gauges.taken_over.get() + b.gauges.from_kernel.get());
        let went = sum(|b| b.gauges.sent.get() + b.gauges.to_kernel.get() + b.gauges.handed_off.get());
        let held = sum(|b| b.gauges.waiting.get() + b.gauges.gathering.get());
        let dropped = sum(|b| b.gauges.drops.iter().map(Counter::get).sum());
        assert_eq!(came, went + held + dropped, "every packet of a namespace is counted once, in it");
    }
}

/// Workers on the same two ports; each has its own queues.
struct World {
    workers: Vec<Worker<Wire, Hand>>,
    moves: Vec<Arc<Moves<Frame>>>,
    outside: Vec<Wire>,
    inside: Vec<Wire>,
    home: Realm,
    orders: u64,
}

impl World {
    fn new(workers: u16) -> World {
        let mut home = Realm::new(workers);
        let mut world = World {
            workers: Vec::new(),
            moves: Vec::new(),
            outside: Vec::new(),
            inside: Vec::new(),
            home: Realm::new(0),
            orders: 0,
        };
        for setup in std::mem::take(&mut home.setups) {
            let (outside, inside, moves) = (Wire::default(), Wire::default(), Moves::new(4));
            let port = |number, mac, wire: &Wire| Port {
                number,
                mac,
                queues: wire.clone(),
                binding: Binding::default(),
            };
            let ports = vec![port(0, CLIENT_SIDE, &outside), port(1, SERVER_SIDE, &inside)];
            let setup = Setup { ports, home: setup, moves: Arc::clone(&moves) };
            world.workers.push(Worker::new(setup, Hand::default()).unwrap());
            world.moves.push(moves);
            world.outside.push(outside);
            world.inside.push(inside);
        }
        World { home, ..world }
    }

    /// One order to every worker; what they give back.
    fn order(&mut self, order: impl Fn(usize) -> Move<Frame>) -> Vec<Retired<Frame>> {
        self.orders += 1;
        let number = self.orders;
        for (worker, moves) in self.moves.iter().enumerate() {
            assert!(moves.orders.push((number, order(worker))).is_ok());
        }
        self.turn();
        let done = |moves: &Arc<Moves<Frame>>| moves.done.pop().filter(|done| done.0 == number).unwrap().1;
        self.moves.iter().map(done).collect()
    }

    /// Takes a namespace in and has it act on `snapshot`.
    fn enter(&mut self, id: NamespaceId, snapshot: &Snapshot) -> Realm {
        let mut realm = Realm::new(self.workers.len() as u16);
        let setups = std::mem::take(&mut realm.setups);
        let tenants: Vec<_> =
            setups.into_iter().map(|setup| Some(Box::new(Tenant::new(setup).unwrap()))).collect();
        let tenants = std::cell::RefCell::new(tenants);
        self.order(|worker| Move::Enter(id, tenants.borrow_mut()[worker].take().unwrap()));
        for rings in &realm.rings {
            let install = Command::Install(Box::new(snapshot.clone()), Box::new([]));
            assert!(rings.commands.push(install).is_ok());
        }
        self.turn();
        realm
    }

    fn bind(&mut self, ports: [Binding; 2]) {
        self.order(|_| Move::Bind(Box::new(ports.clone())));
    }

    fn leave(&mut self, id: NamespaceId) -> Vec<Box<Tenant<Frame>>> {
        let tenant = |retired| match retired {
            Retired::Tenant(tenant) => tenant,
            _ => panic!("the namespace is given back"),
        };
        self.order(|_| Move::Leave(id)).into_iter().map(tenant).collect()
    }

    /// Often enough for what is handed over to arrive.
    fn turn(&mut self) {
        for _ in 0..3 {
            self.workers.iter_mut().for_each(|worker| _ = worker.turn());
        }
    }

    fn left(wires: &[Wire]) -> Vec<Vec<u8>> {
        wires.iter().flat_map(|wire| std::iter::from_fn(|| wire.take())).collect()
    }
}

fn on(whole: NamespaceId, vlans: &[(u16, NamespaceId)]) -> Binding {
    Binding { whole, vlans: vlans.to_vec() }
}

/// The snapshot of a namespace whose only destination is this one; the addresses are the same in all.
fn serving(nth: u8, vlan: Option<u16>) -> Snapshot {
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
    snapshot
}

fn syn(from: Endpoint, to: Endpoint, vlan: Option<u16>) -> Vec<u8> {
    let inwards = to == vip();
    let (source, receiver) = if inwards { (ROUTER, CLIENT_SIDE) } else { (SERVER_MAC, SERVER_SIDE) };
    let (IpAddr::V4(s), IpAddr::V4(d)) = (from.address, to.address) else { panic!("IPv4 only") };
    let ether = PacketBuilder::ethernet2(source, receiver);
    let ip = match vlan {
        Some(vlan) => ether.single_vlan(VlanId::try_new(vlan).unwrap()).ipv4(s.octets(), d.octets(), 64),
        None => ether.ipv4(s.octets(), d.octets(), 64),
    };
    let tcp = ip.tcp(from.l4_port, to.l4_port, 1, 1024).syn();
    let tcp = if inwards { tcp } else { tcp.ack(1) };
    let mut frame = Vec::new();
    tcp.write(&mut frame, &[]).unwrap();
    frame
}

/// Where a frame goes, and with which tag.
fn heading(frame: &[u8]) -> ([u8; 4], Option<u16>) {
    let tag = (frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff);
    let ip = if tag.is_some() { SingleVlanHeader::LEN + 14 } else { 14 };
    (frame[ip + 16..ip + 20].try_into().unwrap(), tag)
}

fn knows(tenant: &Tenant<Frame>) -> bool {
    let key = Key::between(client(), vip(), protocol::TCP).unwrap();
    tenant.line.conns.find(tenant.line.conns.hash(&key), &key).is_some()
}

#[test]
fn a_whole_port_is_its_namespaces() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.enter(BLUE, &serving(1, None));
    world.bind([on(BLUE, &[]), on(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    let sent = World::left(&world.inside);
    assert_eq!((sent.len(), heading(&sent[0])), (1, ([10, 0, 2, 3], None)));
    assert!(world.home.is_silent());
    assert_eq!(blue.boards[0].destinations[0].in_packets.get(), 1);
    world.inside[0].put(&syn(nth_server(1), client(), None));
    world.turn();
    assert_eq!(World::left(&world.outside).len(), 1);
    assert_eq!(blue.boards[0].destinations[0].out_packets.get(), 1);
    assert!(world.home.is_silent());
    blue.reconciles();
}

#[test]
fn the_same_flow_is_another_in_each_vlan() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.enter(BLUE, &serving(1, Some(100)));
    let green = world.enter(GREEN, &serving(2, Some(200)));
    let binding = on(NamespaceId::DEFAULT, &[(100, BLUE), (200, GREEN)]);
    world.bind([binding.clone(), binding]);
    // One burst with frames of all three, mixed.
    for vlan in [Some(100), None, Some(200), Some(100), None] {
        world.outside[0].put(&syn(client(), vip(), vlan));
    }
    world.turn();
    let mut went: Vec<_> = World::left(&world.inside).iter().map(|frame| heading(frame)).collect();
    went.sort_unstable();
    let untagged = ([10, 0, 2, 2], None);
    let (blues, greens) = (([10, 0, 2, 3], Some(100)), ([10, 0, 2, 4], Some(200)));
    assert_eq!(went, [untagged, untagged, blues, blues, greens]);
    for (realm, packets) in [(&world.home, 2), (&blue, 2), (&green, 1)] {
        assert_eq!(realm.boards[0].gauges.received.get(), packets);
        assert_eq!(realm.boards[0].destinations[0].connections.get(), 1);
        assert_eq!(realm.boards[0].destinations[0].in_packets.get(), packets);
        realm.reconciles();
    }
    // A destination's answer is translated where its connection is, and nowhere else.
    world.inside[0].put(&syn(nth_server(1), client(), Some(200)));
    world.turn();
    assert_eq!(blue.boards[0].destinations[0].out_packets.get(), 0);
    assert_eq!((green.kernel.len(), blue.kernel.len(), world.home.kernel.len()), (1, 0, 0));
    assert!(World::left(&world.outside).is_empty());
    world.inside[0].put(&syn(nth_server(1), client(), Some(100)));
    world.turn();
    assert_eq!(World::left(&world.outside).len(), 1);
    assert_eq!(blue.boards[0].destinations[0].out_packets.get(), 1);
}

/// A first or last fragment of a UDP datagram of 16 bytes of data.
fn fragment(last: bool, vlan: u16, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let (IpAddr::V4(s), IpAddr::V4(d)) = (client().address, vip().address) else { panic!("IPv4 only") };
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .single_vlan(VlanId::try_new(vlan).unwrap())
        .ipv4(s.octets(), d.octets(), 64)
        .udp(client().l4_port, vip().l4_port)
        .write(&mut frame, &[7; 16])
        .unwrap();
    let (ip, flags) = (18, if last { 1u16 } else { 0x2000 });
    frame[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
    frame[ip + 6..ip + 8].copy_from_slice(&flags.to_be_bytes());
    if last {
        frame.drain(ip + 20..ip + 28);
        frame[ip + 2..ip + 4].copy_from_slice(&36u16.to_be_bytes());
    } else {
        frame.truncate(ip + 28);
        frame[ip + 2..ip + 4].copy_from_slice(&28u16.to_be_bytes());
    }
    crate::wire::ipv4::fill_checksum(&mut frame[ip..]);
    frame
}

#[test]
fn fragments_of_one_namespace_do_not_complete_those_of_another() {
    let mut world = World::new(1);
    let udp = |nth, vlan| {
        let mut snapshot = serving(nth, Some(vlan));
        let plan = Plan { protocol: protocol::UDP, ..Plan::new(Method::Nat) };
        let mut services = crate::service::Services::default();
        plan.serve(&mut services, vip(), std::iter::once(nth_server(nth)));
        snapshot.services = Arc::new(services);
        snapshot
    };
    let (blue, green) = (world.enter(BLUE, &udp(1, 100)), world.enter(GREEN, &udp(2, 200)));
    let binding = on(NamespaceId::DEFAULT, &[(100, BLUE), (200, GREEN)]);
    world.bind([binding.clone(), binding]);
    // The same datagram in two halves, one in each namespace.
    world.outside[0].put(&fragment(false, 100, 9));
    world.outside[0].put(&fragment(true, 200, 9));
    world.turn();
    assert!(World::left(&world.inside).is_empty());
    assert_eq!((blue.sum(|b| b.gauges.gathering.get()), green.sum(|b| b.gauges.gathering.get())), (1, 1));
    world.outside[0].put(&fragment(true, 100, 9));
    world.turn();
    let went: Vec<_> = World::left(&world.inside).iter().map(|frame| heading(frame)).collect();
    assert_eq!(went, [([10, 0, 2, 3], Some(100)); 2]);
    assert_eq!((blue.sum(|b| b.gauges.gathering.get()), green.sum(|b| b.gauges.gathering.get())), (0, 1));
    blue.reconciles();
    green.reconciles();
}

#[test]
fn what_leaves_is_given_back_whole_and_comes_again_empty() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.enter(BLUE, &serving(1, None));
    let bound = [on(BLUE, &[]), on(BLUE, &[])];
    world.bind(bound.clone());
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    assert!(knows(world.workers[0].guest(1)));
    // Packets go on while it leaves: from the same turn on they are the default namespace's.
    world.outside[0].put(&syn(client(), vip(), None));
    world.bind(<[Binding; 2]>::default());
    let gone = world.leave(BLUE);
    assert!(knows(&gone[0]), "nothing is thrown away at the worker");
    assert!(world.workers[0].guests.is_empty());
    assert_eq!(blue.boards[0].gauges.received.get(), 1);
    assert_eq!(world.home.boards[0].destinations[0].in_packets.get(), 1);
    drop(gone);
    assert_eq!(Arc::strong_count(&blue.boards[0]), 1, "control holds the last of it");
    assert_eq!((Arc::strong_count(&blue.shared), Arc::strong_count(&blue.kernel)), (1, 1));
    let again = world.enter(BLUE, &serving(1, None));
    world.bind(bound);
    assert!(again.is_silent() && !knows(world.workers[0].guest(1)));
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    assert_eq!(again.boards[0].destinations[0].connections.get(), 1);
    assert_eq!(blue.boards[0].destinations[0].connections.get(), 1);
}

#[test]
fn two_workers_hand_over_within_a_namespace() {
    let mut world = World::new(2);
    for worker in &mut world.workers {
        worker.install(serving(0, None), &[]);
    }
    let blue = world.enter(BLUE, &serving(1, Some(100)));
    let binding = on(NamespaceId::DEFAULT, &[(100, BLUE)]);
    world.bind([binding.clone(), binding]);
    // Every flow comes in at worker 0, tagged and untagged, from clients enough for both workers.
    for host in 1..=20 {
        let from = at(v4(192, 0, 2, host), 40000);
        world.outside[0].put(&syn(from, vip(), Some(100)));
        world.outside[0].put(&syn(from, vip(), None));
    }
    world.turn();
    for realm in [&blue, &world.home] {
        assert!(realm.sum(|b| b.gauges.handed_off.get()) > 0, "some are the other worker's");
        assert_eq!(realm.sum(|b| b.gauges.handed_off.get()), realm.sum(|b| b.gauges.taken_over.get()));
        assert_eq!(realm.sum(|b| b.destinations[0].connections.get()), 20);
        assert!(realm.boards.iter().all(|board| board.destinations[0].connections.get() > 0));
        realm.reconciles();
    }
    let went = World::left(&world.inside);
    let to = |destination, tag| went.iter().filter(|frame| heading(frame) == (destination, tag)).count();
    assert_eq!((to([10, 0, 2, 3], Some(100)), to([10, 0, 2, 2], None), went.len()), (20, 20, 40));
}

#[test]
fn the_kernel_sends_by_what_is_bound_to_its_namespace_only() {
    let mut world = World::new(1);
    let blue = world.enter(BLUE, &serving(1, Some(100)));
    world.bind([on(NamespaceId::DEFAULT, &[(100, BLUE)]), Binding::default()]);
    let (plain, tagged) = (syn(client(), vip(), None), syn(client(), vip(), Some(100)));
    for (realm, frame, goes) in
        [(&blue, &tagged, 1), (&blue, &plain, 0), (&world.home, &plain, 1), (&world.home, &tagged, 0)]
    {
        let before = realm.drops(DropReason::OtherNamespace);
        assert!(realm.inject.push((0, Frame::new(frame))).is_ok());
        world.workers[0].turn();
        assert_eq!(World::left(&world.outside).len(), goes);
        assert_eq!(realm.drops(DropReason::OtherNamespace) - before, 1 - goes as u64);
        realm.reconciles();
    }
}

#[test]
fn what_is_not_balanced_goes_to_the_namespaces_own_kernel() {
    let mut world = World::new(1);
    let blue = world.enter(BLUE, &serving(1, Some(100)));
    world.bind([on(NamespaceId::DEFAULT, &[(100, BLUE)]), Binding::default()]);
    let other = at(v4(10, 9, 9, 77), 22);
    for vlan in [Some(100), None] {
        let mut frame = syn(client(), other, vlan);
        frame[..6].copy_from_slice(&CLIENT_SIDE);
        world.outside[0].put(&frame);
    }
    world.turn();
    let kernels = [&blue, &world.home].map(|realm| {
        let (port, frame) = realm.kernel.pop().unwrap();
        assert!(realm.kernel.is_empty());
        (port, heading(frame.bytes()).1)
    });
    assert_eq!(kernels, [(0, Some(100)), (0, None)]);
}

#[test]
fn connections_of_each_namespace_expire() {
    let mut world = World::new(1);
    let blue = world.enter(BLUE, &serving(1, None));
    world.bind([on(BLUE, &[]), on(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    let load = || blue.boards[0].destinations[0].load();
    assert_eq!(load().active + load().inactive, 1);
    for second in 0..70 {
        world.workers[0].clock().0 = Tick(second * 1000);
        world.turn();
    }
    assert!(!knows(world.workers[0].guest(1)));
    assert_eq!(load().active + load().inactive, 0);
}

#[test]
fn orders_that_fit_nothing_change_nothing() {
    let mut world = World::new(1);
    let mut none = |order: Move<Frame>| {
        let order = std::cell::RefCell::new(Some(order));
        world.order(|_| order.borrow_mut().take().unwrap()).remove(0)
    };
    assert!(matches!(none(Move::Leave(BLUE)), Retired::Nothing));
    assert!(matches!(none(Move::Leave(NamespaceId::DEFAULT)), Retired::Nothing));
    let tenant = || Box::new(Tenant::new(Realm::new(1).setups.remove(0)).unwrap());
    assert!(matches!(none(Move::Enter(NamespaceId::DEFAULT, tenant())), Retired::Tenant(_)));
    assert!(matches!(none(Move::Enter(NamespaceId(256), tenant())), Retired::Tenant(_)));
    assert!(matches!(none(Move::Enter(BLUE, tenant())), Retired::Nothing));
    assert!(matches!(none(Move::Enter(BLUE, tenant())), Retired::Tenant(_)), "the one before is given back");
}

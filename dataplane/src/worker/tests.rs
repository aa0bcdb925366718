//! Namespaces at a worker: the same addresses in each, and nothing that crosses.

mod commands;
mod sleep;
mod spread;
mod world;

use std::net::IpAddr;
use std::sync::Arc;

use etherparse::{PacketBuilder, VlanId};

use super::binding::{Binding, NamespaceId};
use super::namespace::NamespaceWorker;
use super::namespace_rings::{NamespaceCommand, Retired};
use crate::io::mem::Frame;
use crate::packet::Packet;
use crate::service::Method;
use crate::testkit::*;
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wire::protocol;
use world::{TestNamespace, World, heading, knows, on, serving, syn};

const BLUE: NamespaceId = NamespaceId(1);
const GREEN: NamespaceId = NamespaceId(2);

#[test]
fn a_whole_port_is_its_namespaces() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.enter_state(BLUE, &serving(1, None));
    world.bind([on(BLUE, &[]), on(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    let sent = World::left(&world.inside);
    assert_eq!((sent.len(), heading(&sent[0])), (1, ([10, 0, 2, 3], None)));
    assert!(world.default_namespace.is_silent());
    assert_eq!(blue.worker_stats[0].destinations[0].in_packets.get(), 1);
    world.inside[0].put(&syn(nth_server(1), client(), None));
    world.turn();
    assert_eq!(World::left(&world.outside).len(), 1);
    assert_eq!(blue.worker_stats[0].destinations[0].out_packets.get(), 1);
    assert!(world.default_namespace.is_silent());
    blue.reconciles();
}

#[test]
fn the_same_flow_is_another_in_each_vlan() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.enter_state(BLUE, &serving(1, Some(100)));
    let green = world.enter_state(GREEN, &serving(2, Some(200)));
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
    for (realm, packets) in [(&world.default_namespace, 2), (&blue, 2), (&green, 1)] {
        assert_eq!(realm.worker_stats[0].counters.received.get(), packets);
        assert_eq!(realm.worker_stats[0].destinations[0].connections.get(), 1);
        assert_eq!(realm.worker_stats[0].destinations[0].in_packets.get(), packets);
        realm.reconciles();
    }
    // A destination's answer is translated where its connection is, and nowhere else.
    world.inside[0].put(&syn(nth_server(1), client(), Some(200)));
    world.turn();
    assert_eq!(blue.worker_stats[0].destinations[0].out_packets.get(), 0);
    assert_eq!((green.kernel.len(), blue.kernel.len(), world.default_namespace.kernel.len()), (1, 0, 0));
    assert!(World::left(&world.outside).is_empty());
    world.inside[0].put(&syn(nth_server(1), client(), Some(100)));
    world.turn();
    assert_eq!(World::left(&world.outside).len(), 1);
    assert_eq!(blue.worker_stats[0].destinations[0].out_packets.get(), 1);
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
    let (blue, green) = (world.enter_state(BLUE, &udp(1, 100)), world.enter_state(GREEN, &udp(2, 200)));
    let binding = on(NamespaceId::DEFAULT, &[(100, BLUE), (200, GREEN)]);
    world.bind([binding.clone(), binding]);
    // The same datagram in two halves, one in each namespace.
    world.outside[0].put(&fragment(false, 100, 9));
    world.outside[0].put(&fragment(true, 200, 9));
    world.turn();
    assert!(World::left(&world.inside).is_empty());
    assert_eq!(
        (blue.sum(|b| b.counters.reassembling.get()), green.sum(|b| b.counters.reassembling.get())),
        (1, 1)
    );
    world.outside[0].put(&fragment(true, 100, 9));
    world.turn();
    let went: Vec<_> = World::left(&world.inside).iter().map(|frame| heading(frame)).collect();
    assert_eq!(went, [([10, 0, 2, 3], Some(100)); 2]);
    assert_eq!(
        (blue.sum(|b| b.counters.reassembling.get()), green.sum(|b| b.counters.reassembling.get())),
        (0, 1)
    );
    blue.reconciles();
    green.reconciles();
}

#[test]
fn what_leaves_is_given_back_whole_and_comes_again_empty() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.enter_state(BLUE, &serving(1, None));
    let bound = [on(BLUE, &[]), on(BLUE, &[])];
    world.bind(bound.clone());
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    assert!(knows(world.workers[0].namespace(1)));
    // Packets go on while it leaves: from the same turn on they are the default namespace's.
    world.outside[0].put(&syn(client(), vip(), None));
    world.bind(<[Binding; 2]>::default());
    let gone = world.leave(BLUE);
    assert!(knows(&gone[0]), "nothing is thrown away at the worker");
    assert!(world.workers[0].namespaces.is_empty());
    assert_eq!(blue.worker_stats[0].counters.received.get(), 1);
    assert_eq!(world.default_namespace.worker_stats[0].destinations[0].in_packets.get(), 1);
    drop(gone);
    assert_eq!(Arc::strong_count(&blue.worker_stats[0]), 1, "control holds the last of it");
    assert_eq!((Arc::strong_count(&blue.shared), Arc::strong_count(&blue.kernel)), (1, 1));
    let again = world.enter_state(BLUE, &serving(1, None));
    world.bind(bound);
    assert!(again.is_silent() && !knows(world.workers[0].namespace(1)));
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    assert_eq!(again.worker_stats[0].destinations[0].connections.get(), 1);
    assert_eq!(blue.worker_stats[0].destinations[0].connections.get(), 1);
}

#[test]
fn two_workers_hand_over_within_a_namespace() {
    let mut world = World::new(2);
    for worker in &mut world.workers {
        worker.install(serving(0, None), &[]);
    }
    let blue = world.enter_state(BLUE, &serving(1, Some(100)));
    let binding = on(NamespaceId::DEFAULT, &[(100, BLUE)]);
    world.bind([binding.clone(), binding]);
    // Every flow comes in at worker 0, tagged and untagged, from clients enough for both workers.
    for host in 1..=20 {
        let from = at(v4(192, 0, 2, host), 40000);
        world.outside[0].put(&syn(from, vip(), Some(100)));
        world.outside[0].put(&syn(from, vip(), None));
    }
    world.turn();
    for realm in [&blue, &world.default_namespace] {
        assert!(realm.sum(|b| b.counters.handoff_sent.get()) > 0, "some are the other worker's");
        assert_eq!(
            realm.sum(|b| b.counters.handoff_sent.get()),
            realm.sum(|b| b.counters.handoff_received.get())
        );
        assert_eq!(realm.sum(|b| b.destinations[0].connections.get()), 20);
        assert!(realm.worker_stats.iter().all(|stats| stats.destinations[0].connections.get() > 0));
        realm.reconciles();
    }
    let went = World::left(&world.inside);
    let to = |destination, tag| went.iter().filter(|frame| heading(frame) == (destination, tag)).count();
    assert_eq!((to([10, 0, 2, 3], Some(100)), to([10, 0, 2, 2], None), went.len()), (20, 20, 40));
}

#[test]
fn what_is_handed_over_by_two_ports_at_once_keeps_its_port() {
    let mut world = World::new(2);
    world.workers.iter_mut().for_each(|worker| worker.install(serving(0, None), &[]));
    let clients: Vec<_> = (1..=20).map(|host| at(v4(192, 0, 2, host), 40000)).collect();
    clients.iter().for_each(|&from| world.outside[0].put(&syn(from, vip(), None)));
    world.turn();
    // Both directions come in at worker 0, and a turn of worker 1 finds both in its ring.
    for &from in &clients {
        world.outside[0].put(&syn(from, vip(), None));
        world.inside[0].put(&syn(nth_server(0), from, None));
    }
    world.turn();
    let default_namespace = &world.default_namespace;
    assert!(default_namespace.sum(|b| b.counters.handoff_sent.get()) > 0, "some are the other worker's");
    assert_eq!(default_namespace.drops(DropReason::OtherHost), 0);
    assert_eq!(default_namespace.sum(|b| b.destinations[0].in_packets.get()), 40);
    assert_eq!(default_namespace.sum(|b| b.destinations[0].out_packets.get()), 20);
    default_namespace.reconciles();
}

#[test]
fn the_kernel_sends_by_what_is_bound_to_its_namespace_only() {
    let mut world = World::new(1);
    let blue = world.enter_state(BLUE, &serving(1, Some(100)));
    world.bind([on(NamespaceId::DEFAULT, &[(100, BLUE)]), Binding::default()]);
    let (plain, tagged) = (syn(client(), vip(), None), syn(client(), vip(), Some(100)));
    for (realm, frame, goes) in [
        (&blue, &tagged, 1),
        (&blue, &plain, 0),
        (&world.default_namespace, &plain, 1),
        (&world.default_namespace, &tagged, 0),
    ] {
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
    let blue = world.enter_state(BLUE, &serving(1, Some(100)));
    world.bind([on(NamespaceId::DEFAULT, &[(100, BLUE)]), Binding::default()]);
    let other = at(v4(10, 9, 9, 77), 22);
    for vlan in [Some(100), None] {
        let mut frame = syn(client(), other, vlan);
        frame[..6].copy_from_slice(&CLIENT_SIDE);
        world.outside[0].put(&frame);
    }
    world.turn();
    let kernels = [&blue, &world.default_namespace].map(|realm| {
        let (port, frame) = realm.kernel.pop().unwrap();
        assert!(realm.kernel.is_empty());
        (port, heading(frame.bytes()).1)
    });
    assert_eq!(kernels, [(0, Some(100)), (0, None)]);
}

#[test]
fn connections_of_each_namespace_expire() {
    let mut world = World::new(1);
    let blue = world.enter_state(BLUE, &serving(1, None));
    world.bind([on(BLUE, &[]), on(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    let load = || blue.worker_stats[0].destinations[0].load();
    assert_eq!(load().active + load().inactive, 1);
    for second in 0..70 {
        world.workers[0].clock().0 = Tick(second * 1000);
        world.turn();
    }
    assert!(!knows(world.workers[0].namespace(1)));
    assert_eq!(load().active + load().inactive, 0);
}

#[test]
fn orders_that_fit_nothing_change_nothing() {
    let mut world = World::new(1);
    let mut none = |order: NamespaceCommand<Frame>| {
        let order = std::cell::RefCell::new(Some(order));
        world.order(|_| order.borrow_mut().take().unwrap()).remove(0)
    };
    assert!(matches!(none(NamespaceCommand::Leave(BLUE)), Retired::Nothing));
    assert!(matches!(none(NamespaceCommand::Leave(NamespaceId::DEFAULT)), Retired::Nothing));
    let namespace = || Box::new(NamespaceWorker::new(TestNamespace::new(1).setups.remove(0)).unwrap());
    assert!(matches!(
        none(NamespaceCommand::Enter(NamespaceId::DEFAULT, namespace())),
        Retired::NamespaceWorker(_)
    ));
    assert!(matches!(
        none(NamespaceCommand::Enter(NamespaceId(256), namespace())),
        Retired::NamespaceWorker(_)
    ));
    assert!(matches!(none(NamespaceCommand::Enter(BLUE, namespace())), Retired::Nothing));
    assert!(
        matches!(none(NamespaceCommand::Enter(BLUE, namespace())), Retired::NamespaceWorker(_)),
        "the one before is given back"
    );
}

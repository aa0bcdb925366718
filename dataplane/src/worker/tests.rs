//! Namespaces at a worker: each has the same addresses, and no packet crosses from one to another.

mod commands;
mod rss;
mod sleep;
mod world;

use std::net::IpAddr;
use std::sync::Arc;

use etherparse::{PacketBuilder, VlanId};

use super::binding::{Binding, NamespaceId};
use super::namespace::NamespaceWorker;
use super::namespace_rings::{NamespaceCommand, Returned};
use crate::io::mem::Frame;
use crate::packet::Packet;
use crate::service::Method;
use crate::testkit::*;
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wire::protocol;
use world::{TestNamespace, World, bound, destination_and_vlan, has_connection, serving, syn};

const BLUE: NamespaceId = NamespaceId(1);
const GREEN: NamespaceId = NamespaceId(2);

#[test]
fn a_bound_port_belongs_to_its_namespace() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.add_namespace(BLUE, &serving(1, None));
    world.bind([bound(BLUE, &[]), bound(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.poll();
    let sent = World::take_sent(&world.inside);
    assert_eq!((sent.len(), destination_and_vlan(&sent[0])), (1, ([10, 0, 2, 3], None)));
    assert!(world.default_namespace.is_unused());
    assert_eq!(blue.worker_stats[0].destinations[0].in_packets.get(), 1);
    world.inside[0].put(&syn(nth_server(1), client(), None));
    world.poll();
    assert_eq!(World::take_sent(&world.outside).len(), 1);
    assert_eq!(blue.worker_stats[0].destinations[0].out_packets.get(), 1);
    assert!(world.default_namespace.is_unused());
    blue.assert_reconciled();
}

#[test]
fn the_same_flow_in_each_vlan_is_a_separate_connection() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.add_namespace(BLUE, &serving(1, Some(100)));
    let green = world.add_namespace(GREEN, &serving(2, Some(200)));
    let binding = bound(NamespaceId::DEFAULT, &[(100, BLUE), (200, GREEN)]);
    world.bind([binding.clone(), binding]);
    // One burst with frames of all three namespaces, interleaved.
    for vlan in [Some(100), None, Some(200), Some(100), None] {
        world.outside[0].put(&syn(client(), vip(), vlan));
    }
    world.poll();
    let mut sent: Vec<_> =
        World::take_sent(&world.inside).iter().map(|frame| destination_and_vlan(frame)).collect();
    sent.sort_unstable();
    let untagged = ([10, 0, 2, 2], None);
    let (blues, greens) = (([10, 0, 2, 3], Some(100)), ([10, 0, 2, 4], Some(200)));
    assert_eq!(sent, [untagged, untagged, blues, blues, greens]);
    for (namespace, packets) in [(&world.default_namespace, 2), (&blue, 2), (&green, 1)] {
        assert_eq!(namespace.worker_stats[0].counters.received.get(), packets);
        assert_eq!(namespace.worker_stats[0].destinations[0].connections.get(), 1);
        assert_eq!(namespace.worker_stats[0].destinations[0].in_packets.get(), packets);
        namespace.assert_reconciled();
    }
    // A destination's reply is translated only in the namespace that has the connection.
    world.inside[0].put(&syn(nth_server(1), client(), Some(200)));
    world.poll();
    assert_eq!(blue.worker_stats[0].destinations[0].out_packets.get(), 0);
    assert_eq!((green.kernel.len(), blue.kernel.len(), world.default_namespace.kernel.len()), (1, 0, 0));
    assert!(World::take_sent(&world.outside).is_empty());
    world.inside[0].put(&syn(nth_server(1), client(), Some(100)));
    world.poll();
    assert_eq!(World::take_sent(&world.outside).len(), 1);
    assert_eq!(blue.worker_stats[0].destinations[0].out_packets.get(), 1);
}

/// The first or the last fragment of a UDP datagram with 16 bytes of data.
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
    let (blue, green) = (world.add_namespace(BLUE, &udp(1, 100)), world.add_namespace(GREEN, &udp(2, 200)));
    let binding = bound(NamespaceId::DEFAULT, &[(100, BLUE), (200, GREEN)]);
    world.bind([binding.clone(), binding]);
    // The two fragments of one datagram, one in each namespace.
    world.outside[0].put(&fragment(false, 100, 9));
    world.outside[0].put(&fragment(true, 200, 9));
    world.poll();
    assert!(World::take_sent(&world.inside).is_empty());
    assert_eq!(
        (
            blue.sum(|stats| stats.counters.reassembling.get()),
            green.sum(|stats| stats.counters.reassembling.get())
        ),
        (1, 1)
    );
    world.outside[0].put(&fragment(true, 100, 9));
    world.poll();
    let sent: Vec<_> =
        World::take_sent(&world.inside).iter().map(|frame| destination_and_vlan(frame)).collect();
    assert_eq!(sent, [([10, 0, 2, 3], Some(100)); 2]);
    assert_eq!(
        (
            blue.sum(|stats| stats.counters.reassembling.get()),
            green.sum(|stats| stats.counters.reassembling.get())
        ),
        (0, 1)
    );
    blue.assert_reconciled();
    green.assert_reconciled();
}

#[test]
fn a_removed_namespace_is_returned_intact_and_starts_empty_when_added_again() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.add_namespace(BLUE, &serving(1, None));
    let bindings = [bound(BLUE, &[]), bound(BLUE, &[])];
    world.bind(bindings.clone());
    world.outside[0].put(&syn(client(), vip(), None));
    world.poll();
    assert!(has_connection(world.workers[0].namespace(BLUE)));
    // Packets keep arriving during the removal. They belong to the default namespace from then on.
    world.outside[0].put(&syn(client(), vip(), None));
    world.bind(<[Binding; 2]>::default());
    let removed = world.remove_namespace(BLUE);
    assert!(has_connection(&removed[0]), "the worker frees nothing");
    assert!(world.workers[0].namespaces.is_empty());
    assert_eq!(blue.worker_stats[0].counters.received.get(), 1);
    assert_eq!(world.default_namespace.worker_stats[0].destinations[0].in_packets.get(), 1);
    drop(removed);
    assert_eq!(Arc::strong_count(&blue.worker_stats[0]), 1, "control has the last reference");
    assert_eq!((Arc::strong_count(&blue.shared), Arc::strong_count(&blue.kernel)), (1, 1));
    let again = world.add_namespace(BLUE, &serving(1, None));
    world.bind(bindings);
    assert!(again.is_unused() && !has_connection(world.workers[0].namespace(BLUE)));
    world.outside[0].put(&syn(client(), vip(), None));
    world.poll();
    assert_eq!(again.worker_stats[0].destinations[0].connections.get(), 1);
    assert_eq!(blue.worker_stats[0].destinations[0].connections.get(), 1);
}

#[test]
fn workers_hand_packets_off_within_a_namespace() {
    let mut world = World::new(2);
    for worker in &mut world.workers {
        worker.install(serving(0, None), &[]);
    }
    let blue = world.add_namespace(BLUE, &serving(1, Some(100)));
    let binding = bound(NamespaceId::DEFAULT, &[(100, BLUE)]);
    world.bind([binding.clone(), binding]);
    // Every flow arrives at worker 0, tagged and untagged, from enough clients that both workers own some.
    for host in 1..=20 {
        let from = at(v4(192, 0, 2, host), 40000);
        world.outside[0].put(&syn(from, vip(), Some(100)));
        world.outside[0].put(&syn(from, vip(), None));
    }
    world.poll();
    for namespace in [&blue, &world.default_namespace] {
        assert!(namespace.sum(|stats| stats.counters.handoff_sent.get()) > 0, "the other worker owns some");
        assert_eq!(
            namespace.sum(|stats| stats.counters.handoff_sent.get()),
            namespace.sum(|stats| stats.counters.handoff_received.get())
        );
        assert_eq!(namespace.sum(|stats| stats.destinations[0].connections.get()), 20);
        assert!(namespace.worker_stats.iter().all(|stats| stats.destinations[0].connections.get() > 0));
        namespace.assert_reconciled();
    }
    let sent = World::take_sent(&world.inside);
    let to = |destination, tag| {
        sent.iter().filter(|frame| destination_and_vlan(frame) == (destination, tag)).count()
    };
    assert_eq!((to([10, 0, 2, 3], Some(100)), to([10, 0, 2, 2], None), sent.len()), (20, 20, 40));
}

#[test]
fn handed_off_packets_keep_their_ingress_port() {
    let mut world = World::new(2);
    world.workers.iter_mut().for_each(|worker| worker.install(serving(0, None), &[]));
    let clients: Vec<_> = (1..=20).map(|host| at(v4(192, 0, 2, host), 40000)).collect();
    clients.iter().for_each(|&from| world.outside[0].put(&syn(from, vip(), None)));
    world.poll();
    // Both directions arrive at worker 0, and one iteration of worker 1 finds both in its ring.
    for &from in &clients {
        world.outside[0].put(&syn(from, vip(), None));
        world.inside[0].put(&syn(nth_server(0), from, None));
    }
    world.poll();
    let default_namespace = &world.default_namespace;
    assert!(
        default_namespace.sum(|stats| stats.counters.handoff_sent.get()) > 0,
        "the other worker owns some"
    );
    assert_eq!(default_namespace.drops(DropReason::OtherHost), 0);
    assert_eq!(default_namespace.sum(|stats| stats.destinations[0].in_packets.get()), 40);
    assert_eq!(default_namespace.sum(|stats| stats.destinations[0].out_packets.get()), 20);
    default_namespace.assert_reconciled();
}

#[test]
fn the_kernel_sends_only_by_ports_and_vlans_of_its_namespace() {
    let mut world = World::new(1);
    let blue = world.add_namespace(BLUE, &serving(1, Some(100)));
    world.bind([bound(NamespaceId::DEFAULT, &[(100, BLUE)]), Binding::default()]);
    let (plain, tagged) = (syn(client(), vip(), None), syn(client(), vip(), Some(100)));
    for (namespace, frame, sent) in [
        (&blue, &tagged, 1),
        (&blue, &plain, 0),
        (&world.default_namespace, &plain, 1),
        (&world.default_namespace, &tagged, 0),
    ] {
        let before = namespace.drops(DropReason::OtherNamespace);
        assert!(namespace.inject.push((0, Frame::new(frame))).is_ok());
        world.workers[0].poll_once();
        assert_eq!(World::take_sent(&world.outside).len(), sent);
        assert_eq!(namespace.drops(DropReason::OtherNamespace) - before, 1 - sent as u64);
        namespace.assert_reconciled();
    }
}

#[test]
fn unbalanced_packets_go_to_the_kernel_of_their_namespace() {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    let blue = world.add_namespace(BLUE, &serving(1, Some(100)));
    world.bind([bound(NamespaceId::DEFAULT, &[(100, BLUE)]), Binding::default()]);
    let other = at(v4(10, 9, 9, 77), 22);
    for vlan in [Some(100), None] {
        let mut frame = syn(client(), other, vlan);
        frame[..6].copy_from_slice(&CLIENT_SIDE);
        world.outside[0].put(&frame);
    }
    world.poll();
    let kernels = [&blue, &world.default_namespace].map(|namespace| {
        let (port, frame) = namespace.kernel.pop().unwrap();
        assert!(namespace.kernel.is_empty());
        (port, destination_and_vlan(frame.bytes()).1)
    });
    assert_eq!(kernels, [(0, Some(100)), (0, None)]);
}

#[test]
fn connections_of_each_namespace_expire() {
    let mut world = World::new(1);
    let blue = world.add_namespace(BLUE, &serving(1, None));
    world.bind([bound(BLUE, &[]), bound(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.poll();
    let load = || blue.worker_stats[0].destinations[0].load();
    assert_eq!(load().active + load().inactive, 1);
    for second in 0..70 {
        world.workers[0].clock().0 = Tick(second * 1000);
        world.poll();
    }
    assert!(!has_connection(world.workers[0].namespace(BLUE)));
    assert_eq!(load().active + load().inactive, 0);
}

#[test]
fn commands_with_an_unusable_id_change_nothing() {
    let mut world = World::new(1);
    let mut send = |command: NamespaceCommand<Frame>| {
        let command = std::cell::RefCell::new(Some(command));
        world.command(|_| command.borrow_mut().take().unwrap()).remove(0)
    };
    assert!(matches!(send(NamespaceCommand::Remove(BLUE)), Returned::Nothing));
    assert!(matches!(send(NamespaceCommand::Remove(NamespaceId::DEFAULT)), Returned::Nothing));
    let namespace = || Box::new(NamespaceWorker::new(TestNamespace::new(1).setups.remove(0)).unwrap());
    assert!(matches!(
        send(NamespaceCommand::Add(NamespaceId::DEFAULT, namespace())),
        Returned::NamespaceWorker(_)
    ));
    assert!(matches!(
        send(NamespaceCommand::Add(NamespaceId(256), namespace())),
        Returned::NamespaceWorker(_)
    ));
    assert!(matches!(send(NamespaceCommand::Add(BLUE, namespace())), Returned::Nothing));
    assert!(
        matches!(send(NamespaceCommand::Add(BLUE, namespace())), Returned::NamespaceWorker(_)),
        "the replaced namespace is returned"
    );
}

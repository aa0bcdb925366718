//! Commands that take many iterations have the same result as if they were carried out at once.

use std::collections::HashMap;

use super::*;
use crate::config::{Command, ConfigEvents, Counting, Event, EventKind, Notification, Page, Snapshot};
use crate::conn::{ConnId, Sizes};
use crate::flow::{Endpoint, Key};
use crate::io::BURST;
use crate::service::{DestinationId, Persistence, Scheduler, ServiceId, Services};
use crate::time::Millis;
use crate::worker::background::BackgroundTask;

const ROOM: u32 = 2000;

fn plan() -> Plan {
    Plan { sizes: Sizes { ipv4: ROOM, ipv6: 8, extra: 0 }, ..Plan::new(Method::Nat) }
}

fn nth_client(n: u32) -> Endpoint {
    at(v4(198, 51, (n >> 8) as u8, n as u8), 10_000)
}

fn open(bed: &mut Bed, clients: std::ops::Range<u32>) {
    for n in clients {
        bed.outside.put(&syn(nth_client(n), vip(), None));
    }
    while bed.worker.poll_once() > 0 {}
}

fn find(bed: &Bed, client: Endpoint, to: Endpoint) -> Option<ConnId> {
    let (conns, key) =
        (&bed.worker.default_namespace.pipeline.conns, Key::between(client, to, protocol::TCP)?);
    conns.find(conns.hash(&key), &key).map(|(id, _)| id)
}

fn send(bed: &Bed, command: Command) {
    assert!(bed.worker.default_namespace.pipeline.rings.commands.push(command).is_ok());
}

fn take_notification(bed: &Bed) -> Option<Notification> {
    bed.worker.default_namespace.pipeline.rings.notifications.pop()
}

/// Connections in the page that is being filled; `None` if there is none.
fn listed_so_far(bed: &Bed) -> Option<usize> {
    match &bed.worker.default_namespace.task {
        Some(BackgroundTask::List(page)) => Some(page.connections.len()),
        _ => None,
    }
}

#[test]
fn a_page_is_filled_more_slowly_under_load() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..1000);
    send(&bed, Command::List(Page::new(1, 0, 1000, Vec::new())));
    let mut before = 0;
    for (packets, most) in [(BURST, 4), (1, 48), (0, 64), (BURST - 1, 48), (BURST, 4)] {
        (0..packets).for_each(|_| bed.outside.put(&syn(client(), vip(), None)));
        assert_eq!(bed.worker.poll_once(), packets);
        let now = listed_so_far(&bed).unwrap();
        assert_eq!(now - before, most, "in an iteration with {packets} packets");
        before = now;
    }
    while bed.worker.default_namespace.is_busy() {
        bed.worker.poll_once();
    }
    let Some(Notification::Listed(page)) = take_notification(&bed) else { panic!("the page is returned") };
    assert_eq!((page.ticket, page.connections.len()), (1, 1000));
}

/// Connections open and end, and snapshots are adopted, while pages are filled.
#[test]
fn a_connection_that_outlives_a_listing_is_listed_once() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..600);
    // Every third connection stays. The others end, one per iteration, and new ones take their places.
    let mut ending: Vec<u32> = (0..600).filter(|n| n % 3 != 0).collect();
    let (mut fresh, mut from, mut seen) = (1000_u32, Some(0), HashMap::<Endpoint, u32>::new());
    while let Some(at) = from {
        send(&bed, Command::List(Page::new(1, at, 100, Vec::new())));
        loop {
            if let Some(n) = ending.pop() {
                let id = find(&bed, nth_client(n), vip()).unwrap();
                bed.worker.default_namespace.pipeline.conns.remove(id);
            }
            (1..BURST).for_each(|_| bed.outside.put(&syn(client(), vip(), None)));
            bed.client_sends(&syn(nth_client(fresh), vip(), None));
            fresh += 1;
            if let Some(Notification::Listed(page)) = take_notification(&bed) {
                page.connections.iter().for_each(|c| *seen.entry(c.endpoints.client).or_default() += 1);
                from = page.next;
                break;
            }
        }
        bed.worker.install(plan().snapshot(), &[]);
    }
    assert!(fresh > 1100, "it took many iterations");
    assert!((0..600).step_by(3).all(|n| seen[&nth_client(n)] == 1));
    assert!(seen.values().all(|&times| times == 1), "no connection is listed twice");
}

#[test]
fn empty_slots_cost_little_and_end_a_page_in_time() {
    let mut bed = Plan { sizes: Sizes { ipv4: 40_000, ipv6: 8, extra: 0 }, ..plan() }.bed().unwrap();
    let (mut from, mut pages, mut polls) = (Some(0), 0, 0);
    while let Some(at) = from {
        send(&bed, Command::List(Page::new(1, at, 10, Vec::new())));
        from = loop {
            bed.worker.poll_once();
            polls += 1;
            if let Some(Notification::Listed(page)) = take_notification(&bed) {
                assert!(page.connections.is_empty());
                break page.next;
            }
        };
        pages += 1;
    }
    assert_eq!((pages, polls), (3, 79), "16,384 slots per page, 512 slots per iteration");
}

#[test]
fn commands_are_carried_out_and_answered_in_order() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..200);
    send(&bed, Command::List(Page::new(7, 0, 200, Vec::new())));
    send(
        &bed,
        Command::Install(Box::new(Snapshot { generation: 9, ..plan().snapshot() }), ConfigEvents::default()),
    );
    send(&bed, Command::Stop);
    bed.worker.poll_once();
    assert!(listed_so_far(&bed).is_some() && !bed.worker.stopped);
    assert_eq!(bed.worker.default_namespace.pipeline.snapshot.generation, 1);
    // Runs to its end, as the worker's thread does.
    bed.worker.run();
    let Some(Notification::Listed(page)) = take_notification(&bed) else { panic!("first the page") };
    assert_eq!((page.ticket, page.connections.len()), (7, 200));
    assert!(matches!(take_notification(&bed), Some(Notification::Adopted(9, old, _)) if old.generation == 1));
    assert_eq!(bed.worker.default_namespace.pipeline.snapshot.generation, 9);
}

#[test]
fn an_unfinished_page_is_returned_with_its_namespace() {
    let mut world = World::new(1);
    let blue = world.add_namespace(BLUE, &serving(1, None));
    world.bind([bound(BLUE, &[]), bound(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.poll();
    while blue.rings[0].notifications.pop().is_some() {}
    assert!(blue.rings[0].commands.push(Command::List(Page::new(1, 0, 100, Vec::new()))).is_ok());
    // An iteration with a full burst lists only part of this table.
    (0..BURST).for_each(|_| world.outside[0].put(&syn(client(), vip(), None)));
    world.workers[0].poll_once();
    assert!(world.workers[0].namespace(BLUE).is_busy());
    assert!(world.namespace_rings[0].commands.push((99, NamespaceCommand::Remove(BLUE))).is_ok());
    world.workers[0].poll_once();
    let Some((99, Returned::NamespaceWorker(removed))) = world.namespace_rings[0].done.pop() else {
        panic!("the namespace is returned")
    };
    assert!(matches!(&removed.task, Some(BackgroundTask::List(page)) if page.connections.len() == 1));
}

fn event(service: u32, kind: EventKind) -> Event {
    Event { service: ServiceId(service), kind, gcd: 1, max_weight: 1, counting: Counting::Never }
}

/// A snapshot with `count` services on consecutive ports, each with two servers.
fn services_snapshot(scheduler: Scheduler, count: u16) -> Snapshot {
    let plan = Plan { scheduler, ..plan() };
    let (mut snapshot, mut services) = (plan.snapshot(), Services::default());
    for n in 0..count {
        plan.serve(&mut services, at(vip().address, 80 + n), (0..2).map(nth_server));
    }
    snapshot.services = Arc::new(services);
    snapshot.targets =
        (0..2 * count).map(|n| plan.network.target(nth_server((n % 2) as u8).address)).collect();
    snapshot.generation = 2;
    snapshot.build_lookups();
    snapshot
}

#[test]
fn a_packet_applies_pending_events_of_its_service_first() {
    let mut bed = plan().bed().unwrap();
    let snapshot = services_snapshot(Scheduler::Wrr, 4);
    // The first services have so many events that those of the last one wait for many iterations.
    let long = (0..3).flat_map(|service| (0..100).map(move |_| event(service, EventKind::Reset)));
    let events: Vec<_> = std::iter::once(event(3, EventKind::Reset)).chain(long).collect();
    send(&bed, Command::Install(Box::new(snapshot.clone()), ConfigEvents::new(&events, &snapshot.services)));
    let destination_of = |bed: &Bed, n| {
        let id = find(bed, nth_client(n), at(vip().address, 83)).unwrap();
        bed.worker.default_namespace.pipeline.conns.entry(id).destination
    };
    // Without its events wrr knows no weights and chooses nothing; if they were applied twice it would start over.
    let (mut polls, mut chosen) = (0, Vec::new());
    while polls == 0 || bed.worker.default_namespace.is_busy() {
        assert!(take_notification(&bed).is_none(), "adoption is reported after the last event");
        bed.client_sends(&syn(nth_client(polls), at(vip().address, 83), None));
        chosen.push(destination_of(&bed, polls));
        polls += 1;
    }
    assert!((10..=30).contains(&polls), "{polls} iterations");
    assert!(chosen.iter().zip(chosen.iter().skip(1)).all(|(one, next)| one != next), "{chosen:?}");
    assert!(matches!(take_notification(&bed), Some(Notification::Adopted(2, ..))));
}

/// A threshold is set while so many other events are pending that it is applied late, unless connections of the
/// destination begin or end first.
#[test]
fn thresholds_count_every_connection_once() {
    for (begins, ends, persistent) in
        [(0, 0, false), (1, 0, false), (1, 0, true), (0, 3, false), (1, 3, true)]
    {
        let mut before = services_snapshot(Scheduler::Fo, 4);
        if persistent {
            // A client with a template reaches its destination without the scheduler.
            let service = Arc::make_mut(&mut before.services).services[3].as_mut().unwrap();
            let (timeout, mask) = (Millis::from_secs(300), 0xffff_0000);
            service.persistence = Some(Persistence { timeout, mask, sip: false });
        }
        let mut bed = plan().bed_with(before.clone()).unwrap();
        let mut client = (0..).map(nth_client);
        let mut open =
            |bed: &mut Bed| bed.client_sends(&syn(client.next().unwrap(), at(vip().address, 83), None));
        (0..3).for_each(|_| open(&mut bed));
        let limited = DestinationId(6);
        let edited = with_limit(before, limited, 6);
        let kind = EventKind::Edited { destination: limited, clears: false };
        let edit = Event { counting: Counting::Begins, ..event(3, kind) };
        let long = (0..600).map(|n| event(n % 3, EventKind::Reset));
        let config_events =
            ConfigEvents::new(&std::iter::once(edit).chain(long).collect::<Vec<_>>(), &edited.services);
        send(&bed, Command::Install(Box::new(edited), config_events));
        bed.at(if ends > 0 { 62_000 } else { 0 });
        (0..begins).for_each(|_| open(&mut bed));
        while bed.worker.default_namespace.is_busy() || take_notification(&bed).is_none() {
            bed.worker.poll_once();
        }
        assert_eq!(bed.worker.default_namespace.pipeline.conns.used().ipv4, 3 + begins - ends);
        let overloaded =
            |bed: &Bed| bed.worker.default_namespace.pipeline.shared.quotas.is_overloaded(limited);
        for there in 3 + begins - ends..6 {
            assert!(!overloaded(&bed), "{begins} began, {ends} ended, now there are {there}");
            open(&mut bed);
        }
        assert!(overloaded(&bed), "{begins} began, {ends} ended");
    }
}

fn with_limit(mut snapshot: Snapshot, id: DestinationId, upper: u32) -> Snapshot {
    let services = Arc::make_mut(&mut snapshot.services);
    services.destinations[id.0 as usize].as_mut().unwrap().upper = upper;
    snapshot
}

#[test]
fn connections_of_removed_destinations_end_over_several_iterations() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..400);
    let mut snapshot = plan().snapshot();
    snapshot.settings.expire_nodest_conn = true;
    let services = Arc::make_mut(&mut snapshot.services);
    services.destinations[0].as_mut().unwrap().available = false;
    services.services[0].as_mut().unwrap().destinations.clear();
    let events = [event(0, EventKind::Removed(DestinationId(0), None))];
    send(&bed, Command::Install(Box::new(snapshot.clone()), ConfigEvents::new(&events, &snapshot.services)));
    let used = |bed: &Bed| bed.worker.default_namespace.pipeline.conns.used().ipv4;
    let mut polls = 0;
    while used(&bed) > 0 {
        let before = used(&bed);
        // There is no destination for it.
        bed.client_sends(&syn(client(), vip(), None));
        assert!(before - used(&bed) <= 16);
        polls += 1;
        assert!(polls < 100, "{} are left", used(&bed));
    }
    assert!(polls >= 25);
    for _ in 0..100 {
        bed.worker.poll_once();
    }
    assert!(!bed.worker.default_namespace.is_behind(Tick(0)), "the flush completes");
}

//! What control asks for is done a part in each turn, and comes out as if it were done at once.

use std::collections::HashMap;

use super::*;
use crate::config::{Command, ConfigEvents, Counting, Event, EventKind, Notification, Page, Snapshot};
use crate::conn::{ConnId, Sizes};
use crate::flow::{Endpoint, Key};
use crate::io::BURST;
use crate::service::{DestinationId, Persistence, Scheduler, ServiceId, Services};
use crate::time::Millis;
use crate::worker::commands::BackgroundTask;

const ROOM: u32 = 2000;

fn plan() -> Plan {
    Plan { sizes: Sizes { ipv4: ROOM, ipv6: 8 }, ..Plan::new(Method::Nat) }
}

fn nth_client(n: u32) -> Endpoint {
    at(v4(198, 51, (n >> 8) as u8, n as u8), 10_000)
}

fn open(bed: &mut Bed, clients: std::ops::Range<u32>) {
    for n in clients {
        bed.outside.put(&syn(nth_client(n), vip(), None));
    }
    while bed.worker.turn() > 0 {}
}

fn find(bed: &Bed, client: Endpoint, to: Endpoint) -> Option<ConnId> {
    let (conns, key) =
        (&bed.worker.default_namespace.pipeline.conns, Key::between(client, to, protocol::TCP)?);
    conns.find(conns.hash(&key), &key).map(|(id, _)| id)
}

fn ask(bed: &Bed, command: Command) {
    assert!(bed.worker.default_namespace.pipeline.rings.commands.push(command).is_ok());
}

fn answer(bed: &Bed) -> Option<Notification> {
    bed.worker.default_namespace.pipeline.rings.notifications.pop()
}

/// How much of a page is filled; `None` when there is none in work.
fn filled(bed: &Bed) -> Option<usize> {
    match &bed.worker.default_namespace.task {
        Some(BackgroundTask::List(page)) => Some(page.connections.len()),
        _ => None,
    }
}

#[test]
fn the_more_packets_come_the_less_of_a_page_is_filled_beside_them() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..1000);
    ask(&bed, Command::List(Page::new(1, 0, 1000, Vec::new())));
    let mut before = 0;
    for (packets, most) in [(BURST, 4), (1, 48), (0, 64), (BURST - 1, 48), (BURST, 4)] {
        (0..packets).for_each(|_| bed.outside.put(&syn(client(), vip(), None)));
        assert_eq!(bed.worker.turn(), packets);
        let now = filled(&bed).unwrap();
        assert_eq!(now - before, most, "beside {packets} packets");
        before = now;
    }
    while bed.worker.default_namespace.is_busy() {
        bed.worker.turn();
    }
    let Some(Notification::Listed(page)) = answer(&bed) else { panic!("the page comes back") };
    assert_eq!((page.ticket, page.connections.len()), (1, 1000));
}

/// While pages are filled, connections come and go and snapshots are adopted: who is there all the time is listed once.
#[test]
fn who_outlives_a_listing_is_listed_once() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..600);
    // Every third stays; the others go, one in each turn, and new ones take their places.
    let mut goes: Vec<u32> = (0..600).filter(|n| n % 3 != 0).collect();
    let (mut fresh, mut from, mut seen) = (1000_u32, Some(0), HashMap::<Endpoint, u32>::new());
    while let Some(at) = from {
        ask(&bed, Command::List(Page::new(1, at, 100, Vec::new())));
        loop {
            if let Some(n) = goes.pop() {
                let id = find(&bed, nth_client(n), vip()).unwrap();
                bed.worker.default_namespace.pipeline.conns.remove(id);
            }
            (1..BURST).for_each(|_| bed.outside.put(&syn(client(), vip(), None)));
            bed.client_sends(&syn(nth_client(fresh), vip(), None));
            fresh += 1;
            if let Some(Notification::Listed(page)) = answer(&bed) {
                page.connections.iter().for_each(|c| *seen.entry(c.endpoints.client).or_default() += 1);
                from = page.next;
                break;
            }
        }
        bed.worker.install(plan().snapshot(), &[]);
    }
    assert!(fresh > 1100, "it took many turns");
    assert!((0..600).step_by(3).all(|n| seen[&nth_client(n)] == 1));
    assert!(seen.values().all(|&times| times == 1), "nobody is listed twice");
}

#[test]
fn places_without_connections_cost_little_and_a_page_of_them_ends() {
    let mut bed = Plan { sizes: Sizes { ipv4: 40_000, ipv6: 8 }, ..plan() }.bed().unwrap();
    let (mut from, mut pages, mut turns) = (Some(0), 0, 0);
    while let Some(at) = from {
        ask(&bed, Command::List(Page::new(1, at, 10, Vec::new())));
        from = loop {
            bed.worker.turn();
            turns += 1;
            if let Some(Notification::Listed(page)) = answer(&bed) {
                assert!(page.connections.is_empty());
                break page.next;
            }
        };
        pages += 1;
    }
    assert_eq!((pages, turns), (3, 79), "16,384 places a page, 512 places a turn");
}

#[test]
fn commands_wait_for_the_one_before_and_are_answered_in_order() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..200);
    ask(&bed, Command::List(Page::new(7, 0, 200, Vec::new())));
    ask(
        &bed,
        Command::Install(Box::new(Snapshot { generation: 9, ..plan().snapshot() }), ConfigEvents::default()),
    );
    ask(&bed, Command::Stop);
    bed.worker.turn();
    assert!(filled(&bed).is_some() && !bed.worker.stopped);
    assert_eq!(bed.worker.default_namespace.pipeline.snapshot.generation, 1);
    // As the worker's thread does, to its end.
    bed.worker.run();
    let Some(Notification::Listed(page)) = answer(&bed) else { panic!("first the page") };
    assert_eq!((page.ticket, page.connections.len()), (7, 200));
    assert!(matches!(answer(&bed), Some(Notification::Adopted(9, old, _)) if old.generation == 1));
    assert_eq!(bed.worker.default_namespace.pipeline.snapshot.generation, 9);
}

#[test]
fn a_page_in_work_leaves_with_its_namespace() {
    let mut world = World::new(1);
    let blue = world.enter_state(BLUE, &serving(1, None));
    world.bind([on(BLUE, &[]), on(BLUE, &[])]);
    world.outside[0].put(&syn(client(), vip(), None));
    world.turn();
    while blue.rings[0].notifications.pop().is_some() {}
    assert!(blue.rings[0].commands.push(Command::List(Page::new(1, 0, 100, Vec::new()))).is_ok());
    // A turn with packets is enough for this table only in parts.
    (0..BURST).for_each(|_| world.outside[0].put(&syn(client(), vip(), None)));
    world.workers[0].turn();
    assert!(world.workers[0].namespace(1).is_busy());
    assert!(world.namespace_rings[0].commands.push((99, NamespaceCommand::Leave(BLUE))).is_ok());
    world.workers[0].turn();
    let Some((99, Retired::NamespaceWorker(gone))) = world.namespace_rings[0].done.pop() else {
        panic!("it is given back")
    };
    assert!(matches!(&gone.task, Some(BackgroundTask::List(page)) if page.connections.len() == 1));
}

fn event(service: u32, kind: EventKind) -> Event {
    Event { service: ServiceId(service), kind, gcd: 1, max_weight: 1, counting: Counting::Never }
}

/// So many services, named by their ports, of two servers each.
fn several(scheduler: Scheduler, count: u16) -> Snapshot {
    let plan = Plan { scheduler, ..plan() };
    let (mut snapshot, mut services) = (plan.snapshot(), Services::default());
    for n in 0..count {
        plan.serve(&mut services, at(vip().address, 80 + n), (0..2).map(nth_server));
    }
    snapshot.services = Arc::new(services);
    snapshot.targets =
        (0..2 * count).map(|n| plan.network.target(nth_server((n % 2) as u8).address)).collect();
    snapshot.generation = 2;
    snapshot.build_adjacencies();
    snapshot
}

#[test]
fn a_packet_hears_what_came_about_its_service_before_others_do() {
    let mut bed = plan().bed().unwrap();
    let snapshot = several(Scheduler::Wrr, 4);
    // The first services are spoken of at such length that the last has not its turn for long.
    let long = (0..3).flat_map(|service| (0..100).map(move |_| event(service, EventKind::Fresh)));
    let events: Vec<_> = std::iter::once(event(3, EventKind::Fresh)).chain(long).collect();
    ask(&bed, Command::Install(Box::new(snapshot.clone()), ConfigEvents::new(&events, &snapshot.services)));
    let of = |bed: &Bed, n| {
        let id = find(bed, nth_client(n), at(vip().address, 83)).unwrap();
        bed.worker.default_namespace.pipeline.conns.entry(id).destination
    };
    // A weighted round without having heard its weights chooses nobody; one that hears twice begins again.
    let (mut turns, mut chosen) = (0, Vec::new());
    while turns == 0 || bed.worker.default_namespace.is_busy() {
        assert!(answer(&bed).is_none(), "what is not heard is not adopted");
        bed.client_sends(&syn(nth_client(turns), at(vip().address, 83), None));
        chosen.push(of(&bed, turns));
        turns += 1;
    }
    assert!((10..=30).contains(&turns), "{turns} turns");
    assert!(chosen.iter().zip(chosen.iter().skip(1)).all(|(one, next)| one != next), "{chosen:?}");
    assert!(matches!(answer(&bed), Some(Notification::Adopted(2, ..))));
}

/// A threshold comes in between, and beside so much that it is heard of late: unless connections begin or end first.
#[test]
fn thresholds_count_every_connection_once() {
    for (begins, ends, persistent) in
        [(0, 0, false), (1, 0, false), (1, 0, true), (0, 3, false), (1, 3, true)]
    {
        let mut before = several(Scheduler::Fo, 4);
        if persistent {
            // Who has a template comes to its destination without any choice.
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
        let long = (0..600).map(|n| event(n % 3, EventKind::Fresh));
        let config_events =
            ConfigEvents::new(&std::iter::once(edit).chain(long).collect::<Vec<_>>(), &edited.services);
        ask(&bed, Command::Install(Box::new(edited), config_events));
        bed.at(if ends > 0 { 62_000 } else { 0 });
        (0..begins).for_each(|_| open(&mut bed));
        while bed.worker.default_namespace.is_busy() || answer(&bed).is_none() {
            bed.worker.turn();
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

fn with_limit(mut snapshot: Snapshot, of: DestinationId, upper: u32) -> Snapshot {
    let services = Arc::make_mut(&mut snapshot.services);
    services.destinations[of.0 as usize].as_mut().unwrap().upper = upper;
    snapshot
}

#[test]
fn connections_of_removed_destinations_end_a_few_in_each_turn() {
    let mut bed = plan().bed().unwrap();
    open(&mut bed, 0..400);
    let mut snapshot = plan().snapshot();
    snapshot.settings.expire_nodest_conn = true;
    let services = Arc::make_mut(&mut snapshot.services);
    services.destinations[0].as_mut().unwrap().available = false;
    services.services[0].as_mut().unwrap().destinations.clear();
    let events = [event(0, EventKind::Removed(DestinationId(0), None))];
    ask(&bed, Command::Install(Box::new(snapshot.clone()), ConfigEvents::new(&events, &snapshot.services)));
    let used = |bed: &Bed| bed.worker.default_namespace.pipeline.conns.used().ipv4;
    let mut turns = 0;
    while used(&bed) > 0 {
        let before = used(&bed);
        // Nobody is there to take it.
        bed.client_sends(&syn(client(), vip(), None));
        assert!(before - used(&bed) <= 16);
        turns += 1;
        assert!(turns < 100, "{} are left", used(&bed));
    }
    assert!(turns >= 25);
    for _ in 0..100 {
        bed.worker.turn();
    }
    assert!(!bed.worker.default_namespace.is_behind(Tick(0)), "it comes to an end");
}

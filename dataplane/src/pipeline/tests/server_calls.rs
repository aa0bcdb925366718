//! SIP calls that servers open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::bed::*;
use super::families;
use super::rows::ends;
use crate::config::Snapshot;
use crate::conn::{Direction, Shared, Sizes};
use crate::flow::{Endpoint, Key};
use crate::io::mem::Frame;
use crate::parse::{Parsed, parse};
use crate::service::{DestinationId, Method, Persistence};
use crate::steer::WorkerId;
use crate::time::Millis;
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;

fn plan() -> Plan {
    Plan { protocol: protocol::UDP, servers: 3, ..Plan::new(Method::Nat) }
}

/// The plan's snapshot with a SIP service.
fn snapshot(plan: &Plan) -> Snapshot {
    let mut snapshot = plan.snapshot();
    let services = Arc::make_mut(&mut snapshot.services);
    services.services[0].as_mut().unwrap().persistence =
        Some(Persistence { timeout: Millis::from_secs(50), mask: 0xffff_ff00, sip: true });
    services.call_openers = (0..plan.servers).map(|n| (nth_server(n), DestinationId(n.into()))).collect();
    snapshot
}

fn bed() -> Bed {
    plan().bed_with(snapshot(&plan())).unwrap()
}

fn ops_bed() -> Bed {
    let mut snapshot = snapshot(&plan());
    Arc::make_mut(&mut snapshot.services).services[0].as_mut().unwrap().ops = true;
    plan().bed_with(snapshot).unwrap()
}

fn message(call: &str) -> String {
    format!("INVITE sip:a@b SIP/2.0\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\r\n")
}

fn sip(from: Endpoint, to: Endpoint, call: &str) -> Vec<u8> {
    udp(from, to, message(call).as_bytes())
}

fn left(wire: &crate::io::mem::Wire) -> Option<(Endpoint, Endpoint)> {
    wire.take().map(|frame| ends(&frame)).map(|(from, to, _)| (from, to))
}

fn open(bed: &Bed) -> u32 {
    bed.worker.default_namespace.pipeline.conns.used().ipv4
}

#[test]
fn a_server_call_leaves_with_the_virtual_address_and_its_answer_returns() {
    let mut bed = bed();
    let server_call = nth_server(1);
    bed.server_sends(&sip(server_call, client(), "one"));
    let frame = bed.outside.take().expect("the call leaves");
    assert_eq!(ends(&frame), (vip(), client(), 63));
    assert!(frame.ends_with(message("one").as_bytes()), "the message is as it was");
    bed.client_sends(&sip(client(), vip(), "one"));
    assert_eq!(left(&bed.inside), Some((client(), server_call)));
    bed.server_sends(&sip(server_call, client(), "one"));
    assert_eq!(left(&bed.outside), Some((vip(), client())));
    let counters = &bed.stats.destinations[1];
    let counts =
        [&counters.connections, &counters.in_packets, &counters.out_packets].map(|count| count.get());
    assert_eq!(counts, [1, 1, 2]);
    assert_eq!(counters.in_bytes.get() * 2, counters.out_bytes.get());
    assert_eq!((counters.load().active, counters.load().inactive), (0, 1));
    let (templates, _) =
        bed.worker.default_namespace.pipeline.shared.templates.list(0, 10, crate::time::Tick(0));
    let [template] = &templates[..] else { panic!("one template: {templates:?}") };
    assert_eq!(
        (&*template.key.data, template.new.endpoint, template.children),
        (&b"one"[..], server_call, 1)
    );
    assert!(template.assured, "no flood from outside makes a server call");
    assert_eq!(template.expires, Millis::from_secs(50));
    bed.at(301_000).worker.poll_once();
    assert_eq!(open(&bed), 0, "it ends like any of UDP");
}

#[test]
fn the_call_stays_with_its_server_whatever_port_it_uses() {
    let mut bed = bed();
    bed.server_sends(&sip(nth_server(2), client(), "one"));
    for port in 5060..5064 {
        let phone = at(v4(192, 0, 2, 77), port);
        bed.client_sends(&sip(phone, vip(), "one"));
        assert_eq!(left(&bed.inside), Some((phone, nth_server(2))), "{port}");
    }
}

#[test]
fn a_call_taken_over_by_another_server_moves_to_it() {
    let mut bed = bed();
    bed.client_sends(&sip(client(), vip(), "one"));
    let (_, first) = left(&bed.inside).unwrap();
    let other = nth_server(if first == nth_server(0) { 1 } else { 0 });
    bed.server_sends(&sip(other, at(client().address, 5060), "one"));
    assert_eq!(left(&bed.outside), Some((vip(), at(client().address, 5060))));
    bed.client_sends(&sip(at(client().address, 5061), vip(), "one"));
    assert_eq!(left(&bed.inside), Some((at(client().address, 5061), other)));
    bed.client_sends(&sip(client(), vip(), "one"));
    assert_eq!(left(&bed.inside), Some((client(), first)), "open connections stay");
}

/// Packets that are not a server's call go to the kernel and open nothing.
#[test]
fn other_packets_of_servers_open_no_connection() {
    let own = at(vip().address, 9);
    let multicast = at(v4(224, 0, 1, 75), 5060);
    let rows = [
        ("no Call-ID", udp(server(), client(), b"\r\n\r\n")),
        ("no port to go to", sip(server(), at(client().address, 0), "one")),
        ("another port of the server", sip(at(server().address, 5061), client(), "one")),
        ("another host", sip(at(v4(10, 0, 2, 99), 8080), client(), "one")),
        ("to this machine", sip(server(), own, "one")),
        ("to many", sip(server(), multicast, "one")),
        ("TCP", tcp(server(), client(), "S")),
    ];
    for (what, frame) in rows {
        let mut bed = bed();
        let receiver: [u8; 6] = frame[..6].try_into().unwrap();
        if receiver == SERVER_SIDE {
            bed.server_sends(&frame)
        } else {
            bed.client_sends(&frame)
        }
        assert_eq!((open(&bed), bed.stats.counters.to_kernel.get()), (0, 1), "{what}");
        assert_eq!(bed.worker.default_namespace.pipeline.shared.templates.len(), 0, "{what}");
    }
    let mut without = plan().build();
    without.server_sends(&sip(server(), client(), "one"));
    assert_eq!(
        (open(&without), without.stats.counters.to_kernel.get()),
        (0, 1),
        "a service without the engine"
    );
}

#[test]
fn packets_that_a_router_returns_open_nothing() {
    let mut bed = bed();
    bed.server_sends(&with_byte(sip(server(), client(), "one"), 22, 1));
    let long = format!("{}{}", message("one"), "v".repeat(1500));
    bed.server_sends(&udp(server(), client(), long.as_bytes()));
    let answers = &bed.stats.counters.icmp_sent;
    assert_eq!(answers[IcmpReason::TtlExceeded as usize].get(), 1);
    assert_eq!(answers[IcmpReason::FragmentationNeeded as usize].get(), 1);
    assert_eq!(open(&bed), 0);
    let mut plan = plan();
    plan.network.routes4 = Default::default();
    let snapshot = snapshot(&plan);
    let mut bed = plan.bed_with(snapshot).unwrap();
    bed.server_sends(&sip(server(), client(), "one"));
    assert_eq!((open(&bed), bed.stats.counters.to_kernel.get()), (0, 1), "no route: the kernel answers");
}

#[test]
fn an_ops_service_translates_every_message_and_keeps_no_connection() {
    let mut bed = ops_bed();
    for round in 1..=3 {
        bed.server_sends(&sip(nth_server(2), client(), "one"));
        assert_eq!(left(&bed.outside), Some((vip(), client())));
        bed.client_sends(&sip(client(), vip(), "one"));
        assert_eq!(left(&bed.inside), Some((client(), nth_server(2))), "the template knows");
        let counters = &bed.stats.destinations[2];
        assert_eq!((open(&bed), counters.connections.get()), (0, 2 * round));
        assert_eq!((counters.in_packets.get(), counters.out_packets.get()), (round, round));
    }
}

#[test]
fn a_call_without_room_is_dropped_and_counted() {
    let mut bed = bed();
    for n in 0..65 {
        bed.server_sends(&sip(server(), at(client().address, 1000 + n), "one"));
    }
    let drops = |bed: &Bed, why: DropReason| bed.stats.counters.drops[why as usize].get();
    assert_eq!((open(&bed), drops(&bed, DropReason::TableFull)), (64, 1));
    let mut bed = self::bed();
    for n in 0..5 {
        bed.server_sends(&sip(server(), client(), &n.to_string()));
        bed.server_sends(&sip(server(), at(client().address, 1000 + n), &n.to_string()));
    }
    assert!(drops(&bed, DropReason::TemplatesFull) > 0);
}

#[test]
fn a_local_destination_can_open_calls() {
    for (mut bed, stay) in [(bed(), 1), (ops_bed(), 0)] {
        let mut tx = crate::pipeline::TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([]));
        let mut sends = |bed: &mut Bed, text: &str| {
            let mut frame = udp(server(), client(), text.as_bytes());
            frame[..12].copy_from_slice(&[&ROUTER[..], &CLIENT_SIDE[..]].concat());
            bed.worker.default_namespace.pipeline.from_kernel(
                0,
                Frame::new(&frame),
                crate::time::Tick(0),
                &mut tx,
            );
            tx.ports[0].pop().map(|frame| ends(crate::packet::Packet::bytes(&frame)))
        };
        assert_eq!(sends(&mut bed, &message("one")), Some((vip(), client(), 64)));
        assert_eq!(
            sends(&mut bed, "no call"),
            Some((if stay == 1 { vip() } else { server() }, client(), 64))
        );
        assert_eq!((open(&bed), bed.stats.destinations[0].connections.get()), (stay, 1));
    }
}

/// A message that is too long for a packet: the Call-ID is in the first fragment.
#[test]
fn fragmented_calls_are_known_by_their_first_fragment() {
    for (mut bed, stay) in [(bed(), 2), (ops_bed(), 0)] {
        let text = format!("{}{}", message("one"), "v".repeat(2000));
        for frame in cut(&with_byte(udp(nth_server(1), client(), text.as_bytes()), 20, 0)) {
            bed.server_sends(&frame);
        }
        let first = bed.outside.take().expect("the call leaves");
        assert_eq!((&first[26..30], &first[34..36]), (&[10, 9, 9, 1][..], &80u16.to_be_bytes()[..]));
        assert_eq!(bed.outside.take().map(|second| second[26..30].to_vec()), Some(vec![10, 9, 9, 1]));
        let phone = at(client().address, 5060);
        for frame in cut(&with_byte(udp(phone, vip(), text.as_bytes()), 20, 0)) {
            bed.client_sends(&frame);
        }
        let first = bed.inside.take().expect("a call from outside too");
        assert_eq!(&first[30..34], &[10, 0, 2, 3]);
        let counters = &bed.stats.destinations[1];
        assert_eq!((open(&bed), counters.connections.get()), (stay, 2));
        assert_eq!(counters.out_bytes.get(), 28 + text.len() as u64);
    }
}

#[test]
fn server_calls_work_over_ipv6() {
    let mut bed = families::bed(Plan { protocol: protocol::UDP, ..Plan::new(Method::Nat) }, 5060, 1500);
    let (server_call, phone) = (at(families::v6(families::SERVERS6, 2), 5060), families::client6());
    let mut snapshot = bed.worker.default_namespace.pipeline.snapshot.clone();
    let services = Arc::make_mut(&mut snapshot.services);
    services.call_openers.insert(server_call, DestinationId(0));
    services.services[0].as_mut().unwrap().persistence =
        Some(Persistence { timeout: Millis::from_secs(50), mask: u128::MAX, sip: true });
    neighbour(Arc::make_mut(&mut snapshot.network), 0, phone.address, ROUTER);
    bed.worker.install(*snapshot, &[]);
    bed.server_sends(&sip6(server_call, phone, (SERVER_MAC, SERVER_SIDE)));
    let call = bed.outside.take().expect("the call leaves");
    assert_eq!(call[14..], sip6(families::vip6(5060), phone, (ROUTER, CLIENT_SIDE))[14..], "a hop and all");
    bed.client_sends(&sip6(phone, families::vip6(5060), (ROUTER, CLIENT_SIDE)));
    assert!(
        bed.inside
            .take()
            .is_some_and(|answer| answer[38..54] == sip6(phone, server_call, (ROUTER, ROUTER))[38..54])
    );
}

fn sip6(from: Endpoint, to: Endpoint, (source, receiver): ([u8; 6], [u8; 6])) -> Vec<u8> {
    let (IpAddr::V6(s), IpAddr::V6(d)) = (from.address, to.address) else { panic!("IPv6 only") };
    let ttl = if from == families::vip6(5060) { 63 } else { 64 };
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2(source, receiver)
        .ipv6(s.octets(), d.octets(), ttl)
        .udp(from.l4_port, to.l4_port)
        .write(&mut frame, message("one").as_bytes())
        .unwrap();
    frame
}

fn cut(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut fragments = Vec::new();
    let made = crate::fragments::split::cut(Frame::new(frame), 14, false, 1400, 0, |fragment| {
        fragments.push([&frame[..14], &crate::packet::Packet::bytes(&fragment)[14..]].concat());
    });
    assert_eq!(made, Ok(()));
    fragments
}

/// Several workers with shared state; a packet goes to its owner.
struct Workers {
    beds: Vec<Bed>,
}

impl Workers {
    fn new(count: u16) -> Workers {
        let shared = Arc::new(Shared::new(16, 16 * 1024));
        let beds = (0..count).map(|worker_id| {
            let plan = Plan { workers: count, sizes: Sizes { ipv4: 256, ipv6: 1, extra: 0 }, ..plan() };
            let snapshot = snapshot(&plan);
            let mut bed = plan.bed_with(snapshot).unwrap();
            (bed.worker.default_namespace.pipeline.worker_id, bed.worker.default_namespace.pipeline.shared) =
                (WorkerId(worker_id), Arc::clone(&shared));
            bed
        });
        Workers { beds: beds.collect() }
    }

    /// Source and destination of the packet sent for this one.
    fn pass(&mut self, frame: &[u8]) -> Option<(Endpoint, Endpoint)> {
        let mut parsed = Parsed::NOTHING;
        parse(frame, &mut parsed).unwrap();
        let pipeline = &self.beds[0].worker.default_namespace.pipeline;
        let owner = pipeline.steering.owner(&parsed, 0, &pipeline.snapshot).unwrap();
        let bed = &mut self.beds[usize::from(owner.0)];
        if frame[..6] == SERVER_SIDE {
            bed.server_sends(frame)
        } else {
            bed.client_sends(frame)
        }
        assert_eq!(bed.stats.counters.handoff_sent.get(), 0, "the owner keeps it");
        left(&bed.outside).or_else(|| left(&bed.inside))
    }
}

/// A naive model of calls.
#[derive(Default)]
struct Model {
    /// Open connections, the newest last: client and server.
    open: Vec<(Endpoint, Endpoint)>,
    /// The server of each call of a client's network.
    calls: HashMap<(IpAddr, u8), Endpoint>,
}

proptest! {
    #[test]
    fn calls_from_either_side_meet_one_server_on_any_worker(
        workers in 1u16..5,
        steps in prop::collection::vec((any::<bool>(), 0u8..3, 0u8..2, 0u16..6, 0u8..4), 1..60),
    ) {
        let mut all = Workers::new(workers);
        let mut model = Model::default();
        for (from_inside, server, network, port, call) in steps {
            let client = at(v4(192, 0, 2 + network, 10), 5060 + port);
            let of_call = (v4(192, 0, 2 + network, 0), call);
            if from_inside {
                let server = nth_server(server);
                prop_assert_eq!(all.pass(&sip(server, client, &call.to_string())), Some((vip(), client)));
                if !model.open.contains(&(client, server)) {
                    model.open.push((client, server));
                    model.calls.insert(of_call, server);
                }
                continue;
            }
            let got = all.pass(&sip(client, vip(), &call.to_string()));
            let Some((from, to)) = got else { return Err(TestCaseError::fail("it was lost")) };
            prop_assert_eq!(from, client);
            match model.open.iter().rev().find(|(known, _)| *known == client) {
                Some((_, server)) => prop_assert_eq!(to, *server),
                None => {
                    prop_assert_eq!(to, *model.calls.entry(of_call).or_insert(to));
                    model.open.push((client, to));
                }
            }
        }
        let used: u32 = all.beds.iter().map(open).sum();
        prop_assert_eq!(used as usize, model.open.len());
        for (client, server) in model.open {
            let key = Key::between(server, client, protocol::UDP).unwrap();
            let owners = all.beds.iter().filter(|bed| {
                let conns = &bed.worker.default_namespace.pipeline.conns;
                conns.find(conns.hash(&key), &key).is_some_and(|(_, direction)| direction == Direction::Out)
            });
            prop_assert_eq!(owners.count(), 1, "a connection is at one worker");
        }
    }
}

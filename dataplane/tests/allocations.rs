//! The pipeline does not allocate: not on the fast path, not for a new connection, not for an ICMP message.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use allocation_counter::measure;
use etherparse::PacketBuilder;
use pollux_dataplane::config::{Counting, Event, EventKind, LinkId, Route};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::io::Batch;
use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::pipeline::{RxContext, TxBuffers};
use pollux_dataplane::sched::{PickContext, SchedulerState};
use pollux_dataplane::service::{Method, Scheduler, ServiceId, Services, Tunnel};
use pollux_dataplane::stats::Counter;
use pollux_dataplane::testkit::{
    self, Bed, CLIENT_SIDE, Plan, ROUTER, SERVER_MAC, SERVER_SIDE, at, neighbour, v4,
};
use pollux_dataplane::time::Tick;
use pollux_dataplane::trace::{Kind, Switches};

/// Packets in a burst.
const BURST: usize = 32;
/// The port towards clients and the one towards servers.
const CLIENTS: u16 = 0;
const SERVERS: u16 = 1;

/// One pipeline, its service and the server behind it.
struct Harness {
    bed: Bed,
    tx: TxBuffers<Frame>,
    vip: Endpoint,
    server: Endpoint,
}

impl Harness {
    fn new(plan: Plan, is_ipv6: bool) -> Harness {
        let (bed, vip, server) = if is_ipv6 { bed6(plan) } else { bed4(plan) };
        let tx = TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([]));
        Harness { bed, tx, vip, server }
    }

    fn client(&self, n: u16) -> Endpoint {
        let address = if self.vip.address.is_ipv6() { v6(1, 10) } else { testkit::client().address };
        at(address, 5000 + n)
    }

    /// TCP with data from every client to the service.
    fn requests(&self, flags: &str) -> Batch<Frame> {
        (0..BURST as u16).map(|n| tcp(CLIENTS, self.client(n), self.vip, flags)).collect()
    }

    /// TCP with data from the server to every client.
    fn replies(&self, flags: &str) -> Batch<Frame> {
        (0..BURST as u16).map(|n| tcp(SERVERS, self.server, self.client(n), flags)).collect()
    }

    /// Runs a burst from a port. Returns how many packets took the slow path. The burst must not allocate, and all of
    /// it must leave by `to`.
    fn run(&mut self, from: u16, to: u16, mut burst: Batch<Frame>) -> u64 {
        let rx = RxContext { port: from, now: Tick(0), relayed: false };
        let before = self.slow_path();
        let pipeline = &mut self.bed.worker.default_namespace.pipeline;
        let allocations = measure(|| pipeline.run(&mut burst, &rx, &mut self.tx)).count_total;
        let sent = self.tx.ports[usize::from(to)].len();
        assert_eq!((allocations, sent), (0, BURST), "allocations, packets sent");
        self.tx.ports[usize::from(to)].clear();
        self.slow_path() - before
    }

    fn slow_path(&self) -> u64 {
        self.bed.stats.counters.slow_path.iter().map(Counter::get).sum()
    }
}

fn bed4(plan: Plan) -> (Bed, Endpoint, Endpoint) {
    (plan.bed().unwrap(), testkit::vip(), testkit::server())
}

fn bed6(mut plan: Plan) -> (Bed, Endpoint, Endpoint) {
    let (vip, server, router) = (at(v6(9, 1), 80), at(v6(2, 2), 8080), v6(3, 1));
    let network = &mut plan.network;
    network.local.insert(vip.address);
    let send = |link, via| Route::Send { link: LinkId(link), via, mtu: None, source: None };
    network.routes6.insert("2001:db8:0:1::/64".parse().unwrap(), send(0, Some(router)));
    network.routes6.insert("2001:db8:0:2::/64".parse().unwrap(), send(1, None));
    network.links[1].ipv6 = Some("2001:db8:0:2::1".parse().unwrap());
    neighbour(network, 0, router, ROUTER);
    neighbour(network, 1, server.address, SERVER_MAC);
    let mut snapshot = plan.snapshot();
    let services = Arc::make_mut(&mut snapshot.services);
    *services = Services::default();
    plan.serve(services, vip, [server].into_iter());
    snapshot.targets = [plan.network.target(server.address)].into();
    (plan.bed_with(snapshot).unwrap(), vip, server)
}

fn v6(net: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host).into()
}

/// A TCP segment with data that arrives at a port.
fn tcp(port: u16, from: Endpoint, to: Endpoint, flags: &str) -> Frame {
    let (sender, receiver) = if port == CLIENTS { (ROUTER, CLIENT_SIDE) } else { (SERVER_MAC, SERVER_SIDE) };
    let ether = PacketBuilder::ethernet2(sender, receiver);
    let ip = match (from.address, to.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ether.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ether.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("mixed address families"),
    };
    let mut tcp = ip.tcp(from.l4_port, to.l4_port, 1, 1024);
    if flags.contains('S') {
        tcp = tcp.syn();
    }
    if flags.contains('A') {
        tcp = tcp.ack(1);
    }
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, b"data").unwrap();
    Frame::new(&bytes)
}

fn plan(method: Method, is_ipv6: bool) -> Plan {
    let mut plan = Plan::new(method);
    if is_ipv6 {
        plan.sizes.ipv6 = plan.sizes.ipv4;
    }
    plan
}

#[test]
fn neither_path_allocates() {
    let all = BURST as u64;
    for method in [Method::Nat, Method::Dr, Method::Tunnel(Tunnel::Ipip)] {
        for is_ipv6 in [false, true] {
            let mut harness = Harness::new(plan(method, is_ipv6), is_ipv6);
            let slow = harness.run(CLIENTS, SERVERS, harness.requests("S"));
            assert_eq!(slow, all, "{method:?}, IPv6 {is_ipv6}: SYNs take the slow path");
            if method == Method::Nat {
                let slow = harness.run(SERVERS, CLIENTS, harness.replies("SA"));
                assert_eq!(slow, all, "IPv6 {is_ipv6}: SYN ACKs take the slow path");
            }
            // The first ACK may establish the connection.
            harness.run(CLIENTS, SERVERS, harness.requests("A"));
            let slow = harness.run(CLIENTS, SERVERS, harness.requests("A"));
            assert_eq!(slow, 0, "{method:?}, IPv6 {is_ipv6}: data takes the fast path");
            if method == Method::Nat {
                let slow = harness.run(SERVERS, CLIENTS, harness.replies("A"));
                assert_eq!(slow, 0, "IPv6 {is_ipv6}: replies with data take the fast path");
            }
        }
    }
}

#[test]
fn an_icmp_message_does_not_allocate() {
    for is_ipv6 in [false, true] {
        let mut refusing = Plan { weight: 0, ..plan(Method::Nat, is_ipv6) };
        // All clients have one address, which would get six errors.
        refusing.settings.icmp_limits.ratelimit = 0;
        let mut harness = Harness::new(refusing, is_ipv6);
        let slow = harness.run(CLIENTS, CLIENTS, harness.requests("S"));
        assert_eq!(slow, BURST as u64);
    }
}

#[test]
fn tracing_does_not_allocate() {
    let plan = Plan { debug: Switches::of(0..Kind::SITES), ..Plan::new(Method::Nat) };
    let mut harness = Harness::new(plan, false);
    let rx = RxContext { port: CLIENTS, now: Tick(0), relayed: false };
    let mut burst = harness.requests("S");
    let pipeline = &mut harness.bed.worker.default_namespace.pipeline;
    let made = measure(|| pipeline.run_traced(&mut burst, &rx, &mut harness.tx));
    assert_eq!(made.count_total, 0);
    assert!(pipeline.rings.events.len() > 9 * BURST);
}

/// All clients connect to one virtual address, so the caches of `lblc` and `lblcr` need not grow.
#[test]
fn schedulers_do_not_allocate() {
    use Scheduler::{Dh, Fo, Lblc, Lblcr, Lc, Mh, Nq, Ovf, Rr, Sed, Sh, Twos, Wlc, Wrr};
    for scheduler in [Rr, Wrr, Lc, Wlc, Fo, Ovf, Lblc, Lblcr, Dh, Sh, Mh, Sed, Nq, Twos] {
        let plan = Plan { scheduler, servers: 10, ..Plan::new(Method::Dr) };
        let (snapshot, bed) = (plan.snapshot(), plan.bed().unwrap());
        let service = snapshot.services.service(ServiceId(0)).unwrap();
        let fresh = Event {
            service: ServiceId(0),
            kind: EventKind::Reset,
            gcd: 1,
            max_weight: 1,
            counting: Counting::Never,
        };
        let mut state = SchedulerState::new(1);
        state.apply_event(scheduler, &fresh);
        let mut pick = |host| {
            let context = PickContext {
                service,
                services: &snapshot.services,
                loads: &testkit::NoThresholds(&bed.stats),
                client: at(v4(192, 0, 2, host), 5000),
                virtual_address: testkit::vip().address,
                settings: &snapshot.settings,
                now: Tick(0),
            };
            assert!(state.pick(&context).is_some(), "{scheduler:?}");
        };
        pick(0);
        let made = measure(|| (1..=255).for_each(&mut pick));
        assert_eq!(made.count_total, 0, "{scheduler:?}");
    }
}

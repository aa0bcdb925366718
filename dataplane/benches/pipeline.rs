//! Time per packet: single operations, then the whole pipeline, then poll iterations of a worker.
//!
//! Compare numbers of one run only, as ratios: burst against single, a million flows against a thousand, NAT against
//! DR. `cargo bench -p pollux-dataplane --bench pipeline -- hand-off` runs one group.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, Throughput};
use crossbeam::queue::ArrayQueue;
use etherparse::PacketBuilder;
use pollux_dataplane::config::{
    Command, ConfigEvents, Counting, Event, EventKind, Notification, Page, Snapshot,
};
use pollux_dataplane::conn::entry::Endpoints;
use pollux_dataplane::conn::index::ProbeStart;
use pollux_dataplane::conn::{Flags, NewConnection, Sizes, Table};
use pollux_dataplane::cpu::Generic;
use pollux_dataplane::flow::{Endpoint, Key, Seed};
use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::io::{BURST, Batch};
use pollux_dataplane::parse::{Parsed, parse};
use pollux_dataplane::pipeline::{RxContext, TxBuffers};
use pollux_dataplane::sched::{PickContext, SchedulerState};
use pollux_dataplane::service::{DestinationId, Method, Scheduler, ServiceId, Tunnel};
use pollux_dataplane::steer::WorkerId;
use pollux_dataplane::testkit::{Bed, CLIENT_SIDE, NoThresholds, Plan, ROUTER, at, server, vip};
use pollux_dataplane::time::{Millis, Tick};
use pollux_dataplane::trace::{Kind, Switches};
use pollux_dataplane::wire::protocol::UDP;
use pollux_dataplane::worker::binding::NamespaceId;
use pollux_dataplane::worker::namespace::NamespaceWorker;
use pollux_dataplane::worker::namespace_rings::NamespaceCommand;

const THOUSAND: u32 = 1_000;
const MILLION: u32 = 1_000_000;

/// The nth of a million clients.
fn nth_client(n: u32) -> Endpoint {
    const PORTS: u32 = 32_768;
    let address = Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(172, 16, 0, 0)) + n / PORTS);
    at(address.into(), (1024 + n % PORTS) as u16)
}

/// Flows in an order that no cache or prefetcher can predict: the step is a prime that divides none of our counts.
fn scattered(n: u32, flows: u32) -> u32 {
    (u64::from(n) * 2_654_435_761 % u64::from(flows)) as u32
}

/// A datagram of 64 bytes, frame check sequence included, from a client to the service.
fn datagram(from: Endpoint) -> Frame {
    datagram_to(from, vip().l4_port)
}

/// Such a datagram to another port.
fn datagram_to(from: Endpoint, l4_port: u16) -> Frame {
    let (IpAddr::V4(source), IpAddr::V4(vip_address)) = (from.address, vip().address) else {
        unreachable!("all addresses here are IPv4")
    };
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv4(source.octets(), vip_address.octets(), 64)
        .udp(from.l4_port, l4_port)
        .write(&mut bytes, &[0; 18])
        .expect("a vector takes all");
    Frame::new(&bytes)
}

fn parsing(criterion: &mut Criterion) {
    let frame = datagram(nth_client(0));
    let bytes = pollux_dataplane::packet::Packet::bytes(&frame);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    let mut parsed = Parsed::NOTHING;
    group.bench_function("udp", |b| b.iter(|| parse(black_box(bytes), &mut parsed)));
}

fn filled(flows: u32) -> Table {
    let mut table =
        Table::new(Sizes { ipv4: flows, ipv6: 0, extra: 0 }, Seed(1, 3)).expect("state for the table");
    for n in 0..flows {
        let endpoints = Endpoints { client: nth_client(n), virtual_: vip(), destination: server() };
        let timeout = Millis::from_secs(300);
        let new = NewConnection {
            endpoints,
            protocol: UDP,
            destination: 0,
            flags: Flags::NAT,
            template: None,
            timeout,
        };
        table.insert(&new, Tick(0)).expect("room for every flow");
    }
    table
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    group.throughput(Throughput::Elements(BURST as u64));
    for flows in [THOUSAND, MILLION] {
        let table = filled(flows);
        group.bench_function(BenchmarkId::new("burst", flows), |b| {
            bursts(b, flows, |keys| find_burst(&table, keys))
        });
        group.bench_function(BenchmarkId::new("single", flows), |b| {
            bursts(b, flows, |keys| find_each(&table, keys))
        });
    }
}

/// Runs `find` over one burst of keys after another; all are in the table.
fn bursts(bencher: &mut Bencher, flows: u32, mut find: impl FnMut(&[Key]) -> usize) {
    let mut next = 0_u32;
    let burst = move || {
        let first = next;
        next = next.wrapping_add(BURST as u32);
        (first..first + BURST as u32)
            .filter_map(|n| Key::between(nth_client(scattered(n, flows)), vip(), UDP))
            .collect::<Vec<Key>>()
    };
    bencher.iter_batched(burst, |keys| assert_eq!(find(&keys), BURST), BatchSize::SmallInput);
}

/// In the order of the pipeline: prefetches all index buckets, then all entries, then reads each.
fn find_burst(table: &Table, keys: &[Key]) -> usize {
    let (mut hashes, mut probe_starts) = ([0; BURST], [ProbeStart::default(); BURST]);
    for ((hash, probe_start), key) in hashes.iter_mut().zip(&mut probe_starts).zip(keys) {
        *hash = table.hash(key);
        *probe_start = table.prefetch_bucket(*hash);
    }
    let guesses = probe_starts.map(|probe_start| table.prefetch_entry(Generic, probe_start));
    let found = |(place, key): (usize, &Key)| match key {
        Key::V4(plain) if table.confirm(Generic, guesses[place], plain).is_some() => true,
        key => table.find(hashes[place], key).is_some(),
    };
    keys.iter().enumerate().filter(|&row| found(row)).count()
}

fn find_each(table: &Table, keys: &[Key]) -> usize {
    keys.iter().filter(|key| table.find(table.hash(key), key).is_some()).count()
}

fn schedule(criterion: &mut Criterion) {
    use Scheduler::{Dh, Fo, Lblc, Lblcr, Lc, Mh, Nq, Ovf, Rr, Sed, Sh, Twos, Wlc, Wrr};
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(1));
    for scheduler in [Rr, Wrr, Lc, Wlc, Fo, Ovf, Lblc, Lblcr, Dh, Sh, Mh, Sed, Nq, Twos] {
        let plan = Plan { scheduler, servers: 10, ..Plan::new(Method::Nat) };
        let (snapshot, bed) = (plan.snapshot(), plan.bed().expect("state for a small table"));
        let service = snapshot.services.service(ServiceId(0)).expect("the plan's service");
        let (services, settings) = (&*snapshot.services, &snapshot.settings);
        let mut state = SchedulerState::new(1);
        let fresh = Event {
            service: ServiceId(0),
            kind: EventKind::Reset,
            gcd: 1,
            max_weight: 1,
            counting: Counting::Never,
        };
        state.apply_event(scheduler, &fresh);
        let (virtual_address, now) = (vip().address, Tick(0));
        let mut n = 0;
        let name = format!("{scheduler:?}").to_lowercase();
        group.bench_function(BenchmarkId::new(name, 10), |b| {
            b.iter(|| {
                n = (n + 1) % MILLION;
                let (loads, client) = (&NoThresholds(&bed.stats), nth_client(n));
                let context =
                    PickContext { service, services, loads, client, virtual_address, settings, now };
                state.pick(&context).expect("a destination is usable")
            });
        });
    }
}

/// A worker with some number of known flows, and packets of them.
struct Traffic {
    bed: Bed,
    tx: TxBuffers<Frame>,
    frames: Vec<Frame>,
    next: usize,
}

impl Traffic {
    fn new(method: Method, flows: u32) -> Traffic {
        let sizes = Sizes { ipv4: flows, ipv6: 0, extra: 0 };
        let plan = Plan { protocol: UDP, sizes, servers: 10, services: 10_001, ..Plan::new(method) };
        let bed = plan.bed().expect("state for the table");
        let tx = TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([Arc::new(ArrayQueue::new(1))]));
        let mut traffic = Traffic { bed, tx, frames: Vec::new(), next: 0 };
        (0..flows).for_each(|n| traffic.open(n));
        // Packets of every flow would not fit into memory; those of 64 thousand still fit into no cache.
        let kept = flows.min(1 << 16);
        traffic.frames = (0..kept).map(|n| datagram(nth_client(scattered(n, flows)))).collect();
        traffic
    }

    fn open(&mut self, n: u32) {
        let mut burst = Batch::new();
        burst.push(datagram(nth_client(n)));
        assert_eq!(self.run(burst).len(), 1, "client {n} is served");
    }

    fn burst(&mut self) -> Batch<Frame> {
        let places = (self.next..self.next + BURST).map(|place| place % self.frames.len());
        let burst = places.map(|place| self.frames[place].clone()).collect();
        self.next = (self.next + BURST) % self.frames.len();
        burst
    }

    /// The packets go back to the caller, so that freeing them is not part of what is measured.
    fn run(&mut self, mut burst: Batch<Frame>) -> Batch<Frame> {
        let rx = RxContext { port: 0, now: Tick(0), relayed: false };
        self.bed.worker.default_namespace.pipeline.run(&mut burst, &rx, &mut self.tx);
        std::mem::take(&mut self.tx.ports[1])
    }
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BURST as u64));
    let methods = [("nat", Method::Nat), ("dr", Method::Dr), ("tunnel", Method::Tunnel(Tunnel::Ipip))];
    let rows = methods.map(|(name, method)| (name, method, THOUSAND));
    for (name, method, flows) in rows.into_iter().chain([("nat", Method::Nat, MILLION)]) {
        let traffic = std::cell::RefCell::new(Traffic::new(method, flows));
        group.bench_function(BenchmarkId::new(name, flows), |b| {
            let burst = || traffic.borrow_mut().burst();
            b.iter_batched(burst, |burst| traffic.borrow_mut().run(burst), BatchSize::SmallInput);
        });
    }
}

/// One packet in a hundred is for no service, and each of those is traced, or not.
fn traced(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("traced");
    group.throughput(Throughput::Elements(BURST as u64));
    let sites = [Kind::ServiceLookup, Kind::NotScheduled].map(Kind::first);
    for (name, debug) in [("off", Switches::default()), ("on", Switches::of(sites))] {
        let traffic = std::cell::RefCell::new(Traffic::new(Method::Nat, THOUSAND));
        {
            let mut traffic = traffic.borrow_mut();
            traffic.bed.worker.default_namespace.pipeline.snapshot.debug = debug;
            let strangers = (0..THOUSAND).step_by(100);
            strangers.for_each(|n| traffic.frames[n as usize] = datagram_to(nth_client(n), 81));
        }
        group.bench_function(BenchmarkId::new(name, THOUSAND), |b| {
            let burst = || {
                let mut traffic = traffic.borrow_mut();
                while traffic.bed.kernel.pop().is_some() {}
                while traffic.bed.worker.default_namespace.pipeline.rings.events.pop().is_some() {}
                traffic.burst()
            };
            b.iter_batched(burst, |burst| traffic.borrow_mut().run(burst), BatchSize::PerIteration);
        });
    }
}

/// A poll iteration in which nothing happens, with some number of namespaces without traffic.
fn idle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("idle iteration");
    for namespaces in [0, 1, 16, 255] {
        let plan = || Plan::new(Method::Nat);
        let mut bed = plan().bed().expect("state for a small table");
        for id in (1..=namespaces).map(NamespaceId) {
            let setup = plan().namespace_parts().take_first();
            let namespace = Box::new(NamespaceWorker::new(setup).expect("state for a small table"));
            assert!(bed.namespace_rings.commands.push((0, NamespaceCommand::Add(id, namespace))).is_ok());
            bed.worker.poll_once();
            assert!(bed.namespace_rings.done.pop().is_some());
        }
        group.bench_function(BenchmarkId::new("namespaces", namespaces), |b| {
            b.iter(|| bed.worker.poll_once())
        });
    }
}

/// The first of two workers, and packets of flows that are its own, or the other's.
struct Pair {
    bed: Bed,
    frames: Vec<Frame>,
}

impl Pair {
    fn new(owner: WorkerId) -> Pair {
        let plan =
            Plan { protocol: UDP, workers: 2, hand_off_ring: 4096, servers: 10, ..Plan::new(Method::Nat) };
        let plan = Plan { sizes: Sizes { ipv4: THOUSAND * 2, ipv6: 0, extra: 0 }, ..plan };
        let bed = plan.bed().expect("state for the table");
        let pipeline = &bed.worker.default_namespace.pipeline;
        let owned = |frame: &Frame| {
            let mut parsed = Parsed::NOTHING;
            let bytes = pollux_dataplane::packet::Packet::bytes(frame);
            parse(bytes, &mut parsed).expect("a plain packet");
            pipeline.steering.owner(&parsed, 0, &pipeline.snapshot) == Some(owner)
        };
        let frames = (0..MILLION).map(|n| datagram(nth_client(n))).filter(owned).take(THOUSAND as usize);
        let mut pair = Pair { frames: frames.collect(), bed };
        for first in (0..THOUSAND as usize).step_by(BURST) {
            pair.receive(first);
            pair.bed.worker.poll_once();
        }
        pair.clear();
        pair
    }

    fn burst(&self, first: usize) -> impl Iterator<Item = Frame> {
        (first..first + BURST).map(|place| self.frames[place % self.frames.len()].clone())
    }

    fn receive(&self, first: usize) {
        self.burst(first).for_each(|frame| self.bed.outside.put_frame(frame));
    }

    /// Hands a burst to the worker, as the other worker does.
    fn hand_over(&self, first: usize) {
        for frame in self.burst(first) {
            self.bed.hand_off[0].push((0, frame)).expect("room in the ring");
        }
    }

    fn clear(&self) {
        while self.bed.inside.take().is_some() {}
        while self.bed.hand_off[1].pop().is_some() {}
    }
}

/// A poll iteration over a burst of our own flows, over one that is handed to the other worker, and over one that the other
/// worker handed to us. All on one core, so the cost of moving cache lines between cores is not included.
fn hand_off(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hand-off");
    group.throughput(Throughput::Elements(BURST as u64));
    let rows = [("own", 0, false), ("given", 1, false), ("taken", 0, true)];
    for (name, owner, is_handed) in rows {
        let pair = std::cell::RefCell::new(Pair::new(WorkerId(owner)));
        let mut first = 0;
        group.bench_function(name, |b| {
            let burst = || {
                first += BURST;
                pair.borrow().clear();
                let pair = pair.borrow();
                if is_handed { pair.hand_over(first) } else { pair.receive(first) }
            };
            b.iter_batched(burst, |()| pair.borrow_mut().bed.worker.poll_once(), BatchSize::PerIteration);
        });
    }
}

/// A poll iteration over some packets while a command is carried out in the background: listing a million connections, or
/// adopting ten thousand services with eight destinations each.
fn background(criterion: &mut Criterion) {
    const SOME: usize = 16;
    let mut group = criterion.benchmark_group("background");
    for name in ["nothing", "a list", "an adoption"] {
        let traffic = std::cell::RefCell::new(Traffic::new(Method::Nat, MILLION));
        let many = many_services(&traffic.borrow().bed.worker.default_namespace.pipeline.snapshot);
        group.bench_function(name, |b| {
            let prepare = || {
                let mut traffic = traffic.borrow_mut();
                match name {
                    "a list" => traffic.list(),
                    "an adoption" => traffic.adopt(&many),
                    _ => {}
                }
                let burst = traffic.burst();
                while traffic.bed.inside.take().is_some() {}
                burst.into_iter().take(SOME).for_each(|frame| traffic.bed.outside.put_frame(frame));
            };
            let poll = |()| traffic.borrow_mut().bed.worker.poll_once();
            b.iter_batched(prepare, poll, BatchSize::PerIteration);
        });
    }
}

/// These services and ten thousand others, with their configuration events.
fn many_services(snapshot: &Snapshot) -> (Snapshot, Vec<Event>) {
    let (mut snapshot, mut services, mut events) =
        (snapshot.clone(), (*snapshot.services).clone(), Vec::new());
    let plan = Plan { protocol: UDP, ..Plan::new(Method::Nat) };
    for n in 0..10_000_u32 {
        let first = services.destinations.len() as u32;
        let address = |net: u8| IpAddr::from(Ipv4Addr::from_bits(u32::from(net) << 24 | n));
        plan.serve(&mut services, at(address(11), 80), (0..8).map(|port| at(address(12), port)));
        let service = ServiceId(n + 1);
        let mut emit =
            |kind| events.push(Event { service, kind, gcd: 1, max_weight: 1, counting: Counting::Never });
        emit(EventKind::Reset);
        (first..first + 8).for_each(|id| emit(EventKind::Added(DestinationId(id))));
    }
    snapshot.services = Arc::new(services);
    (snapshot, events)
}

impl Traffic {
    /// Requests another page once the previous one is done.
    fn list(&self) {
        let rings = &self.bed.worker.default_namespace.pipeline.rings;
        if self.bed.worker.default_namespace.is_busy() {
            return;
        }
        let (buffer, from) = match rings.notifications.pop() {
            Some(Notification::Listed(page)) => (page.connections, page.next.unwrap_or(0)),
            _ => (Vec::new(), 0),
        };
        assert!(rings.commands.push(Command::List(Page::new(1, from, 10_000, buffer))).is_ok());
    }

    /// Completes the previous adoption and asks for another.
    fn adopt(&mut self, (snapshot, events): &(Snapshot, Vec<Event>)) {
        let rings = Arc::clone(&self.bed.worker.default_namespace.pipeline.rings);
        while self.bed.worker.default_namespace.is_busy() {
            self.bed.worker.poll_once();
        }
        rings.notifications.pop();
        let config_events = ConfigEvents::new(events, &snapshot.services);
        assert!(rings.commands.push(Command::Install(Box::new(snapshot.clone()), config_events)).is_ok());
    }
}

/// Short by default; `--measurement-time` and `--sample-size` extend it.
fn brief() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

fn main() {
    let mut criterion = brief().configure_from_args();
    for group in [parsing, lookup, schedule, pipeline, traced, idle, hand_off, background] {
        group(&mut criterion);
    }
    criterion.final_summary();
}

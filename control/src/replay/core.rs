//! The real thing: one worker of the data plane over two ports in memory, configured by the daemon's own compiler.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use hashbrown::HashMap;
use pollux_dataplane::config::{Page, WorkerRings};
use pollux_dataplane::conn::Sizes;
use pollux_dataplane::flow::{Endpoint, Seed};
use pollux_dataplane::io::mem::{Frame, Hand, Wire};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::proto::state_name;
use pollux_dataplane::stats::Board;
use pollux_dataplane::steer::{Steering, WorkerId};
use pollux_dataplane::time::Tick;
use pollux_dataplane::verdict::DropReason;
use pollux_dataplane::wire::protocol;
use pollux_dataplane::worker::{Port, Setup, Worker};

use super::balancer::{Balancer, Outcome, Refused, Side};
use super::topology;
use crate::compile::{Compiler, FullKey};
use crate::ipvsadm::rows::{
    ConnectionRow, Counters, DestinationRow, Forward, Rates, ServiceName, ServiceRow, Transport, Tunnel,
};
use crate::kernel::facts::Facts;
use crate::model::{Config, Destination, Method, Protocol, Scheduler, Service, ServiceKey, Start};

/// Connections of each family; a conversation has a few dozen.
const CONNECTIONS: u32 = 1024;
const SERVICES: u32 = 64;
const DESTINATIONS: u32 = 256;
/// Frames and messages that may wait between two turns.
const DEPTH: usize = 256;
/// Time passes in steps of this many milliseconds, so that timers that arm others are seen.
const STEP_MS: u64 = 100;

/// One worker, its ports and its configuration.
pub struct Core {
    worker: Worker<Wire, Hand>,
    compiler: Compiler,
    facts: Facts,
    wires: [Wire; 2],
    board: Arc<Board>,
    kernel: Arc<ArrayQueue<(usize, Frame)>>,
    rings: Arc<WorkerRings>,
    /// What `-Z` takes off the counters.
    zero: HashMap<FullKey, Counters>,
    now_ms: u64,
}

impl Core {
    /// A worker without configuration.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new() -> std::io::Result<Core> {
        let wires = [Wire::default(), Wire::default()];
        let links = topology::facts().links;
        let ports = links.iter().zip(&wires).zip(0..).map(|((link, wire), number)| Port {
            number,
            mac: link.mac.0,
            queues: wire.clone(),
        });
        let board = Arc::new(Board::new(DESTINATIONS as usize));
        let (kernel, rings) = (Arc::new(ArrayQueue::new(DEPTH)), WorkerRings::new(DEPTH));
        let setup = Setup {
            me: WorkerId(0),
            steering: Steering { workers: 1, seed: Seed::random() },
            ports: ports.collect(),
            sizes: Sizes { ipv4: CONNECTIONS, ipv6: CONNECTIONS },
            services: SERVICES as usize,
            board: board.clone(),
            rings: rings.clone(),
            kernel: kernel.clone(),
            inject: Arc::new(ArrayQueue::new(DEPTH)),
            hand_off: Box::new([Arc::new(ArrayQueue::new(DEPTH))]),
        };
        let start = Start { services: SERVICES, destinations: DESTINATIONS, ..Start::default() };
        let compiler = Compiler::new(&start, Side::ALL.map(|side| side.name().to_owned()));
        let worker = Worker::new(setup, Hand::default())?;
        let (facts, zero) = (Facts::default(), HashMap::new());
        Ok(Core { worker, compiler, facts, wires, board, kernel, rings, zero, now_ms: 0 })
    }

    fn drops(&self) -> Vec<u64> {
        self.board.gauges.drops.iter().map(pollux_dataplane::stats::board::Counter::get).collect()
    }

    fn counters(&self, key: &FullKey) -> Counters {
        let id = self.compiler.destination_id(key);
        let Some(counted) = id.and_then(|id| self.board.destinations.get(id.0 as usize)) else {
            return Counters::default();
        };
        Counters {
            connections: counted.connections.get(),
            in_packets: counted.in_packets.get(),
            out_packets: counted.out_packets.get(),
            in_bytes: counted.in_bytes.get(),
            out_bytes: counted.out_bytes.get(),
        }
    }

    fn service(&self, service: &Service) -> ServiceRow {
        let rows = service.destinations.iter().map(|d| self.destination(service.key(), d));
        let destinations: Vec<DestinationRow> = rows.collect();
        let transport = match service.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
        };
        let scheduler = match service.scheduler {
            Scheduler::Rr => "rr",
            Scheduler::Wrr => "wrr",
            Scheduler::Lc => "lc",
            Scheduler::Wlc => "wlc",
        };
        ServiceRow {
            name: ServiceName::Address(transport, SocketAddr::new(service.address, service.l4_port)),
            scheduler: scheduler.to_owned(),
            flags: Vec::new(),
            persistence: None,
            one_packet: false,
            counters: sum(destinations.iter().map(|row| row.counters)),
            rates: Rates::default(),
            destinations,
        }
    }

    fn destination(&self, service: ServiceKey, destination: &Destination) -> DestinationRow {
        let key = (service, destination.key());
        let load = self.compiler.destination_id(&key).map(|id| self.board.load(id)).unwrap_or_default();
        let zero = self.zero.get(&key).copied().unwrap_or_default();
        DestinationRow {
            socket: SocketAddr::new(destination.address, destination.l4_port),
            forward: match destination.method {
                Method::Nat => Forward::Masq,
                Method::Dr => Forward::Route,
                Method::Tunnel => Forward::Tunnel(Tunnel::Ipip),
            },
            weight: destination.weight,
            upper: 0,
            lower: 0,
            active: load.active,
            inactive: load.inactive,
            persistent: 0,
            counters: since(self.counters(&key), zero),
            rates: Rates::default(),
        }
    }
}

impl Balancer for Core {
    fn configure(&mut self, config: &Config) -> Result<(), Refused> {
        let facts = config.facts.clone().unwrap_or_default();
        if facts != self.facts {
            self.compiler.learn(&facts).map_err(|why| Refused(why.to_string()))?;
            self.facts = facts;
        }
        let now = Duration::from_millis(self.now_ms);
        let (snapshot, events) =
            self.compiler.configure(config, now).map_err(|why| Refused(why.to_string()))?;
        self.worker.install(snapshot, &events);
        Ok(())
    }

    fn advance(&mut self, at_ms: u64) {
        while self.now_ms < at_ms {
            self.now_ms = (self.now_ms + STEP_MS).min(at_ms);
            self.worker.clock().0 = Tick(self.now_ms);
            self.worker.turn();
        }
    }

    fn input(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let before = self.drops();
        self.wires[side as usize].put(frame);
        self.worker.turn();
        while self.rings.notes.pop().is_some() {}
        let mut outcome = Outcome::default();
        for (side, wire) in Side::ALL.into_iter().zip(&self.wires) {
            outcome.outputs.extend(std::iter::from_fn(|| wire.take()).map(|frame| (side, frame)));
        }
        while let Some((port, frame)) = self.kernel.pop() {
            outcome.to_kernel.extend(Side::ALL.get(port).map(|side| (*side, frame.bytes().to_vec())));
        }
        let after = self.drops();
        let dropped = DropReason::ALL.iter().find(|why| after[**why as usize] != before[**why as usize]);
        outcome.dropped = dropped.map(|why| why.why().to_owned());
        outcome
    }

    fn zero(&mut self, service: Option<ServiceKey>) {
        for of in self.compiler.config().services.iter().filter(|s| service.is_none_or(|k| k == s.key())) {
            for destination in &of.destinations {
                let key = (of.key(), destination.key());
                self.zero.insert(key, self.counters(&key));
            }
        }
    }

    fn services(&self) -> Vec<ServiceRow> {
        self.compiler.config().services.iter().map(|service| self.service(service)).collect()
    }

    fn connections(&mut self) -> Vec<ConnectionRow> {
        let (mut rows, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let mut page = Page { from: at, connections: Vec::with_capacity(DEPTH), ..Page::default() };
            self.worker.line.list(&mut page, Tick(self.now_ms));
            rows.extend(page.connections.iter().map(connection));
            from = page.next;
        }
        rows
    }
}

fn connection(listed: &pollux_dataplane::config::ring::Connection) -> ConnectionRow {
    let socket = |at: Endpoint| SocketAddr::new(at.address, at.l4_port);
    ConnectionRow {
        protocol: if listed.protocol == protocol::TCP { "TCP" } else { "UDP" }.to_owned(),
        expires: listed.expires.as_secs(),
        state: state_name(listed.protocol, listed.state).to_owned(),
        client: socket(listed.endpoints.client),
        service: socket(listed.endpoints.virtual_),
        destination: socket(listed.endpoints.destination),
        engine: None,
    }
}

fn combine(a: Counters, b: Counters, with: impl Fn(u64, u64) -> u64) -> Counters {
    Counters {
        connections: with(a.connections, b.connections),
        in_packets: with(a.in_packets, b.in_packets),
        out_packets: with(a.out_packets, b.out_packets),
        in_bytes: with(a.in_bytes, b.in_bytes),
        out_bytes: with(a.out_bytes, b.out_bytes),
    }
}

fn since(counters: Counters, zero: Counters) -> Counters {
    combine(counters, zero, u64::wrapping_sub)
}

fn sum(all: impl Iterator<Item = Counters>) -> Counters {
    all.fold(Counters::default(), |total, one| combine(total, one, u64::wrapping_add))
}

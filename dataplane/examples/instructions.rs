//! Sends packets of a thousand known flows through `Pipeline::run`, for `scripts/instructions` to count instructions.
//!
//! `instructions ROW BURSTS` runs one row, `instructions --list` names all rows. Callgrind collects only inside
//! [`measured`], so neither the set-up nor the building of packets is counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::ExitCode;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use etherparse::PacketBuilder;
use pollux_dataplane::config::{LinkId, Route};
use pollux_dataplane::conn::{Flags, Sizes};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::io::{BURST, Batch};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::pipeline::{Pipeline, RxContext, TxBuffers};
use pollux_dataplane::service::{Method, Services, Tunnel};
use pollux_dataplane::testkit::{
    Bed, CLIENT_SIDE, Plan, ROUTER, SERVER_MAC, SERVER_SIDE, at, neighbour, nth_server, vip,
};
use pollux_dataplane::time::Tick;
use pollux_dataplane::wire::protocol::{TCP, UDP};

const FLOWS: u16 = 1_000;
/// Destinations of the service.
const SERVERS: u8 = 10;
/// Bytes of data in a packet.
const DATA: [u8; 18] = [0; 18];
/// Index of the ports in the test bed.
const CLIENTS: u16 = 0;
const SERVERS_PORT: u16 = 1;

/// One line of the table.
struct Row {
    name: &'static str,
    method: Method,
    protocol: u8,
    is_ipv6: bool,
    /// Measure the servers' replies instead of the clients' packets.
    is_reply: bool,
    /// Keep the packets off the fast path.
    is_slow: bool,
}

const fn row(name: &'static str, method: Method, protocol: u8) -> Row {
    Row { name, method, protocol, is_ipv6: false, is_reply: false, is_slow: false }
}

const ROWS: [Row; 12] = [
    row("nat-in", Method::Nat, UDP),
    Row { is_reply: true, ..row("nat-out", Method::Nat, UDP) },
    row("nat-in-tcp", Method::Nat, TCP),
    Row { is_reply: true, ..row("nat-out-tcp", Method::Nat, TCP) },
    row("dr", Method::Dr, UDP),
    row("ipip", Method::Tunnel(Tunnel::Ipip), UDP),
    Row { is_ipv6: true, ..row("nat-in-ipv6", Method::Nat, UDP) },
    Row { is_ipv6: true, is_reply: true, ..row("nat-out-ipv6", Method::Nat, UDP) },
    Row { is_ipv6: true, ..row("dr-ipv6", Method::Dr, UDP) },
    Row { is_ipv6: true, ..row("ipip-ipv6", Method::Tunnel(Tunnel::Ipip), UDP) },
    Row { is_slow: true, ..row("nat-in-slow", Method::Nat, UDP) },
    Row { is_slow: true, is_reply: true, ..row("nat-out-slow", Method::Nat, UDP) },
];

fn v6(net: u16, host: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host).into()
}

impl Row {
    fn vip(&self) -> Endpoint {
        if self.is_ipv6 { at(v6(9, 1), vip().l4_port) } else { vip() }
    }

    fn server(&self, n: u8) -> Endpoint {
        if self.is_ipv6 { at(v6(2, 2 + u16::from(n)), 8080) } else { nth_server(n) }
    }

    fn client(&self, n: u16) -> Endpoint {
        let address =
            if self.is_ipv6 { v6(1, n) } else { Ipv4Addr::from_bits(0xac10_0000 + u32::from(n)).into() };
        at(address, 1024 + n)
    }

    fn bed(&self) -> Bed {
        let sizes = Sizes { ipv4: u32::from(FLOWS), ipv6: u32::from(FLOWS), extra: 0 };
        let mut plan = Plan { sizes, servers: SERVERS, protocol: self.protocol, ..Plan::new(self.method) };
        if !self.is_ipv6 {
            return plan.bed().expect("memory for the table");
        }
        plan.network.local.insert(self.vip().address);
        let send = |link, via| Route::Send { link: LinkId(link), via, mtu: None, source: None };
        let router = v6(3, 1);
        plan.network.routes6.insert("2001:db8:0:1::/64".parse().expect("a prefix"), send(0, Some(router)));
        plan.network.routes6.insert("2001:db8:0:2::/64".parse().expect("a prefix"), send(1, None));
        plan.network.links[1].ipv6 = Some("2001:db8:0:2::1".parse().expect("an address"));
        neighbour(&mut plan.network, 0, router, ROUTER);
        for n in 0..SERVERS {
            neighbour(&mut plan.network, 1, self.server(n).address, SERVER_MAC);
        }
        let mut snapshot = plan.snapshot();
        let services = Arc::make_mut(&mut snapshot.services);
        *services = Services::default();
        plan.serve(services, self.vip(), (0..SERVERS).map(|n| self.server(n)));
        snapshot.targets = (0..SERVERS).map(|n| plan.network.target(self.server(n).address)).collect();
        plan.bed_with(snapshot).expect("memory for the table")
    }

    /// A packet between two endpoints, with these TCP flags if it is TCP.
    fn frame(&self, from: Endpoint, to: Endpoint, flags: &str) -> Frame {
        let is_reply = (0..SERVERS).any(|n| self.server(n) == from);
        let ether = match is_reply {
            true => PacketBuilder::ethernet2(SERVER_MAC, SERVER_SIDE),
            false => PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE),
        };
        let ip = match (from.address, to.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ether.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ether.ipv6(from.octets(), to.octets(), 64),
            _ => unreachable!("one family a row"),
        };
        let mut bytes = Vec::new();
        if self.protocol == UDP {
            ip.udp(from.l4_port, to.l4_port).write(&mut bytes, &DATA).expect("a vector grows");
        } else {
            let mut tcp = ip.tcp(from.l4_port, to.l4_port, 1000, 1024);
            if flags.contains('S') {
                tcp = tcp.syn();
            }
            if flags.contains('A') {
                tcp = tcp.ack(1);
            }
            tcp.write(&mut bytes, &DATA).expect("a vector grows");
        }
        Frame::new(&bytes)
    }

    /// The address a forwarded packet goes to.
    fn destination(&self, frame: &Frame) -> Endpoint {
        let bytes = frame.bytes();
        let address = (0..SERVERS).map(|n| self.server(n)).find(|server| match server.address {
            IpAddr::V4(address) => bytes[30..34] == address.octets(),
            IpAddr::V6(address) => bytes[38..54] == address.octets(),
        });
        address.expect("a destination of the service")
    }
}

/// A pipeline with a connection for every flow.
struct Harness {
    bed: Bed,
    tx: TxBuffers<Frame>,
}

impl Harness {
    fn new(row: &Row) -> Harness {
        let bed = row.bed();
        let tx = TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([Arc::new(ArrayQueue::new(1))]));
        Harness { bed, tx }
    }

    /// Opens a flow and returns the packet to send again and again.
    fn open(&mut self, row: &Row, n: u16) -> Frame {
        let (client, vip) = (row.client(n), row.vip());
        let forwarded = self.send(CLIENTS, row.frame(client, vip, "S"));
        if row.method == Method::Nat {
            let server = row.destination(&forwarded);
            self.send(SERVERS_PORT, row.frame(server, client, "SA"));
            self.send(CLIENTS, row.frame(client, vip, "A"));
            if row.is_reply {
                return row.frame(server, client, "A");
            }
        }
        row.frame(client, vip, "A")
    }

    /// Sets [`Flags::SLOW`] on every connection.
    fn slow_down(&mut self) {
        let conns = &mut self.bed.worker.default_namespace.pipeline.conns;
        let mut next = Some(0);
        while let Some(from) = next {
            let (id, after) = conns.next_live(from, u32::MAX);
            id.into_iter().for_each(|id| conns.entry_mut(id).flags.set(Flags::SLOW, true));
            next = after;
        }
    }

    fn slow_packets(&self) -> usize {
        self.bed.stats.counters.slow_path.iter().map(|counter| counter.get() as usize).sum()
    }

    fn send(&mut self, port: u16, frame: Frame) -> Frame {
        let mut burst = Batch::new();
        burst.push(frame);
        self.run(port, &mut burst);
        self.tx.ports[usize::from(1 - port)].pop().expect("the packet is forwarded")
    }

    /// Runs a burst that came in by a port.
    fn run(&mut self, port: u16, burst: &mut Batch<Frame>) {
        let rx = RxContext { port, now: Tick(0), relayed: false };
        measured(&mut self.bed.worker.default_namespace.pipeline, burst, &rx, &mut self.tx);
    }
}

/// Callgrind collects inside this function only.
#[inline(never)]
fn measured(pipeline: &mut Pipeline, burst: &mut Batch<Frame>, rx: &RxContext, tx: &mut TxBuffers<Frame>) {
    pipeline.run(burst, rx, tx);
}

fn run(row: &Row, bursts: usize) {
    let mut harness = Harness::new(row);
    let frames: Vec<Frame> = (0..FLOWS).map(|n| harness.open(row, n)).collect();
    if row.is_slow {
        harness.slow_down();
    }
    let port = if row.is_reply { SERVERS_PORT } else { CLIENTS };
    let before = harness.slow_packets();
    let mut frames = frames.iter().cycle();
    for _ in 0..bursts {
        let mut burst: Batch<Frame> = frames.by_ref().take(BURST).cloned().collect();
        harness.run(port, &mut burst);
        let sent = harness.tx.ports[usize::from(1 - port)].drain(..).len();
        assert_eq!(sent, BURST, "all packets are forwarded");
    }
    let slow = harness.slow_packets() - before;
    assert_eq!(slow, if row.is_slow { bursts * BURST } else { 0 }, "packets on the slow path");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [option] if option == "--list" => ROWS.iter().for_each(|row| println!("{}", row.name)),
        [name, bursts] => {
            let row = ROWS.iter().find(|row| row.name == name);
            let (Some(row), Ok(bursts)) = (row, bursts.parse()) else {
                eprintln!("instructions: no row {name} or not a number: {bursts}; --list names the rows");
                return ExitCode::FAILURE;
            };
            run(row, bursts);
        }
        _ => {
            eprintln!("usage: instructions --list | instructions ROW BURSTS");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

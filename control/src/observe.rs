//! From counters and connections to what is shown.

use std::net::SocketAddr;

use pollux_dataplane::config::Page;
use pollux_dataplane::config::ring::Connection;
use pollux_dataplane::proto;
use pollux_dataplane::service::{self, DestinationId};
use pollux_dataplane::stats::{Board, Counter};
use pollux_dataplane::verdict::{Answer, DropReason};
use pollux_dataplane::wire::protocol;

use crate::compile::Compiler;
use crate::model::{Method, Protocol, ServiceKey};
use crate::view::{ConnectionView, DestinationView, ServiceView, Stats, WorkerView};
use crate::workers::WorkerHandle;

/// What was counted of a destination, over all workers.
pub fn stats<'a>(boards: impl Iterator<Item = &'a Board>, id: DestinationId) -> Stats {
    boards.filter_map(|board| board.destinations.get(id.0 as usize)).fold(
        Stats::default(),
        |sum, counters| {
            add(
                sum,
                Stats {
                    connections: counters.connections.get(),
                    in_packets: counters.in_packets.get(),
                    out_packets: counters.out_packets.get(),
                    in_bytes: counters.in_bytes.get(),
                    out_bytes: counters.out_bytes.get(),
                },
            )
        },
    )
}

/// The sum of two counts.
pub fn add(a: Stats, b: Stats) -> Stats {
    Stats {
        connections: a.connections + b.connections,
        in_packets: a.in_packets + b.in_packets,
        out_packets: a.out_packets + b.out_packets,
        in_bytes: a.in_bytes + b.in_bytes,
        out_bytes: a.out_bytes + b.out_bytes,
    }
}

/// The configured services with what is counted of them.
pub fn services<'a>(
    compiler: &Compiler,
    boards: impl Iterator<Item = &'a Board> + Clone,
) -> Vec<ServiceView> {
    let mut views: Vec<ServiceView> = Vec::new();
    for service in &compiler.config().services {
        let destinations: Vec<DestinationView> = service
            .destinations
            .iter()
            .map(|destination| {
                let id = compiler.destination_id(&(service.key(), destination.key()));
                let load =
                    |board: &Board| id.and_then(|id| Some(board.destinations.get(id.0 as usize)?.load()));
                let loads = boards.clone().filter_map(load);
                let (active, inactive) =
                    loads.fold((0, 0), |sum, load| (sum.0 + load.active, sum.1 + load.inactive));
                DestinationView {
                    address: destination.address,
                    l4_port: destination.l4_port,
                    method: destination.method,
                    weight: destination.weight,
                    active,
                    inactive,
                    persistent: 0,
                    stats: id.map_or(Stats::default(), |id| stats(boards.clone(), id)),
                }
            })
            .collect();
        views.push(ServiceView {
            key: service.key(),
            scheduler: service.scheduler,
            destinations,
            stats: service_stats(compiler, boards.clone(), &service.key()),
        });
    }
    views
}

/// What was counted of a service: of its destinations, removed ones that still have connections included.
fn service_stats<'a>(
    compiler: &Compiler,
    boards: impl Iterator<Item = &'a Board> + Clone,
    key: &ServiceKey,
) -> Stats {
    compiler.destinations_of(key).map(|id| stats(boards.clone(), id)).fold(Stats::default(), add)
}

/// A connection as it is shown.
pub fn connection(listed: &Connection, worker: u16) -> ConnectionView {
    let at = |end: pollux_dataplane::flow::Endpoint| SocketAddr::new(end.address, end.l4_port);
    ConnectionView {
        protocol: match listed.protocol {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => Protocol::Sctp,
        },
        state: proto::state_name(listed.protocol, listed.state).to_owned(),
        expires_secs: listed.expires.as_secs(),
        client: at(listed.endpoints.client),
        r#virtual: at(listed.endpoints.virtual_),
        destination: at(listed.endpoints.destination),
        method: listed.method.map_or(Method::Nat, |method| match method {
            service::Method::Nat => Method::Nat,
            service::Method::Dr => Method::Dr,
            service::Method::Tunnel(_) => Method::Tunnel,
        }),
        in_packets: listed.in_packets.into(),
        flags: Vec::new(),
        worker,
    }
}

/// The connections of a page.
pub fn connections(page: &Page, worker: u16) -> Vec<ConnectionView> {
    page.connections.iter().map(|listed| connection(listed, worker)).collect()
}

/// What a worker did.
pub fn worker(handle: &WorkerHandle) -> WorkerView {
    let gauges = &handle.board.gauges;
    let named = |words: &[&'static str], counters: &[Counter]| {
        words.iter().zip(counters).map(|(word, counter)| ((*word).to_owned(), counter.get())).collect()
    };
    let drops: Vec<_> = DropReason::ALL.iter().map(|why| why.word()).collect();
    let answers: Vec<_> = Answer::ALL.iter().map(|why| why.word()).collect();
    WorkerView {
        core: handle.core,
        received: gauges.received.get(),
        taken_over: gauges.taken_over.get(),
        sent: gauges.sent.get(),
        to_kernel: gauges.to_kernel.get(),
        from_kernel: gauges.from_kernel.get(),
        handed_off: gauges.handed_off.get(),
        waiting: gauges.waiting.get(),
        drops: named(&drops, &gauges.drops),
        answered: named(&answers, &gauges.answers),
        given_up: gauges.given_up.get(),
        connections: gauges.connections_ipv4.get() + gauges.connections_ipv6.get(),
        connection_capacity: handle.capacity,
        table_bytes: gauges.table_bytes.get(),
        busy_cycles: gauges.busy_cycles.get(),
        bursts: gauges.bursts.get(),
    }
}

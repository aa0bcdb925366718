//! From counters and connections to what is shown.

use std::net::SocketAddr;

use pollux_dataplane::config::Page;
use pollux_dataplane::config::ring::Connection;
use pollux_dataplane::proto;
use pollux_dataplane::sched::{Load, Loads as _};
use pollux_dataplane::service::{self, DestinationId};
use pollux_dataplane::stats::{Board, Counter};
use pollux_dataplane::verdict::{Answer, DropReason};
use pollux_dataplane::wire::protocol;

use crate::compile::{Compiler, SCTP};
use crate::estimate::{Counted, Ledger};
use crate::model::{Destination, Method, Service};
use crate::view::{ConnectionProtocol, ConnectionView, DestinationView, ServiceView, Stats, WorkerView};
use crate::workers::WorkerHandle;

/// What the boards of all workers count of a destination.
pub fn stats<'a>(boards: impl Iterator<Item = &'a Board>, id: DestinationId) -> Stats {
    let known = boards.filter_map(|board| board.destinations.get(id.0 as usize));
    known.fold(Stats::default(), |sum, counters| {
        sum.plus(Stats {
            connections: counters.connections.get(),
            in_packets: counters.in_packets.get(),
            out_packets: counters.out_packets.get(),
            in_bytes: counters.in_bytes.get(),
            out_bytes: counters.out_bytes.get(),
        })
    })
}

/// The configured services with what is counted of them.
pub fn services<'a>(
    compiler: &Compiler,
    boards: impl Iterator<Item = &'a Board> + Clone,
    ledger: &Ledger,
) -> Vec<ServiceView> {
    let view = |service: &Service| {
        let destinations = service.destinations.iter().map(|of| {
            let id = compiler.destination_id(&(service.key(), of.key()));
            destination(of, id, boards.clone(), ledger)
        });
        let Counted { live, shown, rates } = ledger.service(&service.key());
        ServiceView {
            key: service.key(),
            scheduler: service.scheduler,
            flags: service.flags,
            persistence: service.persistence.clone(),
            one_packet: service.one_packet,
            destinations: destinations.collect(),
            stats: shown,
            live,
            rates,
        }
    };
    compiler.config().services.iter().map(view).collect()
}

fn destination<'a>(
    of: &Destination,
    id: Option<DestinationId>,
    boards: impl Iterator<Item = &'a Board> + Clone,
    ledger: &Ledger,
) -> DestinationView {
    let known = id.into_iter().flat_map(|id| {
        boards.clone().filter_map(move |board| Some(board.destinations.get(id.0 as usize)?.load()))
    });
    let load = known.fold(Load::default(), |sum, load| Load {
        active: sum.active.wrapping_add(load.active),
        inactive: sum.inactive.wrapping_add(load.inactive),
    });
    let Counted { live, shown, rates } = id.map_or(Counted::default(), |id| ledger.destination(id));
    DestinationView {
        address: of.address,
        l4_port: of.l4_port,
        method: of.method,
        tunnel: of.tunnel,
        weight: of.weight,
        upper_threshold: of.upper_threshold,
        lower_threshold: of.lower_threshold,
        overloaded: id.is_some_and(|id| boards.clone().any(|board| board.is_overloaded(id))),
        active: load.active,
        inactive: load.inactive,
        persistent: id.map_or(0, persistent),
        stats: shown,
        live,
        rates,
    }
}

/// Persistence templates of a destination. They live in a store that all workers share; until control can read it
/// there are none to be seen.
fn persistent(_: DestinationId) -> u32 {
    0
}

/// A connection as it is shown.
pub fn connection(listed: &Connection, worker: u16) -> ConnectionView {
    let at = |end: pollux_dataplane::flow::Endpoint| SocketAddr::new(end.address, end.l4_port);
    let flags =
        [("no_output", listed.no_output), ("inactive", listed.inactive), ("bypass", listed.method.is_none())];
    ConnectionView {
        protocol: match listed.protocol {
            protocol::TCP => ConnectionProtocol::Tcp,
            protocol::UDP => ConnectionProtocol::Udp,
            SCTP => ConnectionProtocol::Sctp,
            _ => ConnectionProtocol::Ip,
        },
        state: proto::state_name(listed.protocol, listed.state).to_owned(),
        expires_secs: listed.expires.as_secs(),
        client: at(listed.endpoints.client),
        r#virtual: at(listed.endpoints.virtual_),
        destination: at(listed.endpoints.destination),
        method: listed.method.map(|method| match method {
            service::Method::Nat => Method::Nat,
            service::Method::Dr => Method::Dr,
            service::Method::Tunnel(_) => Method::Tunnel,
        }),
        in_packets: listed.in_packets.into(),
        flags: flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect(),
        engine: None,
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

//! Builds replies from counters and connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use pollux_dataplane::config::Page;
use pollux_dataplane::config::ring::Connection;
use pollux_dataplane::conn::quota::Quotas;
use pollux_dataplane::conn::template::ListedTemplate;
use pollux_dataplane::proto;
use pollux_dataplane::sched::Load;
use pollux_dataplane::service::{self, DestinationId};
use pollux_dataplane::stats::{Counter, WorkerStats};
use pollux_dataplane::verdict::{DropReason, IcmpReason, SlowPathReason};
use pollux_dataplane::wire::protocol;
use serde::Serialize;

use crate::api::view::{
    ConnectionProtocol, ConnectionView, DestinationView, EngineData, ServiceView, Stats, WorkerView,
};
use crate::engine::compile::Compiler;
use crate::engine::estimate::{Estimate, Estimators};
use crate::engine::workers::WorkerHandle;
use crate::model::{Destination, Method, Service, ServiceKey};

/// Returns the sum of all workers' counters of a destination.
pub fn stats<'a>(worker_stats: impl Iterator<Item = &'a WorkerStats>, id: DestinationId) -> Stats {
    let known = worker_stats.filter_map(|stats| stats.destinations.get(id.0 as usize));
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

/// Returns the configured services, or only one, with their counters.
pub fn services<'a>(
    compiler: &Compiler,
    worker_stats: impl Iterator<Item = &'a WorkerStats> + Clone,
    estimators: &Estimators,
    quotas: Option<&Quotas>,
    only: Option<ServiceKey>,
) -> Vec<ServiceView> {
    let view = |service: &Service| {
        let destinations = service.destinations.iter().map(|configured| {
            let id = compiler.destination_id(&(service.key, configured.key()));
            destination(configured, id, worker_stats.clone(), estimators, quotas)
        });
        let Estimate { live, shown, rates } = estimators.service(&service.key);
        ServiceView {
            key: service.key,
            scheduler: service.scheduler,
            flags: service.flags,
            persistence: service.persistence.clone(),
            ops: service.ops,
            destinations: destinations.collect(),
            stats: shown,
            live,
            rates,
        }
    };
    let matches = |service: &&Service| only.is_none_or(|key| service.key == key);
    compiler.config().services.iter().filter(matches).map(view).collect()
}

/// Returns the connections of a destination, over all workers.
pub fn load<'a>(worker_stats: impl Iterator<Item = &'a WorkerStats>, id: DestinationId) -> Load {
    let known = worker_stats.filter_map(|stats| Some(stats.destinations.get(id.0 as usize)?.load()));
    known.fold(Load::default(), |sum, load| Load {
        active: sum.active.wrapping_add(load.active),
        inactive: sum.inactive.wrapping_add(load.inactive),
    })
}

fn destination<'a>(
    configured: &Destination,
    id: Option<DestinationId>,
    worker_stats: impl Iterator<Item = &'a WorkerStats> + Clone,
    estimators: &Estimators,
    quotas: Option<&Quotas>,
) -> DestinationView {
    let load = id.map_or(Load::default(), |id| load(worker_stats, id));
    let of_quotas = quotas.zip(id);
    let Estimate { live, shown, rates } = id.map_or(Estimate::default(), |id| estimators.destination(id));
    DestinationView {
        address: configured.address,
        l4_port: configured.l4_port,
        method: configured.method,
        tunnel: (configured.method == Method::Tunnel).then_some(configured.tunnel),
        weight: configured.weight,
        upper_threshold: configured.upper_threshold,
        lower_threshold: configured.lower_threshold,
        overloaded: of_quotas.is_some_and(|(quotas, id)| quotas.is_overloaded(id)),
        active: load.active,
        inactive: load.inactive,
        persistent: of_quotas.map_or(0, |(quotas, id)| quotas.templates(id)),
        stats: shown,
        live,
        rates,
    }
}

/// Converts a connection for a reply.
pub fn connection(listed: &Connection, worker: u16) -> ConnectionView {
    let at = |end: pollux_dataplane::flow::Endpoint| SocketAddr::new(end.address, end.l4_port);
    let flags =
        [("no_output", listed.no_output), ("inactive", listed.inactive), ("bypass", listed.method.is_none())];
    ConnectionView {
        protocol: connection_protocol(listed.protocol),
        state: proto::state_name(listed.protocol, listed.state).to_owned(),
        expires_secs: listed.expires.as_secs(),
        client: at(listed.endpoints.client),
        r#virtual: at(listed.endpoints.virtual_),
        destination: at(listed.endpoints.destination),
        method: listed.method.map(method),
        in_packets: listed.in_packets.into(),
        flags: flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect(),
        engine: None,
        worker: Some(worker),
    }
}

fn connection_protocol(protocol: u8) -> ConnectionProtocol {
    match protocol {
        protocol::TCP => ConnectionProtocol::Tcp,
        protocol::UDP => ConnectionProtocol::Udp,
        protocol::SCTP => ConnectionProtocol::Sctp,
        _ => ConnectionProtocol::Ip,
    }
}

fn method(method: service::Method) -> Method {
    match method {
        service::Method::Nat => Method::Nat,
        service::Method::Dr => Method::Dr,
        service::Method::Tunnel(_) => Method::Tunnel,
    }
}

/// Converts a persistence template, as IPVS lists it: the client has port 0, a fwmark is written as an IPv4 address,
/// and a template no longer in use has port 65535. Spec 4.3.
pub fn template(listed: &ListedTemplate) -> ConnectionView {
    let service = listed.key.service.listed();
    let used = |l4_port| if listed.disabled { u16::MAX } else { l4_port };
    let endpoint = listed.new.endpoint;
    let data = &listed.key.data;
    ConnectionView {
        protocol: connection_protocol(listed.key.protocol),
        state: if listed.assured { "ASSURED" } else { "NONE" }.to_owned(),
        expires_secs: listed.expires.as_secs(),
        client: SocketAddr::new(listed.key.client, 0),
        r#virtual: SocketAddr::new(service.address, used(service.l4_port)),
        destination: SocketAddr::new(endpoint.address, used(endpoint.l4_port)),
        method: Some(method(listed.new.method)),
        in_packets: 0,
        flags: vec!["template".to_owned()],
        engine: (!data.is_empty()).then(|| EngineData {
            engine: "sip".to_owned(),
            data: String::from_utf8_lossy(data).into_owned(),
        }),
        worker: None,
    }
}

/// Converts the connections of a page.
pub fn connections(page: &Page, worker: u16) -> Vec<ConnectionView> {
    page.connections.iter().map(|listed| connection(listed, worker)).collect()
}

/// Converts the counters of a worker.
pub fn worker(handle: &WorkerHandle) -> WorkerView {
    let counters = &handle.stats.counters;
    let named = |words: &[&'static str], counters: &[Counter]| {
        words.iter().zip(counters).map(|(word, counter)| ((*word).to_owned(), counter.get())).collect()
    };
    let drops: Vec<_> = DropReason::ALL.iter().map(|why| why.word()).collect();
    let icmp_sent: Vec<_> = IcmpReason::ALL.iter().map(|why| why.word()).collect();
    let slow_path: Vec<_> = SlowPathReason::ALL.iter().map(|why| why.word()).collect();
    WorkerView {
        core: handle.core,
        received: counters.received.get(),
        handoff_received: counters.handoff_received.get(),
        sent: counters.sent.get(),
        to_kernel: counters.to_kernel.get(),
        from_kernel: counters.from_kernel.get(),
        handoff_sent: counters.handoff_sent.get(),
        awaiting_neighbour: counters.awaiting_neighbour.get(),
        reassembling: counters.reassembling.get(),
        fragments_sent: counters.fragments_sent.get(),
        drops: named(&drops, &counters.drops),
        icmp_sent: named(&icmp_sent, &counters.icmp_sent),
        slow_path: named(&slow_path, &counters.slow_path),
        evicted: counters.evicted.get(),
        expired_early: counters.expired_early.get(),
        events_lost: counters.events_lost.get(),
        connections: counters.connections_ipv4.get() + counters.connections_ipv6.get(),
        connection_capacity: handle.capacity,
        table_bytes: counters.table_bytes.get(),
        busy_cycles: counters.busy_cycles.get(),
        bursts: counters.bursts.get(),
        idle_pauses: counters.idle_pauses.get(),
        sleeps: counters.sleeps.get(),
        sleep_us: counters.sleep_us.get(),
        interrupt_wakeups: counters.interrupt_wakeups.get(),
    }
}

/// Returns the counters of the exception path, or of a mirror, by name; none if it does not exist.
pub fn kernel_counters(counters: Option<&impl Serialize>) -> BTreeMap<String, u64> {
    let named = counters.and_then(|counters| serde_json::to_value(counters).ok());
    named.and_then(|named| serde_json::from_value(named).ok()).unwrap_or_default()
}

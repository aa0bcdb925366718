//! What the daemon tells, as the rows `ipvsadm` prints.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::ipvsadm::rows::{
    ConnectionRow, Counters, DestinationRow, Forward, Rates, ServiceName, ServiceRow, Transport, Tunnel,
};
use crate::model::{Family, Method, Protocol, ServiceKey};
use crate::view::{ConnectionView, DestinationView, ServiceView, Stats, StatsView};

/// A service as a row; rates are not known here and are 0.
pub fn service_row(view: &ServiceView) -> ServiceRow {
    ServiceRow {
        name: name(view.key),
        scheduler: view.scheduler.name().to_owned(),
        flags: Vec::new(),
        persistence: None,
        one_packet: false,
        counters: counters(&view.stats),
        rates: Rates::default(),
        destinations: view.destinations.iter().map(destination_row).collect(),
    }
}

fn name(key: ServiceKey) -> ServiceName {
    match key {
        ServiceKey::Address { protocol, address, l4_port } => {
            let transport = match protocol {
                Protocol::Tcp => Transport::Tcp,
                Protocol::Udp => Transport::Udp,
                Protocol::Sctp => Transport::Sctp,
            };
            ServiceName::Address(transport, SocketAddr::new(address, l4_port))
        }
        ServiceKey::Mark { mark, family } => ServiceName::Mark { mark, ipv6: family == Family::Ipv6 },
    }
}

fn destination_row(view: &DestinationView) -> DestinationRow {
    DestinationRow {
        socket: SocketAddr::new(view.address, view.l4_port),
        forward: match view.method {
            Method::Nat => Forward::Masq,
            Method::Dr => Forward::Route,
            Method::Tunnel => Forward::Tunnel(Tunnel::Ipip),
        },
        weight: view.weight,
        upper: 0,
        lower: 0,
        active: view.active,
        inactive: view.inactive,
        persistent: view.persistent,
        counters: counters(&view.stats),
        rates: Rates::default(),
    }
}

fn counters(stats: &Stats) -> Counters {
    let Stats { connections, in_packets, out_packets, in_bytes, out_bytes } = *stats;
    Counters { connections, in_packets, out_packets, in_bytes, out_bytes }
}

/// A connection as a row.
pub fn connection_row(view: &ConnectionView) -> ConnectionRow {
    ConnectionRow {
        protocol: view.protocol.to_string().to_uppercase(),
        expires: view.expires_secs,
        state: view.state.clone(),
        client: view.client,
        service: view.r#virtual,
        destination: view.destination,
        engine: None,
    }
}

/// Totals, then a line for each worker and port, then what was dropped and why.
pub fn stats(view: &StatsView) -> String {
    let mut out = format!(
        "totals: {} connections, {} packets in, {} out, {} bytes in, {} out\n",
        view.totals.connections,
        view.totals.in_packets,
        view.totals.out_packets,
        view.totals.in_bytes,
        view.totals.out_bytes,
    );
    // Writing to a String cannot fail.
    for w in &view.workers {
        let _ = writeln!(
            out,
            "worker on core {}: received {} sent {} to kernel {} from kernel {} handed off {} connections {}/{}",
            w.core,
            w.received,
            w.sent,
            w.to_kernel,
            w.from_kernel,
            w.handed_off,
            w.connections,
            w.connection_capacity,
        );
        for (reason, packets) in w.drops.iter().filter(|(_, packets)| **packets > 0) {
            let _ = writeln!(out, "  dropped {packets}: {reason}");
        }
    }
    for p in &view.ports {
        let twin = p.twin.as_deref().unwrap_or("no");
        let link = if p.link { "up" } else { "down" };
        let _ = writeln!(out, "port {} ({}): {} link {link} twin {twin}", p.name, p.driver, p.mac);
    }
    out
}

//! The daemon's replies as text: rows for the tables of `ipvsadm`, and tables of our own.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};

use crate::ipvsadm::flag_words;
use crate::ipvsadm::rows::{
    Checksum, ConnectionRow, DestinationRow, Forward, Persistence, ServiceName, ServiceRow, Transport, Tunnel,
};
use crate::model::{self, Engine, Family, Method, Protocol, ServiceKey};
use crate::view::{ConnectionView, DestinationView, ServiceView, StateView, StatsView, VersionView};

/// Converts a service to a row.
pub fn service_row(view: &ServiceView) -> ServiceRow {
    ServiceRow {
        name: name(view.key),
        scheduler: view.scheduler.name().to_owned(),
        flags: flag_words(view.scheduler, view.flags),
        persistence: view.persistence.as_ref().map(persistence),
        ops: view.ops,
        counters: view.stats,
        rates: view.rates,
        destinations: view.destinations.iter().map(destination_row).collect(),
    }
}

/// An all-ones mask is not shown.
fn persistence(of: &model::Persistence) -> Persistence {
    let netmask = of.netmask.filter(|mask| *mask != Ipv4Addr::BROADCAST).map(|mask| mask.to_string());
    let prefix = of.prefix_len.filter(|length| *length != 128).map(|length| length.to_string());
    let engine = of.engine.map(|Engine::Sip| "sip".to_owned());
    Persistence { timeout: of.timeout, mask: netmask.or(prefix), engine }
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
        ServiceKey::Fwmark { fwmark, family } => ServiceName::Fwmark { fwmark, ipv6: family == Family::Ipv6 },
    }
}

fn destination_row(view: &DestinationView) -> DestinationRow {
    DestinationRow {
        socket: SocketAddr::new(view.address, view.l4_port),
        forward: match view.method {
            Method::Nat => Forward::Masq,
            Method::Dr => Forward::Route,
            Method::Tunnel => Forward::Tunnel(tunnel(view.tunnel)),
        },
        weight: view.weight,
        upper: view.upper_threshold,
        lower: view.lower_threshold,
        active: view.active,
        inactive: view.inactive,
        persistent: view.persistent,
        counters: view.stats,
        rates: view.rates,
    }
}

fn tunnel(tunnel: model::Tunnel) -> Tunnel {
    let sum = |checksum| match checksum {
        model::Checksum::No => Checksum::No,
        model::Checksum::Full => Checksum::Yes,
        model::Checksum::Remote => Checksum::Remote,
    };
    match tunnel {
        model::Tunnel::Ipip => Tunnel::Ipip,
        model::Tunnel::Gue { l4_port, checksum } => Tunnel::Gue(l4_port, sum(checksum)),
        model::Tunnel::Gre { checksum } => Tunnel::Gre(sum(checksum)),
    }
}

/// Converts a connection to a row.
pub fn connection_row(view: &ConnectionView) -> ConnectionRow {
    ConnectionRow {
        protocol: view.protocol.name().to_owned(),
        expires: view.expires_secs,
        state: view.state.clone(),
        client: view.client,
        service: view.r#virtual,
        destination: view.destination,
        engine: view.engine.clone().map(|of| (of.engine, of.data)),
    }
}

/// Totals, then one line per worker with its idle times and drops, then one line per port.
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
            w.handoff_sent,
            w.connections,
            w.connection_capacity,
        );
        if w.idle_pauses + w.sleeps > 0 {
            let ms = w.sleep_us / 1000;
            let _ = writeln!(
                out,
                "  idle: {} pauses, {} sleeps ({ms} ms in total), {} interrupt wakeups",
                w.idle_pauses, w.sleeps, w.interrupt_wakeups
            );
        }
        for (reason, packets) in w.drops.iter().filter(|(_, packets)| **packets > 0) {
            let _ = writeln!(out, "  dropped {packets}: {reason}");
        }
    }
    for p in &view.ports {
        let twin = p.twin.as_deref().unwrap_or("no");
        let link = if p.link { "up" } else { "down" };
        let _ = writeln!(out, "port {} ({}): {} link {link} twin {twin}", p.name, p.driver, p.mac);
    }
    out.extend(view.state.as_ref().map(state));
    out
}

/// Versions of the daemon and of DPDK, and the status of the state file.
pub fn version(view: &VersionView) -> String {
    let dpdk = view.dpdk.as_deref().unwrap_or("no DPDK");
    let state_line = view.state.as_ref().map(state).unwrap_or_default();
    format!("polluxd {}, {dpdk}\n{state_line}", view.version)
}

fn state(view: &StateView) -> String {
    let pending = if view.pending { ", a change is pending" } else { "" };
    let failed = match &view.error {
        Some(error) => format!(", failed {} times, last error: {error}", view.failed),
        None if view.failed > 0 => format!(", failed {} times earlier", view.failed),
        None => String::new(),
    };
    format!("state {}: written {} times{pending}{failed}\n", view.path.display(), view.written)
}

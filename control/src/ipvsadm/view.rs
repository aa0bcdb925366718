//! Converts replies of the daemon to rows.

use std::net::{Ipv4Addr, SocketAddr};

use super::flags;
use super::rows::{
    Checksum, ConnectionRow, DestinationRow, Forward, Persistence, ServiceName, ServiceRow, Transport, Tunnel,
};
use crate::api::view::{ConnectionView, DestinationView, ServiceView};
use crate::model::{self, Engine, Family, Method, Protocol, ServiceKey};

/// Converts a service to a row.
pub fn service_row(view: &ServiceView) -> ServiceRow {
    ServiceRow {
        name: name(view.key),
        scheduler: view.scheduler.name().to_owned(),
        flags: flags::words(view.scheduler, view.flags),
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
            Method::Tunnel => Forward::Tunnel(tunnel(view.tunnel.unwrap_or_default())),
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

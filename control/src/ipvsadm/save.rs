//! `-S`: the services as lines that `-R` reads back, without thresholds, sync daemons and timeouts.

use std::net::SocketAddr;

use super::address::socket;
use super::flags;
use super::format::{engine_name, persistence_mask, port_protocol, signed};
use super::names::Names;
use super::order::{destinations_in_order, in_order};
use crate::api::view::{DestinationView, ServiceView};
use crate::model::{Checksum, Family, Method, Protocol, ServiceKey, Tunnel};

/// The output of `ipvsadm -S`.
pub fn save(services: &[ServiceView], names: &dyn Names) -> String {
    let mut out = String::new();
    for service in in_order(services, false) {
        let name = service_option(service.key, names);
        out += &format!("-A {name} -s {}{}\n", service.scheduler.name(), attributes(service));
        for destination in destinations_in_order(service, false) {
            let at = socket(destination.endpoint(), port_protocol(service.key), names);
            let (method, weight, tunnel) = (method(destination), destination.weight, tunnel(destination));
            out += &format!("-a {name} -r {at} {method} -w {weight}{tunnel}\n");
        }
    }
    out
}

fn service_option(key: ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Address { protocol, address, l4_port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            let at = SocketAddr::new(address, l4_port);
            format!("{option} {}", socket(at, Some(protocol.name()), names))
        }
        ServiceKey::Fwmark { fwmark, family: Family::Ipv4 } => format!("-f {}", signed(fwmark)),
        ServiceKey::Fwmark { fwmark, family: Family::Ipv6 } => format!("-f {} -6", signed(fwmark)),
    }
}

fn attributes(service: &ServiceView) -> String {
    let mut text = String::new();
    if let Some(persistence) = &service.persistence {
        text += &format!(" -p {}", persistence.timeout);
        text += &persistence_mask(persistence).map(|mask| format!(" -M {mask}")).unwrap_or_default();
        text +=
            &persistence.engine.map(|engine| format!(" --pe {}", engine_name(engine))).unwrap_or_default();
    }
    if service.ops {
        text += " -o";
    }
    if let Some(flags) = flags::words(service.scheduler, service.flags) {
        text += &format!(" -b {flags}");
    }
    text
}

fn method(destination: &DestinationView) -> &'static str {
    match destination.method {
        Method::Nat => "-m",
        Method::Dr => "-g",
        Method::Tunnel => "-i",
    }
}

fn tunnel(destination: &DestinationView) -> String {
    let sum = |checksum| match checksum {
        Checksum::No => "--tun-nocsum",
        Checksum::Full => "--tun-csum",
        Checksum::Remote => "--tun-remcsum",
    };
    if destination.method != Method::Tunnel {
        return String::new();
    }
    let tunnel = destination.tunnel.unwrap_or_default();
    let kind = tunnel.kind().name();
    match tunnel {
        Tunnel::Ipip => format!(" --tun-type {kind}"),
        Tunnel::Gue { l4_port, checksum } => {
            format!(" --tun-type {kind} --tun-port {l4_port} {}", sum(checksum))
        }
        Tunnel::Gre { checksum } => format!(" --tun-type {kind} {}", sum(checksum)),
    }
}

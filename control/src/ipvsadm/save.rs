//! `-S`: the services as lines that `-R` reads back, without thresholds, sync daemons and timeouts.

use super::address::socket;
use super::format::signed;
use super::names::Names;
use super::order::{destinations_in_order, in_order};
use super::rows::{
    Checksum, DestinationRow, Forward, Persistence, ServiceName, ServiceRow, Transport, Tunnel,
};

/// The output of `ipvsadm -S`.
pub fn save(services: &[ServiceRow], names: &dyn Names) -> String {
    let mut out = String::new();
    for service in in_order(services, false) {
        let name = service_option(&service.name, names);
        out += &format!("-A {name} -s {}{}\n", service.scheduler, attributes(service));
        for row in destinations_in_order(service, false) {
            let at = socket(row.socket, service.name.protocol(), names);
            out += &format!("-a {name} -r {at} {} -w {}{}\n", method(row), row.weight, tunnel(row));
        }
    }
    out
}

fn service_option(name: &ServiceName, names: &dyn Names) -> String {
    match name {
        ServiceName::Address(transport, at) => {
            let option = match transport {
                Transport::Tcp => "-t",
                Transport::Udp => "-u",
                Transport::Sctp => "--sctp-service",
            };
            format!("{option} {}", socket(*at, Some(transport.word()), names))
        }
        ServiceName::Fwmark { fwmark, ipv6: false } => format!("-f {}", signed(*fwmark)),
        ServiceName::Fwmark { fwmark, ipv6: true } => format!("-f {} -6", signed(*fwmark)),
    }
}

fn attributes(service: &ServiceRow) -> String {
    let mut text = String::new();
    if let Some(Persistence { timeout, mask, engine }) = &service.persistence {
        text += &format!(" -p {timeout}");
        text += &mask.as_ref().map(|mask| format!(" -M {mask}")).unwrap_or_default();
        text += &engine.as_ref().map(|engine| format!(" --pe {engine}")).unwrap_or_default();
    }
    if service.ops {
        text += " -o";
    }
    if !service.flags.is_empty() {
        text += &format!(" -b {}", service.flags.join(","));
    }
    text
}

fn method(row: &DestinationRow) -> &'static str {
    match row.forward {
        Forward::Masq => "-m",
        Forward::Tunnel(_) => "-i",
        Forward::Route | Forward::Local => "-g",
    }
}

fn tunnel(row: &DestinationRow) -> String {
    let sum = |sum: Checksum| match sum {
        Checksum::No => "--tun-nocsum",
        Checksum::Yes => "--tun-csum",
        Checksum::Remote => "--tun-remcsum",
    };
    match row.forward {
        Forward::Tunnel(Tunnel::Ipip) => " --tun-type ipip".to_owned(),
        Forward::Tunnel(Tunnel::Gue(port, c)) => format!(" --tun-type gue --tun-port {port} {}", sum(c)),
        Forward::Tunnel(Tunnel::Gre(c)) => format!(" --tun-type gre {}", sum(c)),
        _ => String::new(),
    }
}

//! `-S`: the services as lines that `-R` reads back. Thresholds, daemons and time-outs are not part of it.

use super::format::signed;
use super::order::{destinations_in_order, in_order};
use super::rows::{
    Checksum, DestinationRow, Forward, Persistence, ServiceName, ServiceRow, Transport, Tunnel,
};

/// The lines as `ipvsadm -Sn` prints them.
pub fn save(services: &[ServiceRow]) -> String {
    let mut out = String::new();
    for service in in_order(services, false) {
        let name = service_option(&service.name);
        out += &format!("-A {name} -s {}{}\n", service.scheduler, attributes(service));
        for row in destinations_in_order(service, false) {
            out += &format!("-a {name} -r {} {} -w {}{}\n", row.socket, method(row), row.weight, tunnel(row));
        }
    }
    out
}

fn service_option(name: &ServiceName) -> String {
    match name {
        ServiceName::Address(Transport::Tcp, socket) => format!("-t {socket}"),
        ServiceName::Address(Transport::Udp, socket) => format!("-u {socket}"),
        ServiceName::Address(Transport::Sctp, socket) => format!("--sctp-service {socket}"),
        ServiceName::Mark { mark, ipv6: false } => format!("-f {}", signed(*mark)),
        ServiceName::Mark { mark, ipv6: true } => format!("-f {} -6", signed(*mark)),
    }
}

fn attributes(service: &ServiceRow) -> String {
    let mut text = String::new();
    if let Some(Persistence { timeout, mask, engine }) = &service.persistence {
        text += &format!(" -p {timeout}");
        text += &mask.as_ref().map(|mask| format!(" -M {mask}")).unwrap_or_default();
        text += &engine.as_ref().map(|engine| format!(" --pe {engine}")).unwrap_or_default();
    }
    if service.one_packet {
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

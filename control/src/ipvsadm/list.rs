//! The service tables, `-L` with its variants.

use std::fmt::Write;

use super::command::Table;
use super::flags;
use super::format::{
    counters, destination_name, engine_name, forward_name, persistence_mask, port_protocol, rates,
    service_name,
};
use super::names::Names;
use super::order::{destinations_in_order, in_order};
use crate::api::view::{DestinationView, ServiceView};
use crate::model::{Checksum, Method, Settings, Tunnel};

/// First line of every full listing, with the version and table size of Linux, because scripts match this line.
pub const VERSION: &str = "IP Virtual Server version 1.2.1 (size=4096)";

/// Layout of a service table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// Table to print. Connections and timeouts have their own functions; here they give the plain table.
    pub table: Table,
    /// Print exact numbers.
    pub exact: bool,
    /// Print one service only, without the version line.
    pub single: bool,
    /// Keep the kernel's order: destinations newest first.
    pub unsorted: bool,
}

/// The output of `ipvsadm -L` for these services.
pub fn services(services: &[ServiceView], layout: Layout, names: &dyn Names) -> String {
    let mut out = String::new();
    if !layout.single {
        out += VERSION;
        out.push('\n');
    }
    out += &titles(layout.table);
    for service in in_order(services, layout.unsorted) {
        service_line(&mut out, service, layout, names);
        for destination in destinations_in_order(service, layout.unsorted) {
            let name = destination_name(destination.endpoint(), port_protocol(service.key), names);
            destination_line(&mut out, &name, destination, layout);
        }
    }
    out
}

/// `ipvsadm -Ln --timeout`.
pub fn timeouts(settings: &Settings) -> String {
    let Settings { tcp_timeout, tcp_fin_timeout, udp_timeout, .. } = settings;
    format!("Timeout (tcp tcpfin udp): {tcp_timeout} {tcp_fin_timeout} {udp_timeout}\n")
}

/// The two lines of column titles. Some end with a space, as in the original.
fn titles(table: Table) -> String {
    let services = match table {
        Table::Stats => "               Conns   InPkts  OutPkts  InBytes OutBytes",
        Table::Rate => "                 CPS    InPPS   OutPPS    InBPS   OutBPS",
        Table::Thresholds => "            Uthreshold Lthreshold ActiveConn InActConn ",
        Table::Persistent => "            Weight    PersistConn ActiveConn InActConn ",
        _ => " Scheduler Flags",
    };
    let destinations = match table {
        Table::Stats | Table::Rate | Table::Thresholds | Table::Persistent => "",
        Table::TunnelInfo => "           Forward TunnelInfo    Weight ActiveConn InActConn",
        _ => "           Forward Weight ActiveConn InActConn",
    };
    format!("Prot LocalAddress:Port{services}\n  -> RemoteAddress:Port{destinations}\n")
}

fn service_line(out: &mut String, service: &ServiceView, layout: Layout, names: &dyn Names) {
    let name = service_name(service.key, names);
    // Writing to a String cannot fail.
    let _ = match layout.table {
        Table::Stats => writeln!(out, "{name:<33}{}", counters(&service.stats, layout.exact)),
        Table::Rate => writeln!(out, "{name:<33}{}", rates(&service.rates, layout.exact, false)),
        _ => writeln!(out, "{name} {}{}", service.scheduler.name(), attributes(service)),
    };
}

fn attributes(service: &ServiceView) -> String {
    let mut text = String::new();
    if let Some(flags) = flags::words(service.scheduler, service.flags) {
        text += &format!(" ({flags})");
    }
    if let Some(persistence) = &service.persistence {
        text += &format!(" persistent {}", persistence.timeout);
        text += &persistence_mask(persistence).map(|mask| format!(" mask {mask}")).unwrap_or_default();
        text += &persistence.engine.map(|engine| format!(" pe {}", engine_name(engine))).unwrap_or_default();
    }
    if service.ops {
        text += " ops";
    }
    text
}

fn destination_line(out: &mut String, name: &str, destination: &DestinationView, layout: Layout) {
    let _ = write!(out, "  -> {name:<28}");
    let DestinationView { weight, active, inactive, persistent, .. } = destination;
    let DestinationView { upper_threshold: upper, lower_threshold: lower, .. } = destination;
    let forward = forward_name(destination.method);
    let _ = match layout.table {
        Table::Stats => write!(out, "{}", counters(&destination.stats, layout.exact)),
        Table::Rate => write!(out, "{}", rates(&destination.rates, layout.exact, true)),
        Table::Thresholds => write!(out, " {upper:<10} {lower:<10} {active:<10} {inactive:<10}"),
        Table::Persistent => write!(out, " {weight:<9} {persistent:<11} {active:<10} {inactive:<10}"),
        Table::TunnelInfo => {
            let tunnel = tunnel_info(destination);
            write!(out, " {forward:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}")
        }
        _ => write!(out, " {forward:<7} {weight:<6} {active:<10} {inactive:<10}"),
    };
    out.push('\n');
}

fn tunnel_info(destination: &DestinationView) -> String {
    if destination.method != Method::Tunnel {
        return "n/a".to_owned();
    }
    let sum = |checksum| match checksum {
        Checksum::No => "-c",
        Checksum::Full => "+c",
        Checksum::Remote => "r+c",
    };
    let tunnel = destination.tunnel.unwrap_or_default();
    let kind = tunnel.kind().name();
    match tunnel {
        Tunnel::Ipip => kind.to_owned(),
        Tunnel::Gue { l4_port, checksum } => format!("{kind}:{l4_port}:{}", sum(checksum)),
        Tunnel::Gre { checksum } => format!("{kind}:{}", sum(checksum)),
    }
}

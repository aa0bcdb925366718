//! The service tables, `-L` with its variants.

use std::fmt::Write;

use super::command::Table;
use super::format::{counters, destination_name, rates, service_name};
use super::names::Names;
use super::order::{destinations_in_order, in_order};
use super::rows::{Checksum, DestinationRow, Forward, Persistence, ServiceRow, Tunnel};
use crate::model::Settings;

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
pub fn services(services: &[ServiceRow], layout: Layout, names: &dyn Names) -> String {
    let mut out = String::new();
    if !layout.single {
        out += VERSION;
        out.push('\n');
    }
    out += titles(layout.table);
    for service in in_order(services, layout.unsorted) {
        service_line(&mut out, service, layout, names);
        for destination in destinations_in_order(service, layout.unsorted) {
            let name = destination_name(destination.socket, service.name.protocol(), names);
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
fn titles(table: Table) -> &'static str {
    match table {
        Table::Stats => concat!(
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n",
            "  -> RemoteAddress:Port\n"
        ),
        Table::Rate => concat!(
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n",
            "  -> RemoteAddress:Port\n"
        ),
        Table::Thresholds => concat!(
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n",
            "  -> RemoteAddress:Port\n"
        ),
        Table::Persistent => concat!(
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n",
            "  -> RemoteAddress:Port\n"
        ),
        Table::TunnelInfo => concat!(
            "Prot LocalAddress:Port Scheduler Flags\n",
            "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        ),
        Table::Plain | Table::Timeouts | Table::Daemons | Table::Connections { .. } => concat!(
            "Prot LocalAddress:Port Scheduler Flags\n",
            "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        ),
    }
}

fn service_line(out: &mut String, service: &ServiceRow, layout: Layout, names: &dyn Names) {
    let name = service_name(&service.name, names);
    // Writing to a String cannot fail.
    let _ = match layout.table {
        Table::Stats => writeln!(out, "{name:<33}{}", counters(&service.counters, layout.exact)),
        Table::Rate => writeln!(out, "{name:<33}{}", rates(&service.rates, layout.exact, false)),
        _ => writeln!(out, "{name} {}{}", service.scheduler, attributes(service)),
    };
}

fn attributes(service: &ServiceRow) -> String {
    let mut text = String::new();
    if !service.flags.is_empty() {
        text += &format!(" ({})", service.flags.join(","));
    }
    if let Some(Persistence { timeout, mask, engine }) = &service.persistence {
        text += &format!(" persistent {timeout}");
        text += &mask.as_ref().map(|mask| format!(" mask {mask}")).unwrap_or_default();
        text += &engine.as_ref().map(|engine| format!(" pe {engine}")).unwrap_or_default();
    }
    if service.ops {
        text += " ops";
    }
    text
}

fn destination_line(out: &mut String, name: &str, row: &DestinationRow, layout: Layout) {
    let _ = write!(out, "  -> {name:<28}");
    let DestinationRow { weight, active, inactive, .. } = row;
    let forward = row.forward.name();
    let _ = match layout.table {
        Table::Stats => write!(out, "{}", counters(&row.counters, layout.exact)),
        Table::Rate => write!(out, "{}", rates(&row.rates, layout.exact, true)),
        Table::Thresholds => write!(out, " {:<10} {:<10} {active:<10} {inactive:<10}", row.upper, row.lower),
        Table::Persistent => write!(out, " {weight:<9} {:<11} {active:<10} {inactive:<10}", row.persistent),
        Table::TunnelInfo => {
            let tunnel = tunnel_info(&row.forward);
            write!(out, " {forward:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}")
        }
        _ => write!(out, " {forward:<7} {weight:<6} {active:<10} {inactive:<10}"),
    };
    out.push('\n');
}

fn tunnel_info(forward: &Forward) -> String {
    let sum = |sum: &Checksum| match sum {
        Checksum::No => "-c",
        Checksum::Yes => "+c",
        Checksum::Remote => "r+c",
    };
    match forward {
        Forward::Tunnel(Tunnel::Ipip) => "ipip".to_owned(),
        Forward::Tunnel(Tunnel::Gue(port, checksum)) => format!("gue:{port}:{}", sum(checksum)),
        Forward::Tunnel(Tunnel::Gre(checksum)) => format!("gre:{}", sum(checksum)),
        _ => "n/a".to_owned(),
    }
}

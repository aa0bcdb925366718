//! The tables of `/proc/net`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::format::forward_name;
use super::list::VERSION;
use crate::api::view::{ConnectionView, EngineData, ServiceView};
use crate::model::{Family, Persistence, ServiceKey};

/// `/proc/net/ip_vs` of a kernel with this many ticks per second.
pub fn ip_vs(services: &[ServiceView], hz: u32) -> String {
    let mut out = format!(
        "{VERSION}\nProt LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    );
    for service in services {
        out += &service_line(service, hz);
        for destination in service.destinations.iter().rev() {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  -> {}      {:<7} {:<6} {:<10} {:<10}",
                socket(destination.endpoint()),
                forward_name(destination.method),
                destination.weight,
                destination.active,
                destination.inactive
            );
        }
    }
    out
}

fn service_line(service: &ServiceView, hz: u32) -> String {
    let (name, is_ipv4) = match service.key {
        ServiceKey::Address { protocol, address, l4_port } => {
            let at = socket(SocketAddr::new(address, l4_port));
            (format!("{}  {at}", protocol.upper()), address.is_ipv4())
        }
        ServiceKey::Fwmark { fwmark, .. } => (format!("FWM  {fwmark:08X}"), false),
    };
    let ops = if service.ops { "ops " } else { "" };
    let blank = if is_ipv4 { " " } else { "" };
    let persistent = service.persistence.as_ref().map_or(String::new(), |persistence| {
        let ticks = u64::from(persistence.timeout) * u64::from(hz);
        format!("persistent {ticks} {:08X}", mask(service.key.family(), persistence))
    });
    format!("{name} {} {ops}{blank}{persistent}\n", service.scheduler.name())
}

/// The mask as a number. The IPv6 prefix length is printed in little-endian byte order.
fn mask(family: Family, persistence: &Persistence) -> u32 {
    match family {
        Family::Ipv4 => persistence.netmask.map_or(u32::MAX, Ipv4Addr::to_bits),
        Family::Ipv6 => u32::from(persistence.prefix_len.unwrap_or(128)).swap_bytes(),
    }
}

/// `/proc/net/ip_vs_conn`.
pub fn ip_vs_conn(connections: &[ConnectionView]) -> String {
    let mut out =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n".to_owned();
    for connection in connections {
        let ConnectionView { protocol, state, expires_secs, client, r#virtual, destination, .. } = connection;
        let [client, service, destination] =
            [client, r#virtual, destination].map(|at| format!("{} {:04X}", address(at.ip()), at.port()));
        let engine = connection.engine.as_ref();
        let engine = engine.map_or(String::new(), |EngineData { engine, data }| format!(" {engine} {data}"));
        let _ = writeln!(
            out,
            "{:<3} {client} {service} {destination} {state:<11} {expires_secs:>7}{engine}",
            protocol.name()
        );
    }
    out
}

fn socket(at: SocketAddr) -> String {
    match at.ip() {
        IpAddr::V4(ip) => format!("{}:{:04X}", address(ip.into()), at.port()),
        IpAddr::V6(ip) => format!("[{}]:{:04X}", address(ip.into()), at.port()),
    }
}

fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{:08X}", ip.to_bits()),
        IpAddr::V6(ip) => ip.segments().map(|word| format!("{word:04x}")).join(":"),
    }
}

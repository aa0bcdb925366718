//! The tables of `/proc/net`.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::list::VERSION;
use super::rows::{ConnectionRow, ServiceName, ServiceRow};

/// `/proc/net/ip_vs` of a kernel with this many ticks per second.
pub fn ip_vs(services: &[ServiceRow], hz: u32) -> String {
    let mut out = format!(
        "{VERSION}\nProt LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
    );
    for service in services {
        out += &service_line(service, hz);
        for row in service.destinations.iter().rev() {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "  -> {}      {:<7} {:<6} {:<10} {:<10}",
                socket(row.socket),
                row.forward.name(),
                row.weight,
                row.active,
                row.inactive
            );
        }
    }
    out
}

fn service_line(service: &ServiceRow, hz: u32) -> String {
    let (name, is_ipv4) = match service.name {
        ServiceName::Address(transport, at) => {
            (format!("{}  {}", transport.name(), socket(at)), at.is_ipv4())
        }
        ServiceName::Fwmark { fwmark, .. } => (format!("FWM  {fwmark:08X}"), false),
    };
    let ops = if service.ops { "ops " } else { "" };
    let blank = if is_ipv4 { " " } else { "" };
    let persistent = service.persistence.as_ref().map_or(String::new(), |persistence| {
        let ticks = u64::from(persistence.timeout) * u64::from(hz);
        format!("persistent {ticks} {:08X}", mask(&service.name, persistence.mask.as_deref()))
    });
    format!("{name} {} {ops}{blank}{persistent}\n", service.scheduler)
}

/// The mask as a number. The IPv6 prefix length is printed in little-endian byte order.
fn mask(name: &ServiceName, mask: Option<&str>) -> u32 {
    let is_ipv6 = match name {
        ServiceName::Address(_, at) => at.is_ipv6(),
        ServiceName::Fwmark { ipv6, .. } => *ipv6,
    };
    if is_ipv6 {
        mask.and_then(|text| text.parse::<u32>().ok()).unwrap_or(128).swap_bytes()
    } else {
        mask.and_then(|text| text.parse::<Ipv4Addr>().ok()).map_or(u32::MAX, Ipv4Addr::to_bits)
    }
}

/// `/proc/net/ip_vs_conn`.
pub fn ip_vs_conn(rows: &[ConnectionRow]) -> String {
    let mut out =
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n".to_owned();
    for row in rows {
        let [client, service, destination] = [row.client, row.service, row.destination]
            .map(|at| format!("{} {:04X}", address(at.ip()), at.port()));
        let engine = row.engine.as_ref().map_or(String::new(), |(name, data)| format!(" {name} {data}"));
        let ConnectionRow { protocol, state, expires, .. } = row;
        let _ =
            writeln!(out, "{protocol:<3} {client} {service} {destination} {state:<11} {expires:>7}{engine}");
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

//! Columns shared by several listings.

use std::net::{Ipv4Addr, SocketAddr};

use super::address::socket;
use super::names::Names;
use crate::api::view::{Rates, Stats};
use crate::model::{Engine, Family, Method, Persistence, ServiceKey};

/// Widths at which `ipvsadm` cuts names. IPv6 names are never cut.
const SERVICE_WIDTH: usize = 33;
const DESTINATION_WIDTH: usize = 28;

/// A number in nine columns, abbreviated from 10^8 on with the units K, M, G and T, and rounded down. With `exact` it is
/// as wide as necessary.
pub(super) fn large(value: u64, exact: bool) -> String {
    let (divisor, unit) = match value {
        _ if exact => return format!(" {value:>8}"),
        0..100_000_000 => return format!("{value:>9}"),
        100_000_000..1_000_000_000 => (1_000, 'K'),
        1_000_000_000..100_000_000_000 => (1_000_000, 'M'),
        100_000_000_000..100_000_000_000_000 => (1_000_000_000, 'G'),
        _ => (1_000_000_000_000, 'T'),
    };
    format!("{:>8}{unit}", value / divisor)
}

/// The five columns of `--stats`.
pub(super) fn counters(counters: &Stats, exact: bool) -> String {
    let Stats { connections, in_packets, out_packets, in_bytes, out_bytes } = *counters;
    [connections, in_packets, out_packets, in_bytes, out_bytes].map(|v| large(v, exact)).concat()
}

/// The five columns of `--rate`. The first three of a destination are never abbreviated.
pub(super) fn rates(rates: &Rates, exact: bool, destination: bool) -> String {
    let Rates { connections, in_packets, out_packets, in_bytes, out_bytes } = *rates;
    let events = [connections, in_packets, out_packets].map(|v| large(v, exact || destination));
    events.concat() + &[in_bytes, out_bytes].map(|v| large(v, exact)).concat()
}

/// `TCP  10.0.0.1:80` or `FWM  7 IPv6`.
pub(super) fn service_name(key: ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Fwmark { fwmark, family: Family::Ipv6 } => format!("FWM  {} IPv6", signed(fwmark)),
        ServiceKey::Fwmark { fwmark, family: Family::Ipv4 } => format!("FWM  {}", signed(fwmark)),
        ServiceKey::Address { protocol, address, l4_port } => {
            let text = socket(SocketAddr::new(address, l4_port), Some(protocol.name()), names);
            let text = format!("{:<4} {text}", protocol.upper());
            if address.is_ipv6() { text } else { cut(text, SERVICE_WIDTH) }
        }
    }
}

/// The protocol for looking up port names of destinations; `None` for fwmarks.
pub(super) fn port_protocol(key: ServiceKey) -> Option<&'static str> {
    key.endpoint().map(|(protocol, _)| protocol.name())
}

/// Client grouping mask; `None` for single addresses.
pub(super) fn persistence_mask(persistence: &Persistence) -> Option<String> {
    let netmask =
        persistence.netmask.filter(|mask| *mask != Ipv4Addr::BROADCAST).map(|mask| mask.to_string());
    netmask
        .or_else(|| persistence.prefix_len.filter(|length| *length != 128).map(|length| length.to_string()))
}

/// Name of a persistence engine.
pub(super) fn engine_name(Engine::Sip: Engine) -> &'static str {
    "sip"
}

/// Name of a forwarding method.
pub(super) fn forward_name(method: Method) -> &'static str {
    match method {
        Method::Nat => "Masq",
        Method::Dr => "Route",
        Method::Tunnel => "Tunnel",
    }
}

/// A fwmark as `ipvsadm` prints it: signed, although it reads it unsigned.
pub(super) fn signed(fwmark: u32) -> i32 {
    fwmark.cast_signed()
}

/// Name of a destination, cut as by `ipvsadm`.
pub(super) fn destination_name(at: SocketAddr, protocol: Option<&str>, names: &dyn Names) -> String {
    let text = socket(at, protocol, names);
    if at.is_ipv6() { text } else { cut(text, DESTINATION_WIDTH) }
}

fn cut(mut text: String, width: usize) -> String {
    text.truncate(text.floor_char_boundary(width));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_abbreviated() {
        let rows = [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
        ];
        for (value, text) in rows {
            assert_eq!(large(value, false), text);
        }
        assert_eq!(large(7, true), "        7");
        assert_eq!(large(12_345_678_901, true), " 12345678901");
    }

    #[test]
    fn event_rates_of_destinations_are_not_abbreviated() {
        let fast = Rates { connections: 100_000_000, in_bytes: 100_000_000, ..Rates::default() };
        assert_eq!(rates(&fast, false, true), " 100000000        0        0  100000K        0");
        assert_eq!(rates(&fast, false, false), "  100000K        0        0  100000K        0");
    }
}

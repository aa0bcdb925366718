//! The order of listings.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};

use super::rows::{DestinationRow, ServiceName, ServiceRow};

/// Services as `ipvsadm` sorts them: by mark, family, protocol, address, port; mark 4294967295 comes before all others.
pub(super) fn in_order(services: &[ServiceRow], unsorted: bool) -> Vec<&ServiceRow> {
    // The kernel tells of addresses first.
    let is_fwmark = |row: &&ServiceRow| matches!(row.name, ServiceName::Fwmark { .. });
    let (fwmarks, mut rows): (Vec<_>, Vec<_>) = services.iter().partition(is_fwmark);
    rows.extend(fwmarks);
    if unsorted { rows } else { merge_sort(rows, &|a, b| by_name(&a.name, &b.name)) }
}

fn by_name(a: &ServiceName, b: &ServiceName) -> Ordering {
    let fwmark = |name: &ServiceName| match *name {
        ServiceName::Address(..) => 0,
        ServiceName::Fwmark { fwmark, .. } => fwmark,
    };
    let kind = |name: &ServiceName| match *name {
        ServiceName::Address(transport, socket) => (socket.is_ipv6(), Some(transport)),
        ServiceName::Fwmark { ipv6, .. } => (ipv6, None),
    };
    let fwmarks = by_difference(fwmark(a), fwmark(b));
    fwmarks.then_with(|| kind(a).cmp(&kind(b))).then_with(|| match (a, b) {
        (ServiceName::Address(_, a), ServiceName::Address(_, b)) => by_socket(a, b),
        _ => Ordering::Equal,
    })
}

/// Destinations as `ipvsadm` sorts them: by address and port, whatever the family. Rows come oldest first and the
/// kernel has them newest first.
pub(super) fn destinations_in_order(service: &ServiceRow, unsorted: bool) -> Vec<&DestinationRow> {
    let rows: Vec<&DestinationRow> = service.destinations.iter().rev().collect();
    if unsorted { rows } else { merge_sort(rows, &|a, b| by_socket(&a.socket, &b.socket)) }
}

/// The original compares by the sign of the difference of 32-bit words, so addresses more than half of all addresses
/// apart stand the other way round: `fd00:2::b` comes before 10.0.2.11.
fn by_socket(a: &SocketAddr, b: &SocketAddr) -> Ordering {
    let words = |socket: &SocketAddr| match socket.ip() {
        IpAddr::V4(address) => [address.to_bits(), 0, 0, 0],
        IpAddr::V6(address) => [96, 64, 32, 0].map(|shift| (address.to_bits() >> shift) as u32),
    };
    let mut orders = words(a).into_iter().zip(words(b)).map(|(a, b)| by_difference(a, b));
    orders.find(|order| order.is_ne()).unwrap_or_else(|| a.port().cmp(&b.port()))
}

fn by_difference(a: u32, b: u32) -> Ordering {
    a.wrapping_sub(b).cast_signed().cmp(&0)
}

/// Sorts as the C library does, by merging halves. The order above has cycles, which the standard library's sort may
/// refuse with a panic.
fn merge_sort<T>(mut rows: Vec<T>, order: &impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    if rows.len() < 2 {
        return rows;
    }
    let right = rows.split_off(rows.len() / 2);
    let mut left = merge_sort(rows, order).into_iter().peekable();
    let mut right = merge_sort(right, order).into_iter().peekable();
    let mut merged = Vec::new();
    loop {
        let from_left = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => order(a, b).is_le(),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return merged,
        };
        merged.extend(if from_left { left.next() } else { right.next() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_as_the_original_has_them() {
        let sorted = [
            "[fd00:2::c]:80",
            "[fd00:2::d]:80",
            "255.255.255.254:80",
            "10.0.2.0:80",
            "10.0.2.12:80",
            "10.0.2.12:8080",
            "10.9.9.255:80",
        ];
        let mut rows: Vec<SocketAddr> = sorted.iter().map(|text| text.parse().unwrap()).collect();
        rows.reverse();
        let text: Vec<_> = merge_sort(rows, &by_socket).iter().map(ToString::to_string).collect();
        assert_eq!(text, sorted);
        let sorted = ["[fd00:1::1]:80", "[fec0::1]:80", "[::1]:80", "[2001:db8::1]:80"];
        let rows: Vec<SocketAddr> = sorted.iter().rev().map(|text| text.parse().unwrap()).collect();
        let text: Vec<_> = merge_sort(rows, &by_socket).iter().map(ToString::to_string).collect();
        assert_eq!(text, sorted);
    }
}

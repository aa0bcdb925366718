//! The order of listings.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};

use crate::api::view::{DestinationView, ServiceView};
use crate::model::ServiceKey;

/// Services in the order of `ipvsadm`: by fwmark, family, protocol, address, port. Fwmark 4294967295 comes first.
pub(super) fn in_order(services: &[ServiceView], unsorted: bool) -> Vec<&ServiceView> {
    // The kernel lists address services first.
    let is_fwmark = |service: &&ServiceView| matches!(service.key, ServiceKey::Fwmark { .. });
    let (fwmarks, mut rows): (Vec<_>, Vec<_>) = services.iter().partition(is_fwmark);
    rows.extend(fwmarks);
    if unsorted { rows } else { merge_sort(rows, &|a, b| by_key(&a.key, &b.key)) }
}

fn by_key(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    let fwmark = |key: &ServiceKey| match *key {
        ServiceKey::Address { .. } => 0,
        ServiceKey::Fwmark { fwmark, .. } => fwmark,
    };
    let kind = |key: &ServiceKey| (key.family(), key.endpoint().map(|(protocol, _)| protocol));
    let fwmarks = by_difference(fwmark(a), fwmark(b));
    fwmarks.then_with(|| kind(a).cmp(&kind(b))).then_with(|| match (a.endpoint(), b.endpoint()) {
        (Some((_, a)), Some((_, b))) => by_socket(&a, &b),
        _ => Ordering::Equal,
    })
}

/// Destinations in the order of `ipvsadm`: by address and port of either family. The rows are oldest first, the kernel's
/// list is newest first.
pub(super) fn destinations_in_order(service: &ServiceView, unsorted: bool) -> Vec<&DestinationView> {
    let rows: Vec<&DestinationView> = service.destinations.iter().rev().collect();
    if unsorted { rows } else { merge_sort(rows, &|a, b| by_socket(&a.endpoint(), &b.endpoint())) }
}

/// The original compares the sign of the 32-bit difference, so addresses more than half the address space apart are in
/// reverse order: `fd00:2::b` comes before 10.0.2.11.
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

/// Merge sort, as in the C library. The order above is not transitive, and the standard library's sort may panic on such
/// orders.
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
    fn addresses_have_the_order_of_the_original() {
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

//! Destinations: weights, thresholds, tunnels, addresses, ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::input_error::InputErrors;
use crate::model::network::NetworkState;
use crate::model::{Checksum, Destination, Family, Method, Service, ServiceKey, Tunnel};

/// Largest weight: as in IPVS, schedulers multiply weights and counts as signed 32-bit numbers.
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

/// Checks one destination of a service. `network_state` is the static network configuration, which says which
/// addresses are local.
pub fn destination(
    location: &str,
    service: &Service,
    new: &Destination,
    network_state: Option<&NetworkState>,
    errors: &mut InputErrors,
) {
    if new.weight > MAX_WEIGHT {
        errors.add(
            format!("{location}.weight"),
            format!("{} is above {MAX_WEIGHT}", new.weight),
            "use a smaller number or scale all weights down",
        );
    }
    if new.lower_threshold > new.upper_threshold {
        errors.add(
            format!("{location}.lower_threshold"),
            format!("{} is above the upper_threshold, {}", new.lower_threshold, new.upper_threshold),
            "raise upper_threshold, or leave lower_threshold out for three quarters of it",
        );
    }
    tunnel(location, new, errors);
    l4_port(location, service, new, errors);
    address(location, service, new, network_state, errors);
}

fn tunnel(location: &str, new: &Destination, errors: &mut InputErrors) {
    if new.method != Method::Tunnel && !new.tunnel.is_ipip() {
        errors.add(
            format!("{location}.tunnel"),
            format!("a tunnel type needs method tunnel, and the method is {}", new.method.name()),
            "leave tunnel out, or use method tunnel",
        );
    }
    match new.tunnel {
        Tunnel::Gue { l4_port: 0, .. } => errors.add(
            format!("{location}.tunnel.l4_port"),
            "0 is not a valid UDP port",
            "use the port on which the server receives GUE, often 6080",
        ),
        Tunnel::Gre { checksum: Checksum::Remote } => errors.add(
            format!("{location}.tunnel.checksum"),
            "remote checksum offload is only available with gue",
            "use no or full, or tunnel type gue",
        ),
        _ => {}
    }
}

fn l4_port(location: &str, service: &Service, new: &Destination, errors: &mut InputErrors) {
    let location = format!("{location}.l4_port");
    let ServiceKey::Address { l4_port, .. } = service.key else {
        // A fwmark service can match any port, so every destination port is valid; 0 keeps the client's.
        return;
    };
    if new.method != Method::Nat && new.l4_port != l4_port {
        errors.add(
            location,
            format!("{} differs from the service's {l4_port}, and only nat can change it", new.l4_port),
            format!("use {l4_port}, or method nat"),
        );
    }
}

fn address(
    location: &str,
    service: &Service,
    new: &Destination,
    network_state: Option<&NetworkState>,
    errors: &mut InputErrors,
) {
    let local =
        || network_state.is_some_and(|state| state.addresses.iter().any(|own| own.address == new.address));
    let kind = not_unicast(new.address).or_else(|| broadcast(new.address, network_state));
    if let Some(kind) = kind.filter(|_| !local()) {
        errors.add(
            format!("{location}.address"),
            format!("{} is {kind}", new.address),
            "use a unicast address of the server; for IPv6, not a link-local one",
        );
    }
    let same = new.address.is_ipv4() == (service.key.family() == Family::Ipv4);
    if !same && new.method != Method::Tunnel {
        errors.add(
            format!("{location}.address"),
            format!("{} and service {} have different address families", new.address, service.key),
            "use an address of the service's family, or method tunnel",
        );
    }
}

/// Recognizes broadcast addresses of directly connected networks.
fn broadcast(address: IpAddr, network_state: Option<&NetworkState>) -> Option<&'static str> {
    let IpAddr::V4(address) = address else { return None };
    let matches = |own: &crate::model::network::Address| match own.address {
        IpAddr::V4(own_address) => ipnet::Ipv4Net::new(own_address, own.prefix_len)
            .is_ok_and(|net| own.prefix_len < 31 && net.broadcast() == address),
        IpAddr::V6(_) => false,
    };
    let ours = network_state.is_some_and(|network_state| network_state.addresses.iter().any(matches));
    (ours || address == Ipv4Addr::new(127, 255, 255, 255))
        .then_some("the broadcast address of a directly connected network")
}

/// Returns the kind of an address that is not unicast.
fn not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some("the unspecified address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V4(_) => None,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4-mapped address"),
        IpAddr::V6(_) => None,
    }
}

//! Destinations: weights, thresholds, tunnels, addresses, ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::input_error::InputErrors;
use crate::model::network_config::NetworkConfig;
use crate::model::{Checksum, Destination, Family, Method, Service, ServiceKey, Tunnel};

/// The largest weight; schedulers multiply weights and counts as signed 32-bit numbers, as IPVS does.
pub const MAX_WEIGHT: u32 = i32::MAX as u32;

/// Checks one destination of a service. `network_config` are the static ones, if any: they say which addresses are local.
pub fn destination(
    place: &str,
    service: &Service,
    new: &Destination,
    network_config: Option<&NetworkConfig>,
    errors: &mut InputErrors,
) {
    if new.weight > MAX_WEIGHT {
        errors.add(
            format!("{place}.weight"),
            format!("{} is above {MAX_WEIGHT}", new.weight),
            "use a smaller number or scale all weights down",
        );
    }
    if new.lower_threshold > new.upper_threshold {
        errors.add(
            format!("{place}.lower_threshold"),
            format!("{} is above the upper_threshold, {}", new.lower_threshold, new.upper_threshold),
            "raise upper_threshold, or leave lower_threshold out for three quarters of it",
        );
    }
    tunnel(place, new, errors);
    l4_port(place, service, new, errors);
    address(place, service, new, network_config, errors);
}

fn tunnel(place: &str, new: &Destination, errors: &mut InputErrors) {
    if new.method != Method::Tunnel && !new.tunnel.is_ipip() {
        errors.add(
            format!("{place}.tunnel"),
            "is given and the method is another",
            "leave it out, or use method tunnel",
        );
    }
    match new.tunnel {
        Tunnel::Gue { l4_port: 0, .. } => errors.add(
            format!("{place}.tunnel.l4_port"),
            "0 is no port a receiver can listen on",
            "use the receiver's UDP port, often 6080",
        ),
        Tunnel::Gre { checksum: Checksum::Remote } => errors.add(
            format!("{place}.tunnel.checksum"),
            "remote checksum offload is only for gue",
            "use no or full, or tunnel type gue",
        ),
        _ => {}
    }
}

fn l4_port(place: &str, service: &Service, new: &Destination, errors: &mut InputErrors) {
    let place = format!("{place}.l4_port");
    let ServiceKey::Address { l4_port, .. } = service.key else {
        // What a mark means is up to the rules: any port may be there, and 0 keeps what the client addressed.
        return;
    };
    if new.method != Method::Nat && new.l4_port != l4_port {
        errors.add(
            place,
            format!("{} is not the service's {l4_port}, and only nat can change it", new.l4_port),
            format!("use {l4_port}, or method nat"),
        );
    }
}

fn address(
    place: &str,
    service: &Service,
    new: &Destination,
    network_config: Option<&NetworkConfig>,
    errors: &mut InputErrors,
) {
    let local = || network_config.is_some_and(|f| f.addresses.iter().any(|a| a.address == new.address));
    let kind = not_unicast(new.address).or_else(|| broadcast(new.address, network_config));
    if let Some(kind) = kind.filter(|_| !local()) {
        errors.add(
            format!("{place}.address"),
            format!("{} is {kind}", new.address),
            "use the server's own unicast address, for IPv6 one that is not link-local",
        );
    }
    let same = new.address.is_ipv4() == (service.key.family() == Family::Ipv4);
    if !same && new.method != Method::Tunnel {
        errors.add(
            format!("{place}.address"),
            format!("{} and the service {} are of different families", new.address, service.key),
            "use an address of the service's family, or method tunnel",
        );
    }
}

/// The broadcast address of a network this machine is in: no single server either.
fn broadcast(address: IpAddr, network_config: Option<&NetworkConfig>) -> Option<&'static str> {
    let IpAddr::V4(address) = address else { return None };
    let of = |own: &crate::model::network_config::Address| match own.address {
        IpAddr::V4(own_address) => ipnet::Ipv4Net::new(own_address, own.prefix_len)
            .is_ok_and(|net| own.prefix_len < 31 && net.broadcast() == address),
        IpAddr::V6(_) => false,
    };
    let ours = network_config.is_some_and(|network_config| network_config.addresses.iter().any(of));
    (ours || address == Ipv4Addr::new(127, 255, 255, 255))
        .then_some("the broadcast address of a network of this machine")
}

/// What an address is, if no single server can have it.
fn not_unicast(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Some("the unspecified address"),
        IpAddr::V4(v4) if v4.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        IpAddr::V4(_) => None,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("the unspecified address"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("a multicast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("an IPv4 address in disguise"),
        IpAddr::V6(_) => None,
    }
}

//! The lookups of a generation, built anew from its services and destinations.

use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::service::{DestinationId, Method, Name, ServiceId, Services, Tunnel};
use pollux_dataplane::wire::protocol;

use super::convert::protocol_number;
use super::{Compiler, FullKey};
use crate::model::ServiceKey;

/// The port of FTP's control connection.
const FTP: u16 = 21;

impl Compiler {
    /// Builds the lookups anew.
    pub(super) fn index(&self, services: &mut Services) {
        services.by_endpoint.clear();
        services.by_mark.clear();
        (services.any_port, services.ftp) = ([false; 2], [false; 2]);
        services.hooked = [false; 2];
        services.nat_sources.clear();
        services.nat_addresses.clear();
        services.addresses.clear();
        services.gue_ends.clear();
        services.callers.clear();
        for destination in services.destinations.iter().flatten() {
            if let Method::Tunnel(Tunnel::Gue { l4_port, .. }) = destination.method {
                services.gue_ends.insert(Endpoint { l4_port, ..destination.endpoint });
            }
        }
        let named: Vec<(ServiceId, Name)> = (0..)
            .map(ServiceId)
            .zip(&services.services)
            .filter_map(|(id, service)| Some((id, service.as_ref()?.name)))
            .collect();
        for (id, name) in named {
            index_name(services, id, name);
        }
        let nat: Vec<(FullKey, Endpoint, bool)> = (0..)
            .map(DestinationId)
            .zip(&services.destinations)
            .filter(|(id, _)| self.nat.contains(id))
            .filter_map(|(id, known)| {
                let known = known.as_ref()?;
                let is_nat = known.available && known.method == Method::Nat;
                Some((*self.destination_key(id)?, known.endpoint, is_nat))
            })
            .collect();
        for ((service, _), endpoint, is_nat) in nat {
            index_nat(services, service, endpoint, is_nat);
        }
        index_callers(services);
    }
}

fn index_name(services: &mut Services, id: ServiceId, name: Name) {
    match name {
        Name::Address(endpoint, protocol) => {
            let family = usize::from(endpoint.address.is_ipv6());
            services.hooked[family] = true;
            services.any_port[family] |= endpoint.l4_port == 0;
            services.ftp[family] |= endpoint.l4_port == FTP;
            services.addresses.insert(endpoint.address);
            services.by_endpoint.insert((endpoint, protocol), id);
        }
        Name::Mark { mark, ipv6 } => {
            services.hooked[usize::from(ipv6)] = true;
            services.by_mark.insert((mark, ipv6), id);
        }
    }
}

/// Where the destination's replies come from. Marks mean packets of any protocol. Where a service takes more than one
/// port, connections may keep the port that the client addressed even if the destination has one of its own; spec
/// 4.3 step 4.
fn index_nat(services: &mut Services, service: ServiceKey, endpoint: Endpoint, is_nat: bool) {
    services.addresses.insert(endpoint.address);
    if endpoint.l4_port == 0 || matches!(service.l4_port(), 0 | FTP) {
        services.nat_addresses.insert(endpoint.address);
    }
    let of_service = match service {
        ServiceKey::Address { protocol, .. } => Some(protocol_number(protocol)),
        ServiceKey::Mark { .. } => None,
    };
    let all = [protocol::TCP, protocol::UDP, protocol::SCTP];
    for protocol in all.into_iter().filter(|number| of_service.is_none_or(|own| own == *number)) {
        *services.nat_sources.entry((endpoint, protocol)).or_default() |= is_nat;
    }
}

/// The NAT destinations that may open connections. One that serves several such services speaks from the address of
/// the first.
fn index_callers(services: &mut Services) {
    let with_engine = services.services.iter().flatten().filter(|service| {
        let is_udp = matches!(service.name, Name::Address(at, protocol::UDP) if at.l4_port != 0);
        is_udp && service.persistence.is_some_and(|persistence| persistence.sip)
    });
    for &id in with_engine.flat_map(|service| &service.destinations) {
        let known = services.destinations.get(id.0 as usize).and_then(Option::as_ref);
        if let Some(known) = known.filter(|known| known.method == Method::Nat && known.endpoint.l4_port != 0)
        {
            services.callers.entry(known.endpoint).or_insert(id);
        }
    }
}

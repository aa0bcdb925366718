//! The lookup tables of a generation, updated incrementally: the cost of an edit does not depend on the size of the
//! configuration.

use std::collections::BTreeSet;
use std::hash::Hash;

use hashbrown::HashMap;
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::service::{self, Destination, FTP, Method, Service, ServiceId, Services, Tunnel};
use pollux_dataplane::wire::protocol;

use super::convert::protocol_number;
use super::draft::Draft;
use crate::model::ServiceKey;

/// Reference counts of the entries in the lookup tables; an entry is removed with its last reference.
#[derive(Default)]
pub struct Index {
    /// By family: all services, those with port 0, those with the FTP port.
    hooked: [u32; 2],
    any_port: [u32; 2],
    ftp: [u32; 2],
    addresses: Counts<std::net::IpAddr>,
    nat_addresses: Counts<std::net::IpAddr>,
    gue_ends: Counts<Endpoint>,
    /// NAT destinations, including those in the trash.
    nat_sources: Counts<(Endpoint, u8)>,
    /// NAT destinations that are still configured.
    nat_available: Counts<(Endpoint, u8)>,
    /// SIP services whose destinations may open calls.
    call_services: BTreeSet<ServiceId>,
}

struct Counts<K>(HashMap<K, u32>);

impl<K> Default for Counts<K> {
    fn default() -> Counts<K> {
        Counts(HashMap::new())
    }
}

impl<K: Eq + Hash + Copy> Counts<K> {
    /// Counts up or down; returns true if the count is not zero.
    fn count(&mut self, key: K, more: bool) -> bool {
        let count = self.0.entry(key).or_default();
        step(count, more);
        let any = *count > 0;
        if !any {
            self.0.remove(&key);
        }
        any
    }
}

impl Index {
    /// Adds (`more`) or removes a service.
    pub fn service(&mut self, draft: &mut Draft, id: ServiceId, key: service::ServiceKey, more: bool) {
        match key {
            service::ServiceKey::Address(endpoint, protocol) => {
                let family = usize::from(endpoint.address.is_ipv6());
                step(&mut self.hooked[family], more);
                if endpoint.l4_port == 0 {
                    step(&mut self.any_port[family], more);
                }
                if endpoint.l4_port == FTP {
                    step(&mut self.ftp[family], more);
                }
                self.address(draft, endpoint.address, more);
                draft.endpoint((endpoint, protocol), more.then_some(id));
            }
            service::ServiceKey::Fwmark { fwmark, ipv6 } => {
                step(&mut self.hooked[usize::from(ipv6)], more);
                draft.fwmark((fwmark, ipv6), more.then_some(id));
            }
        }
        self.families(draft.services());
    }

    /// Records whether destinations of a service may open calls; `service` is `None` if it was removed.
    pub fn set_call_service(&mut self, id: ServiceId, service: Option<&Service>) {
        let opens = |service: &Service| {
            let is_udp =
                matches!(service.key, service::ServiceKey::Address(at, protocol::UDP) if at.l4_port != 0);
            is_udp && service.persistence.is_some_and(|persistence| persistence.sip)
        };
        if service.is_some_and(opens) {
            self.call_services.insert(id);
        } else {
            self.call_services.remove(&id);
        }
    }

    /// Rebuilds the table of NAT destinations that may open calls. A destination of several such services uses the
    /// address of the first one.
    pub fn build_call_openers(&self, draft: &mut Draft) {
        let services = draft.services();
        services.call_openers.clear();
        let call_services =
            self.call_services.iter().filter_map(|&id| services.services.get(id.0 as usize)?.as_ref());
        for &id in call_services.flat_map(|service| &service.destinations) {
            let known = services.destinations.get(id.0 as usize).and_then(Option::as_ref);
            if let Some(known) =
                known.filter(|known| known.method == Method::Nat && known.endpoint.l4_port != 0)
            {
                services.call_openers.entry(known.endpoint).or_insert(id);
            }
        }
    }

    fn families(&self, services: &mut Services) {
        services.hooked = self.hooked.map(|count| count > 0);
        services.any_port = self.any_port.map(|count| count > 0);
        services.ftp = self.ftp.map(|count| count > 0);
    }

    /// Adds (`more`) or removes a destination in its current form. `nat` means that its method is, or was, NAT: replies
    /// of old connections still come from it.
    pub fn destination(
        &mut self,
        draft: &mut Draft,
        service: ServiceKey,
        known: &Destination,
        nat: bool,
        more: bool,
    ) {
        if let Method::Tunnel(Tunnel::Gue { l4_port, .. }) = known.method {
            let end = Endpoint { l4_port, ..known.endpoint };
            let any = self.gue_ends.count(end, more);
            draft.gue_end(end, any);
        }
        if nat {
            self.nat(draft, service, known, more);
        }
    }

    /// Adds or removes the sources of a destination's replies. A fwmark service covers all protocols. If a service
    /// accepts more than one port, connections may keep the port that the client addressed, even if the destination has
    /// its own port; spec 4.3 step 4.
    fn nat(&mut self, draft: &mut Draft, service: ServiceKey, known: &Destination, more: bool) {
        let endpoint = known.endpoint;
        self.address(draft, endpoint.address, more);
        if endpoint.l4_port == 0 || matches!(service.l4_port(), 0 | FTP) {
            let any = self.nat_addresses.count(endpoint.address, more);
            draft.nat_address(endpoint.address, any);
        }
        let of_service = match service {
            ServiceKey::Address { protocol, .. } => Some(protocol_number(protocol)),
            ServiceKey::Fwmark { .. } => None,
        };
        let available = known.available && known.method == Method::Nat;
        let all = [protocol::TCP, protocol::UDP, protocol::SCTP];
        for protocol in all.into_iter().filter(|number| of_service.is_none_or(|own| own == *number)) {
            let key = (endpoint, protocol);
            let any = self.nat_sources.count(key, more);
            if available {
                self.nat_available.count(key, more);
            }
            let available = self.nat_available.0.contains_key(&key);
            draft.nat_source(key, any.then_some(available));
        }
    }

    fn address(&mut self, draft: &mut Draft, address: std::net::IpAddr, more: bool) {
        let any = self.addresses.count(address, more);
        draft.address(address, any);
    }
}

/// Counts up or down.
pub(super) fn step(count: &mut u32, more: bool) {
    *count = if more { *count + 1 } else { count.saturating_sub(1) };
}

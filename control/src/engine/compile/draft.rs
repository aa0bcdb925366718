//! The next generation of services in the making.
//!
//! Workers give the generation before the current one back. It differs from the current one by what was written last,
//! which is noted here: with that copied it is the current one again, and takes the next change. So nothing is copied
//! that has not changed, and yet no worker sees a generation that is being written.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::service::{Destination, DestinationId, Service, ServiceId, Services};

/// What was written into a generation.
#[derive(Default)]
struct Written {
    services: HashSet<u32>,
    destinations: Vec<u32>,
    endpoints: Vec<(Endpoint, u8)>,
    fwmarks: Vec<(u32, bool)>,
    nat_sources: Vec<(Endpoint, u8)>,
    nat_addresses: Vec<IpAddr>,
    gue_ends: Vec<Endpoint>,
    addresses: Vec<IpAddr>,
}

/// The generation before the current one, and what the current one has that it has not.
#[derive(Default)]
pub struct Spare {
    services: Arc<Services>,
    behind: Written,
}

impl Spare {
    /// A copy of `current` to write in: the spare one, if nobody else holds it any more.
    pub fn draft(&mut self, current: &Services) -> Draft {
        let spare = std::mem::take(self);
        let services = match Arc::try_unwrap(spare.services) {
            Ok(mut services) => {
                spare.behind.copy(current, &mut services);
                services
            }
            Err(_) => current.clone(),
        };
        Draft { services, written: Written::default() }
    }

    /// Destinations that differ between the spare generation and the current one.
    pub fn destinations(&self) -> &[u32] {
        &self.behind.destinations
    }

    /// Publishes a draft; what was current becomes the spare one.
    pub fn publish(&mut self, draft: Draft, current: &mut Arc<Services>) {
        let before = std::mem::replace(current, Arc::new(draft.services));
        *self = Spare { services: before, behind: draft.written };
    }
}

/// A generation that only we hold. Whatever is written is noted.
pub struct Draft {
    services: Services,
    written: Written,
}

impl Draft {
    /// All of it. What is written here directly must be written in full with every change.
    pub fn services(&mut self) -> &mut Services {
        &mut self.services
    }

    /// A destination.
    pub fn known(&self, id: DestinationId) -> Option<&Destination> {
        self.services.destination(id)
    }

    /// A service.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.service(id)
    }

    /// Takes a service out.
    pub fn take_service(&mut self, id: ServiceId) -> Option<Service> {
        self.written.services.insert(id.0);
        self.services.services.get_mut(id.0 as usize)?.take()
    }

    /// Puts a service in.
    pub fn put_service(&mut self, id: ServiceId, service: Service) {
        self.written.services.insert(id.0);
        put(&mut self.services.services, id.0, Some(service));
    }

    /// Puts a destination in its place, or takes it away.
    pub fn put_destination(&mut self, id: DestinationId, destination: Option<Destination>) {
        self.written.destinations.push(id.0);
        put(&mut self.services.destinations, id.0, destination);
    }

    /// Which service an endpoint means.
    pub fn endpoint(&mut self, key: (Endpoint, u8), id: Option<ServiceId>) {
        self.written.endpoints.push(key);
        set(&mut self.services.by_endpoint, key, id);
    }

    /// Which service a mark means.
    pub fn fwmark(&mut self, key: (u32, bool), id: Option<ServiceId>) {
        self.written.fwmarks.push(key);
        set(&mut self.services.by_fwmark, key, id);
    }

    /// Whether a NAT destination is there, and still configured.
    pub fn nat_source(&mut self, key: (Endpoint, u8), available: Option<bool>) {
        self.written.nat_sources.push(key);
        set(&mut self.services.nat_sources, key, available);
    }

    /// Whether a NAT destination there keeps the port that the client addressed.
    pub fn nat_address(&mut self, address: IpAddr, any: bool) {
        self.written.nat_addresses.push(address);
        fwmark(&mut self.services.nat_addresses, address, any);
    }

    /// Whether a GUE tunnel ends there.
    pub fn gue_end(&mut self, end: Endpoint, any: bool) {
        self.written.gue_ends.push(end);
        fwmark(&mut self.services.gue_ends, end, any);
    }

    /// Whether a service or a NAT destination is there.
    pub fn address(&mut self, address: IpAddr, any: bool) {
        self.written.addresses.push(address);
        fwmark(&mut self.services.addresses, address, any);
    }
}

impl Written {
    /// Copies what was written.
    fn copy(&self, from: &Services, to: &mut Services) {
        for &id in &self.services {
            put(&mut to.services, id, from.services.get(id as usize).cloned().flatten());
        }
        for &id in &self.destinations {
            put(&mut to.destinations, id, from.destinations.get(id as usize).cloned().flatten());
        }
        self.endpoints
            .iter()
            .for_each(|key| set(&mut to.by_endpoint, *key, from.by_endpoint.get(key).copied()));
        self.fwmarks.iter().for_each(|key| set(&mut to.by_fwmark, *key, from.by_fwmark.get(key).copied()));
        self.nat_sources
            .iter()
            .for_each(|key| set(&mut to.nat_sources, *key, from.nat_sources.get(key).copied()));
        let sets = [
            (&self.nat_addresses, &from.nat_addresses, &mut to.nat_addresses),
            (&self.addresses, &from.addresses, &mut to.addresses),
        ];
        for (written, from, to) in sets {
            written.iter().for_each(|key| fwmark(to, *key, from.contains(key)));
        }
        self.gue_ends.iter().for_each(|end| fwmark(&mut to.gue_ends, *end, from.gue_ends.contains(end)));
        (to.hooked, to.any_port, to.ftp) = (from.hooked, from.any_port, from.ftp);
        to.call_openers.clone_from(&from.call_openers);
    }
}

fn put<T>(list: &mut Vec<Option<T>>, place: u32, value: Option<T>) {
    if list.len() <= place as usize {
        list.resize_with(place as usize + 1, || None);
    }
    list[place as usize] = value;
}

fn set<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn fwmark<K: Eq + Hash>(set: &mut HashSet<K>, key: K, any: bool) {
    if any {
        set.insert(key);
    } else {
        set.remove(&key);
    }
}

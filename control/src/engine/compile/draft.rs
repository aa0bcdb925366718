//! Double buffering of compiled services: the next generation is written into the one before the current one.
//!
//! Workers return the previous generation. It differs from the current one only by the last changes, which are recorded
//! here. Copying those brings it up to date, ready for the next change. Only what changed is copied, and no worker sees
//! a generation while it is written.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::service::{Destination, DestinationId, Service, ServiceId, Services};

/// Keys of the entries that the last change wrote.
#[derive(Default)]
struct ChangedKeys {
    services: HashSet<u32>,
    destinations: Vec<u32>,
    endpoints: Vec<(Endpoint, u8)>,
    fwmarks: Vec<(u32, bool)>,
    nat_sources: Vec<(Endpoint, u8)>,
    nat_addresses: Vec<IpAddr>,
    gue_ends: Vec<Endpoint>,
    addresses: Vec<IpAddr>,
}

/// The previous generation, and the changes it lacks.
#[derive(Default)]
pub struct Spare {
    services: Arc<Services>,
    missing: ChangedKeys,
}

impl Spare {
    /// Returns a writable copy of `current`, made from the spare generation if all workers have returned it.
    pub fn draft(&mut self, current: &Services) -> Draft {
        let spare = std::mem::take(self);
        let services = match Arc::try_unwrap(spare.services) {
            Ok(mut services) => {
                spare.missing.copy(current, &mut services);
                services
            }
            Err(_) => current.clone(),
        };
        Draft { services, changed: ChangedKeys::default() }
    }

    /// Ids of destinations that differ between the spare and the current generation.
    pub fn destinations(&self) -> &[u32] {
        &self.missing.destinations
    }

    /// Makes a draft the current generation; the current one becomes the spare.
    pub fn publish(&mut self, draft: Draft, current: &mut Arc<Services>) {
        let before = std::mem::replace(current, Arc::new(draft.services));
        *self = Spare { services: before, missing: draft.changed };
    }
}

/// A generation that is being written, and a record of the changes.
pub struct Draft {
    services: Services,
    changed: ChangedKeys,
}

impl Draft {
    /// Direct access. Fields written this way are not recorded and must be rewritten with every change.
    pub fn services(&mut self) -> &mut Services {
        &mut self.services
    }

    /// Returns a destination.
    pub fn known(&self, id: DestinationId) -> Option<&Destination> {
        self.services.destination(id)
    }

    /// Returns a service.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.service(id)
    }

    /// Removes and returns a service.
    pub fn take_service(&mut self, id: ServiceId) -> Option<Service> {
        self.changed.services.insert(id.0);
        self.services.services.get_mut(id.0 as usize)?.take()
    }

    /// Sets a service.
    pub fn put_service(&mut self, id: ServiceId, service: Service) {
        self.changed.services.insert(id.0);
        put(&mut self.services.services, id.0, Some(service));
    }

    /// Sets or removes a destination.
    pub fn put_destination(&mut self, id: DestinationId, destination: Option<Destination>) {
        self.changed.destinations.push(id.0);
        put(&mut self.services.destinations, id.0, destination);
    }

    /// Sets the service of an endpoint and protocol.
    pub fn endpoint(&mut self, key: (Endpoint, u8), id: Option<ServiceId>) {
        self.changed.endpoints.push(key);
        set(&mut self.services.by_endpoint, key, id);
    }

    /// Sets the service of a fwmark.
    pub fn fwmark(&mut self, key: (u32, bool), id: Option<ServiceId>) {
        self.changed.fwmarks.push(key);
        set(&mut self.services.by_fwmark, key, id);
    }

    /// Sets whether a NAT destination is at this endpoint, and whether it is still configured.
    pub fn nat_source(&mut self, key: (Endpoint, u8), available: Option<bool>) {
        self.changed.nat_sources.push(key);
        set(&mut self.services.nat_sources, key, available);
    }

    /// Sets whether a NAT destination at this address keeps the port that the client addressed.
    pub fn nat_address(&mut self, address: IpAddr, any: bool) {
        self.changed.nat_addresses.push(address);
        set_member(&mut self.services.nat_addresses, address, any);
    }

    /// Sets whether a GUE tunnel ends at this endpoint.
    pub fn gue_end(&mut self, end: Endpoint, any: bool) {
        self.changed.gue_ends.push(end);
        set_member(&mut self.services.gue_ends, end, any);
    }

    /// Sets whether a service or a NAT destination has this address.
    pub fn address(&mut self, address: IpAddr, any: bool) {
        self.changed.addresses.push(address);
        set_member(&mut self.services.addresses, address, any);
    }
}

impl ChangedKeys {
    /// Copies the recorded entries.
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
        for (changed, from, to) in sets {
            changed.iter().for_each(|key| set_member(to, *key, from.contains(key)));
        }
        self.gue_ends.iter().for_each(|end| set_member(&mut to.gue_ends, *end, from.gue_ends.contains(end)));
        (to.hooked, to.any_port, to.ftp) = (from.hooked, from.any_port, from.ftp);
        to.call_openers.clone_from(&from.call_openers);
    }
}

fn put<T>(list: &mut Vec<Option<T>>, id: u32, value: Option<T>) {
    if list.len() <= id as usize {
        list.resize_with(id as usize + 1, || None);
    }
    list[id as usize] = value;
}

fn set<K: Eq + Hash, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn set_member<K: Eq + Hash>(set: &mut HashSet<K>, key: K, present: bool) {
    if present {
        set.insert(key);
    } else {
        set.remove(&key);
    }
}

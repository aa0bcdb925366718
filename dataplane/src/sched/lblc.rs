//! Locality-based least connections: a virtual address keeps its destination until that one is overloaded. Spec 3.9.
//! Each worker has its own cache, so an address may have as many destinations as there are workers.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::cached::{CacheExpiry, DestinationRef, MAX_ENTRIES, is_crowded};
use super::{Load, Loads, PickContext, wlc};
use crate::service::DestinationId;
use crate::time::{Millis, Tick};

/// The destinations of virtual addresses.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    // Grows by doubling: room for all entries from the start would be megabytes per service.
    entries: HashMap<IpAddr, Entry>,
    expiry: CacheExpiry,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    destination: DestinationRef,
    used: Tick,
}

impl Cache {
    /// Removes the entries that are due.
    pub fn maintain(&mut self, now: Tick, expiration: Millis) {
        let entries = self.entries.iter().map(|(&address, entry)| (address, entry.used));
        if let Some(sweep) = self.expiry.sweep(now, expiration, entries) {
            self.entries.retain(|&address, entry| !sweep.includes(address, entry.used));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The cached destination of the address, if it is usable. As in IPVS, thresholds do not matter here.
    fn cached<L: Loads>(&mut self, context: &PickContext<'_, L>) -> Option<DestinationId> {
        let entry = self.entries.get_mut(&context.virtual_address)?;
        entry.used = context.now;
        let cached = entry.destination.resolve(context)?;
        let serves = cached.destination.available && cached.destination.weight > 0;
        (serves && !is_crowded(&cached, context)).then_some(cached.id)
    }
}

/// Chooses the cached destination of the address, or else the one that wlc chooses, and caches that.
pub fn pick<L: Loads>(cache: &mut Cache, context: &PickContext<'_, L>) -> Option<DestinationId> {
    cache.expiry.start(context.now);
    if let Some(cached) = cache.cached(context) {
        return Some(cached);
    }
    let chosen = wlc::least(context.available(), Load::overhead)?;
    if cache.entries.len() < MAX_ENTRIES || cache.entries.contains_key(&context.virtual_address) {
        let entry = Entry { destination: DestinationRef::new(&chosen), used: context.now };
        cache.entries.insert(context.virtual_address, entry);
    }
    Some(chosen.id)
}

//! Locality-based least connections: a virtual address stays with its destination until that one is crowded.
//! Spec 3.9. Each worker has a cache of its own, so that an address may have as many destinations as there are
//! workers.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::cached::{Garbage, Held, MAXIMUM, is_crowded};
use super::{Load, Loads, PickContext, wlc};
use crate::service::DestinationId;
use crate::time::{Millis, Tick};

/// Which destination virtual addresses stay with.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    // Doubles when it is full, a few times in its life: room for all from the start would be megabytes a service.
    entries: HashMap<IpAddr, Entry>,
    garbage: Garbage,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    held: Held,
    used: Tick,
}

impl Cache {
    /// Forgets what is due.
    pub fn maintain(&mut self, now: Tick, expiration: Millis) {
        let entries = self.entries.iter().map(|(&address, entry)| (address, entry.used));
        if let Some(sweep) = self.garbage.sweep(now, expiration, entries) {
            self.entries.retain(|&address, entry| !sweep.takes(address, entry.used));
        }
    }

    /// How many addresses are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The address's own destination, if that may be chosen: an overload by threshold does not matter to it.
    fn kept<L: Loads>(&mut self, scene: &PickContext<'_, L>) -> Option<DestinationId> {
        let entry = self.entries.get_mut(&scene.virtual_address)?;
        entry.used = scene.now;
        let kept = entry.held.find(scene)?;
        let serves = kept.destination.available && kept.destination.weight > 0;
        (serves && !is_crowded(&kept, scene)).then_some(kept.id)
    }
}

/// The destination that the address stays with, else the one by wlc, which it stays with from now on.
pub fn pick<L: Loads>(cache: &mut Cache, scene: &PickContext<'_, L>) -> Option<DestinationId> {
    cache.garbage.begin(scene.now);
    if let Some(kept) = cache.kept(scene) {
        return Some(kept);
    }
    let chosen = wlc::least(scene.available(), Load::overhead)?;
    if cache.len() < MAXIMUM || cache.entries.contains_key(&scene.virtual_address) {
        let entry = Entry { held: Held::new(&chosen), used: scene.now };
        cache.entries.insert(scene.virtual_address, entry);
    }
    Some(chosen.id)
}

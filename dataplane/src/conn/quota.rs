//! What all workers must agree on about destinations: how many connections those with thresholds have, and whether that
//! is too many; spec 2.4. Touched when connections are made and end, and only where a threshold is set.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::service::{Destination, DestinationId};

/// One destination's.
#[derive(Debug, Default)]
struct Quota {
    /// Of all workers; counted only while a threshold is set.
    connections: AtomicI32,
    overloaded: AtomicBool,
    templates: AtomicU32,
}

/// By destination.
#[derive(Debug)]
pub struct Quotas(Box<[Quota]>);

impl Quotas {
    /// For so many destinations.
    pub fn new(destinations: usize) -> Quotas {
        Quotas((0..destinations).map(|_| Quota::default()).collect())
    }

    fn at(&self, id: DestinationId) -> Option<&Quota> {
        self.0.get(id.0 as usize)
    }

    /// Whether the destination gets no new connections for now.
    #[inline]
    pub fn is_overloaded(&self, id: DestinationId) -> bool {
        self.at(id).is_some_and(|quota| quota.overloaded.load(Relaxed))
    }

    /// A connection was bound to the destination.
    pub fn bind(&self, id: DestinationId, destination: &Destination) {
        if let Some(quota) = self.at(id).filter(|_| limits(destination)) {
            let count = quota.connections.fetch_add(1, Relaxed) + 1;
            if destination.upper != 0 && i64::from(count) >= i64::from(destination.upper) {
                quota.overloaded.store(true, Relaxed);
            }
        }
    }

    /// A connection of the destination ended.
    pub fn unbind(&self, id: DestinationId, destination: &Destination) {
        let Some(quota) = self.at(id) else { return };
        if !limits(destination) {
            if quota.overloaded.load(Relaxed) {
                quota.overloaded.store(false, Relaxed);
            }
            return;
        }
        let count = i64::from(quota.connections.fetch_sub(1, Relaxed)) - 1;
        let (upper, lower) = (i64::from(destination.upper), i64::from(destination.lower));
        if (lower != 0 && count < lower) || (lower == 0 && 4 * count < 3 * upper) {
            quota.overloaded.store(false, Relaxed);
        }
    }

    /// The destination was edited from `old` to `new`; `own` connections are one worker's.
    pub fn edited(&self, id: DestinationId, old: &Destination, new: &Destination, own: i32, clears: bool) {
        let Some(quota) = self.at(id) else { return };
        match (limits(old), limits(new)) {
            (false, true) => _ = quota.connections.fetch_add(own, Relaxed),
            (true, false) => _ = quota.connections.fetch_sub(own, Relaxed),
            _ => {}
        }
        if clears {
            quota.overloaded.store(false, Relaxed);
        }
    }

    /// The destination is no longer overloaded, if an edit `clears` that.
    pub fn clear(&self, id: DestinationId, clears: bool) {
        if let Some(quota) = self.at(id).filter(|_| clears) {
            quota.overloaded.store(false, Relaxed);
        }
    }

    /// A template was made for the destination, or ended.
    pub fn count_template(&self, id: DestinationId, made: bool) {
        let Some(quota) = self.at(id) else { return };
        if made {
            quota.templates.fetch_add(1, Relaxed)
        } else {
            quota.templates.fetch_sub(1, Relaxed)
        };
    }

    /// Templates of the destination.
    pub fn templates(&self, id: DestinationId) -> u32 {
        self.at(id).map_or(0, |quota| quota.templates.load(Relaxed))
    }

    /// Forgets all; for a destination id that is used anew.
    pub fn reset(&self, id: DestinationId) {
        if let Some(quota) = self.at(id) {
            quota.connections.store(0, Relaxed);
            quota.overloaded.store(false, Relaxed);
            quota.templates.store(0, Relaxed);
        }
    }
}

fn limits(destination: &Destination) -> bool {
    destination.upper != 0 || destination.lower != 0
}

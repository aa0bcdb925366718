//! What all workers must agree on about destinations: how many connections those with thresholds have, and whether that
//! is too many; spec 2.4. Touched when connections are made and end, and only where a threshold is set.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::service::{Destination, DestinationId};

/// What workers count together of one destination.
#[derive(Debug, Default)]
struct Quota {
    /// Of all workers; counted only while a threshold is set.
    connections: AtomicI32,
    templates: AtomicU32,
}

/// What an edit of a destination does to the count of its connections, which is kept while it has thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Not counted before the edit, nor after.
    Never,
    /// Counted from now on: the connections that it has are added.
    Begins,
    /// Counted before and after.
    Continues,
    /// No longer counted, so the destination is not overloaded either.
    Ends,
}

impl Counting {
    /// The effect of an edit from `old` to `new`. A new destination has no `old` and no connections to add.
    pub fn between(old: Option<&Destination>, new: &Destination) -> Counting {
        match (old.map_or(new.is_limited(), Destination::is_limited), new.is_limited()) {
            (false, false) => Counting::Never,
            (false, true) => Counting::Begins,
            (true, true) => Counting::Continues,
            (true, false) => Counting::Ends,
        }
    }
}

/// By destination. Whether one is overloaded is asked in every choice, of all its rivals too, and seldom changes: that
/// lies apart from what is counted, and is written only when it changes.
#[derive(Debug)]
pub struct Quotas {
    counts: Box<[Quota]>,
    overloaded: Box<[AtomicBool]>,
}

impl Quotas {
    /// For so many destinations.
    pub fn new(destinations: usize) -> Quotas {
        Quotas {
            counts: (0..destinations).map(|_| Quota::default()).collect(),
            overloaded: (0..destinations).map(|_| AtomicBool::default()).collect(),
        }
    }

    fn at(&self, id: DestinationId) -> Option<&Quota> {
        self.counts.get(id.0 as usize)
    }

    /// Whether the destination gets no new connections for now.
    #[inline]
    pub fn is_overloaded(&self, id: DestinationId) -> bool {
        self.overloaded.get(id.0 as usize).is_some_and(|overloaded| overloaded.load(Relaxed))
    }

    fn overload(&self, id: DestinationId, now: bool) {
        if let Some(overloaded) = self.overloaded.get(id.0 as usize)
            && overloaded.load(Relaxed) != now
        {
            overloaded.store(now, Relaxed);
        }
    }

    /// A connection was bound to the destination.
    pub fn bind(&self, id: DestinationId, destination: &Destination) {
        if let Some(quota) = self.at(id).filter(|_| destination.is_limited()) {
            let count = quota.connections.fetch_add(1, Relaxed) + 1;
            if destination.upper != 0 && i64::from(count) >= i64::from(destination.upper) {
                self.overload(id, true);
            }
        }
    }

    /// A connection of the destination ended.
    pub fn unbind(&self, id: DestinationId, destination: &Destination) {
        let Some(quota) = self.at(id) else { return };
        if !destination.is_limited() {
            return self.overload(id, false);
        }
        let count = i64::from(quota.connections.fetch_sub(1, Relaxed)) - 1;
        let (upper, lower) = (i64::from(destination.upper), i64::from(destination.lower));
        if (lower != 0 && count < lower) || (lower == 0 && 4 * count < 3 * upper) {
            self.overload(id, false);
        }
    }

    /// The destination was edited; `own` connections are one worker's. It is no longer overloaded if that `clears` it.
    pub fn edited(&self, id: DestinationId, counting: Counting, own: i32, clears: bool) {
        let Some(quota) = self.at(id) else { return };
        match counting {
            Counting::Begins => _ = quota.connections.fetch_add(own, Relaxed),
            Counting::Ends => _ = quota.connections.fetch_sub(own, Relaxed),
            Counting::Never | Counting::Continues => {}
        }
        if clears || counting == Counting::Ends {
            self.overload(id, false);
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
            quota.templates.store(0, Relaxed);
        }
        self.overload(id, false);
    }
}

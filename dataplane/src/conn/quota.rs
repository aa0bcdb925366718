//! Thresholds of destinations, on which all workers must agree: connection counts and the overload state; spec 2.4.
//! Counts are kept only for destinations with thresholds, and only change when connections are added and removed.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed};

use crate::service::{Destination, DestinationId};

/// Counts of one destination, over all workers.
#[derive(Debug, Default)]
struct Quota {
    /// Counted only while a threshold is set.
    connections: AtomicI32,
    templates: AtomicU32,
}

/// Effect of an edit of a destination on the count of its connections, which is kept while it has thresholds.
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

/// Counts by destination. Schedulers read the overload state of every candidate and it seldom changes, so it is kept
/// apart from the counts and written only when it changes.
#[derive(Debug)]
pub struct Quotas {
    counts: Box<[Quota]>,
    overloaded: Box<[AtomicBool]>,
}

impl Quotas {
    /// Room for this many destinations.
    pub fn new(destinations: usize) -> Quotas {
        Quotas {
            counts: (0..destinations).map(|_| Quota::default()).collect(),
            overloaded: (0..destinations).map(|_| AtomicBool::default()).collect(),
        }
    }

    fn at(&self, id: DestinationId) -> Option<&Quota> {
        self.counts.get(id.0 as usize)
    }

    /// True if the destination currently gets no new connections.
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

    /// Counts a connection that was bound to the destination.
    pub fn bind(&self, id: DestinationId, destination: &Destination) {
        if let Some(quota) = self.at(id).filter(|_| destination.is_limited()) {
            let count = quota.connections.fetch_add(1, Relaxed) + 1;
            if destination.upper != 0 && i64::from(count) >= i64::from(destination.upper) {
                self.overload(id, true);
            }
        }
    }

    /// Counts a connection of the destination that ended.
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

    /// Applies an edit of the destination. `own` is the number of its connections at the calling worker. The destination is
    /// no longer overloaded if the edit `clears` that.
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

    /// Counts a template that was `made` for the destination, or that ended.
    pub fn count_template(&self, id: DestinationId, made: bool) {
        let Some(quota) = self.at(id) else { return };
        if made {
            quota.templates.fetch_add(1, Relaxed)
        } else {
            quota.templates.fetch_sub(1, Relaxed)
        };
    }

    /// Number of templates of the destination.
    pub fn templates(&self, id: DestinationId) -> u32 {
        self.at(id).map_or(0, |quota| quota.templates.load(Relaxed))
    }

    /// Clears all counts, before a destination id is used again.
    pub fn reset(&self, id: DestinationId) {
        if let Some(quota) = self.at(id) {
            quota.connections.store(0, Relaxed);
            quota.templates.store(0, Relaxed);
        }
        self.overload(id, false);
    }
}

//! Path MTUs learnt from errors about our own tunnel packets; spec 6.7 and 6.8.

use hashbrown::HashMap;

use crate::service::TargetId;
use crate::time::{Millis, Tick};

/// Lifetime of a learnt MTU: Linux's `net.ipv4.route.mtu_expires`.
const LIFETIME: Millis = Millis::from_secs(600);
/// Smallest MTU that is believed: Linux's `net.ipv4.route.min_pmtu`.
const MIN_PMTU: u16 = 552;
/// Maximum number of cached paths; ICMP errors can be forged.
const MAX_PATHS: usize = 4096;

/// Path to one destination address.
#[derive(Clone, Copy, Debug)]
struct Path {
    mtu: u16,
    until: Tick,
    /// A packet has used the MTU since it was learnt. Linux 6.1 reports the MTU only then.
    in_use: bool,
}

/// Path MTUs that are lower than their routes' MTU.
#[derive(Debug, Default)]
pub struct PmtuCache {
    learnt: HashMap<TargetId, Path>,
}

impl PmtuCache {
    /// An empty cache with memory for all paths.
    pub fn new() -> PmtuCache {
        PmtuCache { learnt: HashMap::with_capacity(MAX_PATHS) }
    }

    /// Returns whether every path has its route's MTU.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.learnt.is_empty()
    }

    /// Path MTU of a target whose route has `mtu`.
    #[inline]
    pub fn of(&mut self, target: TargetId, mtu: u16) -> u16 {
        if self.learnt.is_empty() { mtu } else { self.look(target, mtu) }
    }

    #[cold]
    fn look(&mut self, target: TargetId, mtu: u16) -> u16 {
        let Some(path) = self.learnt.get_mut(&target) else { return mtu };
        path.in_use = true;
        path.mtu.min(mtu)
    }

    /// Caches an MTU. Returns the path MTU before and after.
    pub fn learn(&mut self, target: TargetId, route: u16, mtu: u16, now: Tick) -> (u16, u16) {
        let before = match self.learnt.get(&target) {
            Some(path) if path.in_use => path.mtu.min(route),
            _ => route,
        };
        let learnt = mtu.max(MIN_PMTU).min(route);
        if mtu < route && (self.learnt.len() < MAX_PATHS || self.learnt.contains_key(&target)) {
            let in_use = self.learnt.get(&target).is_some_and(|path| path.in_use);
            self.learnt.insert(target, Path { mtu: learnt, until: now.after(LIFETIME), in_use });
        }
        (before, learnt)
    }

    /// Removes expired paths.
    pub fn expire(&mut self, now: Tick) {
        self.learnt.retain(|_, path| path.until > now);
    }

    /// Removes all paths, after routes have changed.
    pub fn clear(&mut self) {
        self.learnt.clear();
    }
}

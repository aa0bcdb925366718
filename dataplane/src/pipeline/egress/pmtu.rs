//! Path MTUs learnt from errors about our own tunnel packets; spec 6.7 and 6.8.

use hashbrown::HashMap;

use crate::service::TargetId;
use crate::time::{Millis, Tick};

/// How long a learnt MTU holds: Linux's `net.ipv4.route.mtu_expires`.
const HOLDS: Millis = Millis::from_secs(600);
/// Smaller values are taken for this: Linux's `net.ipv4.route.min_pmtu`.
const LEAST: u16 = 552;
/// Most paths remembered; errors can be forged.
const MOST: usize = 4096;

/// What is known of the way to one destination address.
#[derive(Clone, Copy, Debug)]
struct Path {
    mtu: u16,
    until: Tick,
    /// The MTU is in use: a packet went that way since it was learnt. Linux 6.1 tells it only then.
    in_use: bool,
}

/// The paths that differ from their routes.
#[derive(Debug, Default)]
pub struct PmtuCache {
    learnt: HashMap<TargetId, Path>,
}

impl PmtuCache {
    /// Room for all paths, taken at start.
    pub fn new() -> PmtuCache {
        PmtuCache { learnt: HashMap::with_capacity(MOST) }
    }

    /// Whether no path differs from its route.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.learnt.is_empty()
    }

    /// The MTU to a target whose route says `mtu`.
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

    /// Takes note of an MTU; gives the one in use before and now, as the next error would tell it.
    pub fn learn(&mut self, target: TargetId, route: u16, mtu: u16, now: Tick) -> (u16, u16) {
        let before = match self.learnt.get(&target) {
            Some(path) if path.in_use => path.mtu.min(route),
            _ => route,
        };
        let learnt = mtu.max(LEAST).min(route);
        if mtu < route && (self.learnt.len() < MOST || self.learnt.contains_key(&target)) {
            let in_use = self.learnt.get(&target).is_some_and(|path| path.in_use);
            self.learnt.insert(target, Path { mtu: learnt, until: now.after(HOLDS), in_use });
        }
        (before, learnt)
    }

    /// Forgets what is old.
    pub fn expire(&mut self, now: Tick) {
        self.learnt.retain(|_, path| path.until > now);
    }

    /// Forgets everything: the routes are others now.
    pub fn clear(&mut self) {
        self.learnt.clear();
    }
}

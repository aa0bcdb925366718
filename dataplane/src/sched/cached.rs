//! Shared parts of the caches of `lblc` and `lblcr`: references to destinations, and expiry of entries. Spec 3.9.

use std::net::IpAddr;

use super::fold::{bucket, fold};
use super::{Candidate, Loads, PickContext};
use crate::flow::Endpoint;
use crate::service::{Destination, DestinationId, ServiceId};
use crate::time::{Millis, Tick};

/// Above this number of entries, idle ones are removed before they expire.
pub const SOFT_MAX_ENTRIES: usize = 16384;
/// Maximum number of entries of one service at one worker. Beyond it an address is served but not cached. IPVS has no
/// such limit. It bounds the memory that a flood of addresses takes, whose entries are idle and expire within minutes,
/// and the time of the scan once a minute, about 0.4 ms.
pub const MAX_ENTRIES: usize = 2 * SOFT_MAX_ENTRIES;

const BITS: u32 = 10;
const BUCKETS: usize = 1 << BITS;
const PERIOD: Millis = Millis::from_secs(60);
const PERIODS_TO_FULL_CHECK: u32 = 30;
/// How long an entry must be idle to be removed when there are too many.
const IDLE_WHEN_FULL: Millis = Millis::from_secs(360);

/// A reference to a destination that stays valid when the destination is removed and added again. As in IPVS the
/// endpoint identifies it; the id is a hint, since it may be reused for another destination.
#[derive(Clone, Copy, Debug)]
pub struct DestinationRef {
    id: DestinationId,
    service: ServiceId,
    endpoint: Endpoint,
}

impl DestinationRef {
    /// A reference to a candidate.
    pub fn new(candidate: &Candidate<'_>) -> DestinationRef {
        let Destination { service, endpoint, .. } = *candidate.destination;
        DestinationRef { id: candidate.id, service, endpoint }
    }

    /// Whether it refers to this candidate.
    pub fn refers_to(&self, candidate: &Candidate<'_>) -> bool {
        self.endpoint == candidate.destination.endpoint
    }

    /// The destination as it is now. It may have been removed from the service.
    pub fn resolve<'a, L: Loads>(&self, context: &'a PickContext<'_, L>) -> Option<Candidate<'a>> {
        let same = |d: &&Destination| d.service == self.service && d.endpoint == self.endpoint;
        let by_id = context.services.destination(self.id).filter(same).map(|d| context.candidate(self.id, d));
        match by_id {
            Some(candidate) if candidate.destination.available => by_id,
            _ => context.candidates().find(|c| self.refers_to(c)).or(by_id),
        }
    }
}

/// Whether a destination has more active connections than its weight, while another one has fewer than half its own
/// weight.
pub fn is_crowded<L: Loads>(candidate: &Candidate<'_>, context: &PickContext<'_, L>) -> bool {
    let has_room = |c: Candidate<'_>| u64::from(c.load.active) * 2 < u64::from(c.destination.weight);
    candidate.load.active > candidate.destination.weight && context.candidates().any(has_room)
}

/// Decides when entries are removed.
#[derive(Clone, Copy, Debug)]
pub struct CacheExpiry {
    due: Option<Tick>,
    counter: u32,
    rover: usize,
}

impl Default for CacheExpiry {
    fn default() -> CacheExpiry {
        CacheExpiry { due: None, counter: 1, rover: 0 }
    }
}

impl CacheExpiry {
    /// Starts the timer unless it runs.
    pub fn start(&mut self, now: Tick) {
        self.due.get_or_insert(now.after(PERIOD));
    }

    /// The entries to remove now, if any. `entries` gives the address and the last use of every entry.
    pub fn sweep(
        &mut self,
        now: Tick,
        expiration: Millis,
        entries: impl ExactSizeIterator<Item = (IpAddr, Tick)>,
    ) -> Option<Sweep> {
        self.start(now);
        let due = self.due.filter(|&due| due <= now)?;
        self.due = Some(due.after(PERIOD));
        if self.counter.is_multiple_of(PERIODS_TO_FULL_CHECK) {
            self.counter = 1;
            return Some(Sweep { now, idle: expiration, first: 0, buckets: BUCKETS });
        }
        let excess = entries.len().saturating_sub(SOFT_MAX_ENTRIES);
        if excess == 0 {
            self.counter += 1;
            return None;
        }
        let goal = (excess * 4 / 3).min(SOFT_MAX_ENTRIES / 2);
        Some(self.sweep_from_rover(now, goal, entries))
    }

    /// Enough buckets after the rover to remove `goal` entries. The rover is the bucket where the last sweep ended.
    fn sweep_from_rover(
        &mut self,
        now: Tick,
        goal: usize,
        entries: impl Iterator<Item = (IpAddr, Tick)>,
    ) -> Sweep {
        let first = (self.rover + 1) % BUCKETS;
        let mut sweep = Sweep { now, idle: IDLE_WHEN_FULL, first, buckets: BUCKETS };
        let mut idle = [0_usize; BUCKETS];
        for (address, used) in entries {
            idle[bucket_of(address)] += usize::from(sweep.includes(address, used));
        }
        let mut removed = 0;
        for walked in 0..BUCKETS {
            self.rover = (first + walked) % BUCKETS;
            removed += idle[self.rover];
            if removed >= goal {
                sweep.buckets = walked + 1;
                break;
            }
        }
        sweep
    }
}

/// The entries to remove: those idle for long enough, in a range of buckets.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    now: Tick,
    idle: Millis,
    first: usize,
    buckets: usize,
}

impl Sweep {
    /// Whether the entry of `address`, last used at `used`, is to be removed.
    pub fn includes(&self, address: IpAddr, used: Tick) -> bool {
        let offset = (bucket_of(address) + BUCKETS - self.first) % BUCKETS;
        self.now >= used.after(self.idle) && offset < self.buckets
    }
}

fn bucket_of(address: IpAddr) -> usize {
    bucket(fold(address), BITS) as usize
}

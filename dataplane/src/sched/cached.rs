//! What `lblc` and `lblcr` share: how they keep hold of destinations, and when they forget. Spec 3.9.

use std::net::IpAddr;

use super::fold::{bucket, fold};
use super::{Candidate, Loads, PickContext};
use crate::flow::Endpoint;
use crate::service::{Destination, DestinationId, ServiceId};
use crate::time::{Millis, Tick};

/// Entries that are kept however idle they are, until they expire.
pub const SOFT_MAXIMUM: usize = 16384;
/// Entries of one service at one worker; an address that finds no room is served, but not remembered. IPVS has no
/// such bound; here a flood of addresses must not take all memory, and what it brings is idle and goes within minutes.
/// Nor may looking through all of them, once a minute, keep packets waiting: it takes some 0.4 ms.
pub const MAXIMUM: usize = 2 * SOFT_MAXIMUM;

const BITS: u32 = 10;
const BUCKETS: usize = 1 << BITS;
const PERIOD: Millis = Millis::from_secs(60);
const PERIODS_TO_FULL_CHECK: u32 = 30;
/// How long an entry must be idle to go when there are too many.
const IDLE: Millis = Millis::from_secs(360);

/// A destination held on to: as in IPVS a removed one is the same again when it is added again, so what tells it is
/// the endpoint; its id may by then be another's.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    id: DestinationId,
    service: ServiceId,
    endpoint: Endpoint,
}

impl Held {
    /// Holds on to a destination.
    pub fn new(candidate: &Candidate<'_>) -> Held {
        let Destination { service, endpoint, .. } = *candidate.destination;
        Held { id: candidate.id, service, endpoint }
    }

    /// Whether it is this destination.
    pub fn is(&self, candidate: &Candidate<'_>) -> bool {
        self.endpoint == candidate.destination.endpoint
    }

    /// The destination as it is now; perhaps a ghost.
    pub fn find<'a, L: Loads>(&self, scene: &'a PickContext<'_, L>) -> Option<Candidate<'a>> {
        let same = |d: &&Destination| d.service == self.service && d.endpoint == self.endpoint;
        let of_id = scene.services.destination(self.id).filter(same).map(|d| scene.candidate(self.id, d));
        match of_id {
            Some(candidate) if candidate.destination.available => of_id,
            _ => scene.candidates().find(|c| self.is(c)).or(of_id),
        }
    }
}

/// Whether a destination has more active connections than it weighs while another has less than half as many.
pub fn is_crowded<L: Loads>(candidate: &Candidate<'_>, scene: &PickContext<'_, L>) -> bool {
    let has_room = |c: Candidate<'_>| u64::from(c.load.active) * 2 < u64::from(c.destination.weight);
    candidate.load.active > candidate.destination.weight && scene.candidates().any(has_room)
}

/// When entries go.
#[derive(Clone, Copy, Debug)]
pub struct Garbage {
    due: Option<Tick>,
    counter: u32,
    rover: usize,
}

impl Default for Garbage {
    fn default() -> Garbage {
        Garbage { due: None, counter: 1, rover: 0 }
    }
}

impl Garbage {
    /// Starts the clock unless it runs.
    pub fn begin(&mut self, now: Tick) {
        self.due.get_or_insert(now.after(PERIOD));
    }

    /// What is to go now, if anything; of all entries it is told the address and the time of the last use.
    pub fn sweep(
        &mut self,
        now: Tick,
        expiration: Millis,
        entries: impl ExactSizeIterator<Item = (IpAddr, Tick)>,
    ) -> Option<Sweep> {
        self.begin(now);
        let due = self.due.filter(|&due| due <= now)?;
        self.due = Some(due.after(PERIOD));
        if self.counter.is_multiple_of(PERIODS_TO_FULL_CHECK) {
            self.counter = 1;
            return Some(Sweep { now, idle: expiration, first: 0, buckets: BUCKETS });
        }
        let excess = entries.len().saturating_sub(SOFT_MAXIMUM);
        if excess == 0 {
            self.counter += 1;
            return None;
        }
        let goal = (excess * 4 / 3).min(SOFT_MAXIMUM / 2);
        Some(self.sweep_from_rover(now, goal, entries))
    }

    /// As many buckets after the rover as it takes to reach the goal.
    fn sweep_from_rover(
        &mut self,
        now: Tick,
        goal: usize,
        entries: impl Iterator<Item = (IpAddr, Tick)>,
    ) -> Sweep {
        let first = (self.rover + 1) % BUCKETS;
        let mut sweep = Sweep { now, idle: IDLE, first, buckets: BUCKETS };
        let mut idle = [0_usize; BUCKETS];
        for (address, used) in entries {
            idle[bucket_of(address)] += usize::from(sweep.takes(address, used));
        }
        let mut gone = 0;
        for walked in 0..BUCKETS {
            self.rover = (first + walked) % BUCKETS;
            gone += idle[self.rover];
            if gone >= goal {
                sweep.buckets = walked + 1;
                break;
            }
        }
        sweep
    }
}

/// Which entries go.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    now: Tick,
    idle: Millis,
    first: usize,
    buckets: usize,
}

impl Sweep {
    /// Whether the entry of `address`, last used then, goes.
    pub fn takes(&self, address: IpAddr, used: Tick) -> bool {
        let place = (bucket_of(address) + BUCKETS - self.first) % BUCKETS;
        self.now >= used.after(self.idle) && place < self.buckets
    }
}

fn bucket_of(address: IpAddr) -> usize {
    bucket(fold(address), BITS) as usize
}

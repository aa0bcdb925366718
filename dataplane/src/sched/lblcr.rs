//! Locality-based least connections with replication: a virtual address has a set of destinations, which grows when the
//! best of them is overloaded. Spec 3.10. Each worker has its own cache.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::cached::{CacheExpiry, DestinationRef, MAX_ENTRIES, is_crowded};
use super::{Candidate, Load, Loads, PickContext, wlc};
use crate::service::DestinationId;
use crate::time::{Millis, Tick};

/// Maximum number of members in all sets of one service at one worker. Beyond it sets do not grow.
const MAX_MEMBERS: usize = 2 * MAX_ENTRIES;

/// The destination sets of virtual addresses.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    // Both grow by doubling.
    entries: HashMap<IpAddr, Set>,
    members: Members,
    expiry: CacheExpiry,
}

/// A set of destinations: a list of members, the newest first.
#[derive(Clone, Copy, Debug)]
struct Set {
    newest: Option<Slot>,
    size: u32,
    modified: Tick,
    used: Tick,
}

/// Index of a member in [`Members::all`].
type Slot = u32;

#[derive(Clone, Copy, Debug)]
struct Member {
    destination: DestinationRef,
    older: Option<Slot>,
}

/// The members of all sets, in one vector. Those of a set are linked from the newest to the oldest, free slots
/// likewise.
#[derive(Clone, Debug, Default)]
struct Members {
    all: Vec<Member>,
    free: Option<Slot>,
}

impl Members {
    /// Adds a member to a set; returns false when there is no room.
    fn add(&mut self, set: &mut Set, destination: DestinationRef, now: Tick) -> bool {
        let member = Member { destination, older: set.newest };
        let slot = match self.free {
            Some(slot) => {
                self.free = self.all[slot as usize].older;
                self.all[slot as usize] = member;
                slot
            }
            None if self.all.len() == MAX_MEMBERS => return false,
            None => {
                self.all.push(member);
                self.all.len() as Slot - 1
            }
        };
        (set.newest, set.size, set.modified) = (Some(slot), set.size + 1, now);
        true
    }

    /// Removes a member from its set.
    fn remove(&mut self, set: &mut Set, slot: Slot, now: Tick) {
        let older = self.all[slot as usize].older;
        let newer = self.slots(set).find(|&other| self.all[other as usize].older == Some(slot));
        match newer {
            Some(newer) => self.all[newer as usize].older = older,
            None => set.newest = older,
        }
        (set.size, set.modified) = (set.size - 1, now);
        self.all[slot as usize].older = self.free.replace(slot);
    }

    fn clear(&mut self, set: &mut Set) {
        while let Some(newest) = set.newest {
            self.remove(set, newest, set.modified);
        }
    }

    fn slots(&self, set: &Set) -> impl Iterator<Item = Slot> {
        std::iter::successors(set.newest, |&slot| self.all[slot as usize].older)
    }

    /// The members as candidates, the newest first.
    fn candidates<'a, L: Loads>(
        &self,
        set: &Set,
        context: &'a PickContext<'_, L>,
    ) -> impl Iterator<Item = (Slot, Candidate<'a>)> {
        self.slots(set).filter_map(|slot| Some((slot, self.all[slot as usize].destination.resolve(context)?)))
    }

    /// The member with the most overhead per weight; among equals the first.
    fn most_loaded<L: Loads>(&self, set: &Set, context: &PickContext<'_, L>) -> Option<Slot> {
        let weighted = self.candidates(set, context).filter(|(_, c)| c.destination.weight > 0);
        let is_worse =
            |member: &Candidate<'_>, worst: &Candidate<'_>| wlc::exceeds(member, worst, Load::overhead);
        weighted
            .reduce(|worst, member| if is_worse(&member.1, &worst.1) { member } else { worst })
            .map(|(slot, _)| slot)
    }
}

impl Cache {
    /// Removes the entries that are due.
    pub fn maintain(&mut self, now: Tick, expiration: Millis) {
        let entries = self.entries.iter().map(|(&address, set)| (address, set.used));
        if let Some(sweep) = self.expiry.sweep(now, expiration, entries) {
            self.entries.retain(|&address, set| {
                let stays = !sweep.includes(address, set.used);
                if !stays {
                    self.members.clear(set);
                }
                stays
            });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The least loaded member of the address's set, if it is usable. A set that has not changed for the expiration
    /// time loses its most loaded member.
    fn cached<L: Loads>(&mut self, context: &PickContext<'_, L>) -> Option<DestinationId> {
        let set = self.entries.get_mut(&context.virtual_address)?;
        set.used = context.now;
        let usable = self.members.candidates(set, context).map(|(_, c)| c);
        let usable = usable.filter(|c| c.destination.available && c.is_available());
        let best = wlc::least(usable, Load::overhead);
        if set.size > 1
            && context.now > set.modified.after(context.settings.lblcr_expiration)
            && let Some(worst) = self.members.most_loaded(set, context)
        {
            self.members.remove(set, worst, context.now);
        }
        best.filter(|c| !is_crowded(c, context)).map(|c| c.id)
    }

    /// Adds a destination to the address's set if there is room.
    fn insert<L: Loads>(&mut self, chosen: &Candidate<'_>, context: &PickContext<'_, L>) {
        let (destination, now) = (DestinationRef::new(chosen), context.now);
        if let Some(set) = self.entries.get_mut(&context.virtual_address) {
            let is_member = self
                .members
                .slots(set)
                .any(|slot| self.members.all[slot as usize].destination.refers_to(chosen));
            if !is_member {
                self.members.add(set, destination, now);
            }
        } else if self.entries.len() < MAX_ENTRIES {
            let mut set = Set { newest: None, size: 0, modified: now, used: now };
            if self.members.add(&mut set, destination, now) {
                self.entries.insert(context.virtual_address, set);
            }
        }
    }
}

/// Chooses from the address's set, or else as wlc does, and adds that destination to the set.
pub fn pick<L: Loads>(cache: &mut Cache, context: &PickContext<'_, L>) -> Option<DestinationId> {
    cache.expiry.start(context.now);
    if let Some(cached) = cache.cached(context) {
        return Some(cached);
    }
    let chosen = wlc::least(context.available(), Load::overhead)?;
    cache.insert(&chosen, context);
    Some(chosen.id)
}

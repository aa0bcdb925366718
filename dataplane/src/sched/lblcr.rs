//! Locality-based least connections with replication: a virtual address stays with a set of destinations, which
//! grows when all of them are crowded. Spec 3.10. Each worker has a cache of its own.

use std::net::IpAddr;

use hashbrown::HashMap;

use super::cached::{Garbage, Held, MAXIMUM, is_crowded};
use super::{Candidate, Load, Loads, PickContext, wlc};
use crate::service::DestinationId;
use crate::time::{Millis, Tick};

/// Members of all sets of a service at one worker; beyond it sets do not grow.
const MEMBERS: usize = 2 * MAXIMUM;

/// Which destinations virtual addresses stay with.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    // Both double when they are full, a few times in their life.
    entries: HashMap<IpAddr, Set>,
    members: Members,
    garbage: Garbage,
}

/// A set of destinations.
#[derive(Clone, Copy, Debug)]
struct Set {
    newest: Option<Place>,
    size: u32,
    modified: Tick,
    used: Tick,
}

/// Where a member is in [`Members`].
type Place = u32;

#[derive(Clone, Copy, Debug)]
struct Member {
    held: Held,
    older: Option<Place>,
}

/// The members of all sets, in one piece of memory, linked from the newest to the oldest.
#[derive(Clone, Debug, Default)]
struct Members {
    all: Vec<Member>,
    free: Option<Place>,
}

impl Members {
    /// Makes a member of a set; `false` when there is no room.
    fn add(&mut self, set: &mut Set, held: Held, now: Tick) -> bool {
        let member = Member { held, older: set.newest };
        let place = match self.free {
            Some(place) => {
                self.free = self.all[place as usize].older;
                self.all[place as usize] = member;
                place
            }
            None if self.all.len() == MEMBERS => return false,
            None => {
                self.all.push(member);
                self.all.len() as Place - 1
            }
        };
        (set.newest, set.size, set.modified) = (Some(place), set.size + 1, now);
        true
    }

    /// Takes a member off its set.
    fn remove(&mut self, set: &mut Set, gone: Place, now: Tick) {
        let older = self.all[gone as usize].older;
        let newer = self.places(set).find(|&place| self.all[place as usize].older == Some(gone));
        match newer {
            Some(newer) => self.all[newer as usize].older = older,
            None => set.newest = older,
        }
        (set.size, set.modified) = (set.size - 1, now);
        self.all[gone as usize].older = self.free.replace(gone);
    }

    fn clear(&mut self, set: &mut Set) {
        while let Some(newest) = set.newest {
            self.remove(set, newest, set.modified);
        }
    }

    fn places(&self, set: &Set) -> impl Iterator<Item = Place> {
        std::iter::successors(set.newest, |&place| self.all[place as usize].older)
    }

    /// The members as destinations, the newest first.
    fn of<'a, L: Loads>(
        &self,
        set: &Set,
        scene: &'a PickContext<'_, L>,
    ) -> impl Iterator<Item = (Place, Candidate<'a>)> {
        self.places(set).filter_map(|place| Some((place, self.all[place as usize].held.find(scene)?)))
    }

    /// The member with the most overhead per weight; the first of equals.
    fn most_loaded<L: Loads>(&self, set: &Set, scene: &PickContext<'_, L>) -> Option<Place> {
        let heavy = self.of(set, scene).filter(|(_, c)| c.destination.weight > 0);
        let most = |most: (Place, Candidate<'_>), member: (Place, Candidate<'_>)| {
            wlc::exceeds(&member.1, &most.1, Load::overhead)
        };
        heavy.reduce(|a, b| if most(a, b) { b } else { a }).map(|(place, _)| place)
    }
}

impl Cache {
    /// Forgets what is due.
    pub fn maintain(&mut self, now: Tick, expiration: Millis) {
        let entries = self.entries.iter().map(|(&address, set)| (address, set.used));
        if let Some(sweep) = self.garbage.sweep(now, expiration, entries) {
            self.entries.retain(|&address, set| {
                let stays = !sweep.takes(address, set.used);
                if !stays {
                    self.members.clear(set);
                }
                stays
            });
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

    /// The best of the address's own set, which may lose its most loaded member by the way.
    fn kept<L: Loads>(&mut self, scene: &PickContext<'_, L>) -> Option<DestinationId> {
        let set = self.entries.get_mut(&scene.virtual_address)?;
        set.used = scene.now;
        let usable = self.members.of(set, scene).map(|(_, c)| c);
        let usable = usable.filter(|c| c.destination.available && c.is_available());
        let kept = wlc::least(usable, Load::overhead);
        if set.size > 1
            && scene.now > set.modified.after(scene.settings.lblcr_expiration)
            && let Some(most) = self.members.most_loaded(set, scene)
        {
            self.members.remove(set, most, scene.now);
        }
        kept.filter(|c| !is_crowded(c, scene)).map(|c| c.id)
    }

    /// Adds a destination to the address's set, where there is room for it.
    fn remember<L: Loads>(&mut self, chosen: &Candidate<'_>, scene: &PickContext<'_, L>) {
        let (held, now) = (Held::new(chosen), scene.now);
        if let Some(set) = self.entries.get_mut(&scene.virtual_address) {
            let is_member = self.members.places(set).any(|at| self.members.all[at as usize].held.is(chosen));
            if !is_member {
                self.members.add(set, held, now);
            }
        } else if self.entries.len() < MAXIMUM {
            let mut set = Set { newest: None, size: 0, modified: now, used: now };
            if self.members.add(&mut set, held, now) {
                self.entries.insert(scene.virtual_address, set);
            }
        }
    }
}

/// The best of the address's set, else the one by wlc, which is in the set from now on.
pub fn pick<L: Loads>(cache: &mut Cache, scene: &PickContext<'_, L>) -> Option<DestinationId> {
    cache.garbage.begin(scene.now);
    if let Some(kept) = cache.kept(scene) {
        return Some(kept);
    }
    let chosen = wlc::least(scene.available(), Load::overhead)?;
    cache.remember(&chosen, scene);
    Some(chosen.id)
}

//! Timers for millions of entries: one list for each time slot, linked by index through the entries themselves.
//!
//! An entry is re-armed lazily. A packet only records when it came. When the entry's slot is due, the entry is armed again
//! if its real deadline is later. So a timer costs the packet path nothing unless its deadline moves *earlier*.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::clock::Tick;

/// No entry. Ids are stored plus one, so that zeroed memory means this.
const NONE: u32 = 0;
/// A slot is 2^5 = 32 milliseconds.
const SLOT_SHIFT: u32 = 5;
/// 2^15 slots cover 17 minutes, more than the longest default timeout of IPVS. Entries with a later deadline wait in the
/// last slot and are armed again from there.
const SLOTS: u32 = 1 << 15;

/// Links of an entry in the wheel.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Links {
    /// The next entry of the slot plus one.
    pub next: u32,
    /// The previous entry of the slot plus one.
    pub previous: u32,
    /// The slot that it is in, counted since the clock started, plus one; 0 if it is not armed.
    pub armed: u32,
}

/// A record that can be in a wheel.
pub trait Linked {
    /// Its links.
    fn links(&self) -> &Links;
    /// Its links, mutable.
    fn links_mut(&mut self) -> &mut Links;
}

/// The heads of the lists, and the current slot.
pub struct Wheel {
    heads: Box<[u32]>,
    /// The first slot that has not been emptied.
    current: u32,
}

impl Default for Wheel {
    fn default() -> Wheel {
        Wheel::new()
    }
}

#[inline(always)]
fn slot_of(at: Tick) -> u32 {
    (at.0 >> SLOT_SHIFT) as u32
}

impl Wheel {
    /// An empty wheel at tick 0.
    pub fn new() -> Wheel {
        Wheel { heads: vec![NONE; SLOTS as usize].into_boxed_slice(), current: 0 }
    }

    /// Arms entry `id`, to be popped at `deadline` or up to one slot later.
    pub fn arm<T: Linked>(&mut self, entries: &mut [T], id: u32, deadline: Tick) {
        let slot = slot_of(deadline).clamp(self.current, self.current + SLOTS - 1);
        let head = &mut self.heads[(slot % SLOTS) as usize];
        let next = std::mem::replace(head, id + 1);
        if next != NONE {
            entries[(next - 1) as usize].links_mut().previous = id + 1;
        }
        *entries[id as usize].links_mut() = Links { next, previous: NONE, armed: slot + 1 };
    }

    /// Disarms entry `id`. Does nothing if it is not armed.
    pub fn disarm<T: Linked>(&mut self, entries: &mut [T], id: u32) {
        let Links { next, previous, armed } = *entries[id as usize].links();
        if armed == 0 {
            return;
        }
        match previous {
            NONE => self.heads[((armed - 1) % SLOTS) as usize] = next,
            _ => entries[(previous - 1) as usize].links_mut().next = next,
        }
        if next != NONE {
            entries[(next - 1) as usize].links_mut().previous = previous;
        }
        *entries[id as usize].links_mut() = Links::default();
    }

    /// The latest value of [`Links::armed`] with which an entry is popped in time for `deadline`.
    #[inline(always)]
    pub fn due(deadline: Tick) -> u32 {
        slot_of(deadline) + 1
    }

    /// Disarms and returns one entry whose slot has passed at `now`. The caller arms it again if its deadline is later.
    pub fn pop<T: Linked>(&mut self, entries: &mut [T], now: Tick) -> Option<u32> {
        while self.current < slot_of(now) {
            match self.heads[(self.current % SLOTS) as usize] {
                NONE => self.current += 1,
                first => {
                    self.disarm(entries, first - 1);
                    return Some(first - 1);
                }
            }
        }
        None
    }

    /// True if a slot that has passed at `now` may still hold an entry.
    pub fn is_behind(&self, now: Tick) -> bool {
        self.current < slot_of(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Default)]
    struct Timer(Links);

    impl Linked for Timer {
        fn links(&self) -> &Links {
            &self.0
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    proptest! {
        #[test]
        fn a_wheel_behaves_as_a_sorted_list(steps in proptest::collection::vec((0u32..40, 0u64..2_000_000, any::<bool>()), 1..120)) {
            let (mut wheel, mut timers) = (Wheel::new(), vec![Timer::default(); 40]);
            let mut deadlines = std::collections::BTreeMap::new();
            let mut now = 0;
            for (id, wait, cancel) in steps {
                wheel.disarm(&mut timers, id);
                deadlines.remove(&id);
                if !cancel {
                    wheel.arm(&mut timers, id, Tick(now + wait));
                    deadlines.insert(id, now + wait);
                }
                now += wait / 7;
                while let Some(id) = wheel.pop(&mut timers, Tick(now)) {
                    let due = deadlines[&id];
                    if due <= now { deadlines.remove(&id); } else { wheel.arm(&mut timers, id, Tick(due)); }
                }
                prop_assert!(!wheel.is_behind(Tick(now)));
                prop_assert!(deadlines.values().all(|&due| due + 32 > now), "an overdue timer stayed");
            }
        }
    }
}

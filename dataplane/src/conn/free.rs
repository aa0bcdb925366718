//! Free places of a slab.

use super::Entry;
use super::slab::prefetch_at;
use crate::time::wheel::Links;

/// A record whose free places form a list.
pub trait FreeLink {
    /// The next free place plus one; 0 ends the list.
    fn next_free(&self) -> u32;
    /// Sets it.
    fn set_next_free(&mut self, next: u32);
}

impl FreeLink for Entry {
    fn next_free(&self) -> u32 {
        self.links.next
    }

    fn set_next_free(&mut self, next: u32) {
        self.links = Links { next, ..Links::default() };
    }
}

/// The free places of a range: a list of those given back, and the rest of the range, which was never used.
pub struct FreeList {
    list: u32,
    fresh: u32,
    end: u32,
    /// Number of places in use.
    pub used: u32,
}

impl FreeList {
    /// Places from `from` on, all free.
    pub fn new(from: u32, count: u32) -> FreeList {
        FreeList { list: 0, fresh: from, end: from + count, used: 0 }
    }

    /// Takes a place, the one given back last if there is any.
    pub fn take<T: FreeLink>(&mut self, records: &[T]) -> Option<u32> {
        let place = match self.list {
            0 if self.fresh == self.end => return None,
            0 => {
                self.fresh += 1;
                self.fresh - 1
            }
            listed => {
                self.list = records[(listed - 1) as usize].next_free();
                // The next call takes the next place of the list.
                prefetch_at(records, self.list.wrapping_sub(1) as usize);
                listed - 1
            }
        };
        self.used += 1;
        Some(place)
    }

    /// Gives a place back.
    pub fn give<T: FreeLink>(&mut self, records: &mut [T], place: u32) {
        records[place as usize].set_next_free(self.list);
        self.list = place + 1;
        self.used -= 1;
    }
}

//! Which places of a table are free.

use super::Entry;
use super::slab::prefetch_at;
use crate::time::wheel::Links;

/// The free ids of one family: a list of those given back, and those never used.
pub struct Free {
    list: u32,
    fresh: u32,
    end: u32,
    /// How many are not.
    pub used: u32,
}

impl Free {
    /// Ids from `from` on, all free.
    pub fn new(from: u32, count: u32) -> Free {
        Free { list: 0, fresh: from, end: from + count, used: 0 }
    }

    /// Takes one.
    pub fn take(&mut self, entries: &[Entry]) -> Option<u32> {
        let id = match self.list {
            0 if self.fresh == self.end => return None,
            0 => {
                self.fresh += 1;
                self.fresh - 1
            }
            listed => {
                self.list = entries[(listed - 1) as usize].links.next;
                // The next connection takes the next place.
                prefetch_at(entries, self.list.wrapping_sub(1) as usize);
                listed - 1
            }
        };
        self.used += 1;
        Some(id)
    }

    /// Gives one back.
    pub fn give(&mut self, entries: &mut [Entry], id: u32) {
        entries[id as usize].links = Links { next: self.list, ..Links::default() };
        self.list = id + 1;
        self.used -= 1;
    }
}

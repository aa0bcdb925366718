//! What a turn gives to work that no packet asked for: to list connections, to hear what an edit brought, to end what was
//! removed. It is little when packets came, so that none waits for it, and less when they come faster than they leave.

use crate::io::BURST;

/// Looking at a place costs one part. A deed, such as copying a connection, costs so many.
const UNIT: u32 = 8;
/// Deeds in a turn that moved nothing: some two microseconds.
const IDLE_UNITS: u32 = 64;
/// Deeds in a turn that packets came in: a microsecond. What a turn spends makes it longer, so that more packets wait for the next:
/// many small parts get as much done, and keep nobody waiting.
const BUSY_UNITS: u32 = 48;
/// Deeds in a turn with a burst that was perhaps not all: it goes on under any load.
const FULL_BURST_UNITS: u32 = 4;

/// What is left of it.
#[derive(Debug)]
pub struct WorkBudget(u32);

impl WorkBudget {
    /// For those that nobody waits for.
    pub const UNLIMITED: WorkBudget = WorkBudget(u32::MAX);

    /// That of a turn which moved so many packets.
    pub fn after(moved: usize) -> WorkBudget {
        WorkBudget(match moved {
            0 => IDLE_UNITS * UNIT,
            moved if moved < BURST => BUSY_UNITS * UNIT,
            _ => FULL_BURST_UNITS * UNIT,
        })
    }

    /// Whether there is none left.
    pub fn is_exhausted(&self) -> bool {
        self.0 == 0
    }

    /// How many places can be looked at.
    pub fn remaining(&self) -> u32 {
        self.0
    }

    /// So many places were looked at.
    pub fn spend(&mut self, places: u32) {
        self.0 = self.0.saturating_sub(places);
    }

    /// Something was done that is worth so many deeds.
    pub fn spend_units(&mut self, units: u32) {
        self.spend(units * UNIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_little_of_it_and_never_nothing() {
        let units = |moved| {
            let mut budget = WorkBudget::after(moved);
            std::iter::from_fn(|| (!budget.is_exhausted()).then(|| budget.spend_units(1))).count()
        };
        assert_eq!([0, 1, BURST - 1, BURST, 2 * BURST].map(units), [64, 48, 48, 4, 4]);
    }

    #[test]
    fn looks_and_deeds_come_out_of_one_purse() {
        let mut budget = WorkBudget::after(BURST);
        assert_eq!(budget.remaining(), 32);
        budget.spend(7);
        budget.spend_units(1);
        assert_eq!(budget.remaining(), 17);
        budget.spend(100);
        assert!(budget.is_exhausted());
    }
}

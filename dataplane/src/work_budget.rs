//! The work budget: a bound on the background work of a poll iteration, such as listing connections, applying
//! configuration events and flushing connections of removed destinations. It is smaller in an iteration with packets,
//! which would otherwise wait, and smallest under full load.

use crate::io::BURST;

/// Slots per cost unit. Scanning a slot costs one slot; an action such as copying a connection costs a unit.
const SLOTS_PER_UNIT: u32 = 8;
/// Units in an iteration without packets: about 2 us.
const IDLE_UNITS: u32 = 64;
/// Units in an iteration with packets: about 1 us. A longer iteration lets more packets queue up for the next one, so
/// many small slices get the same work done with less latency.
const BUSY_UNITS: u32 = 48;
/// Units in an iteration with a full burst, when more packets may be queued: work continues under any load.
const FULL_BURST_UNITS: u32 = 4;

/// The remaining budget of an iteration.
#[derive(Debug)]
pub struct WorkBudget(u32);

impl WorkBudget {
    /// No limit, for use where no packets wait.
    pub const UNLIMITED: WorkBudget = WorkBudget(u32::MAX);

    /// The budget of an iteration that moved this many packets.
    pub fn after(moved: usize) -> WorkBudget {
        WorkBudget(match moved {
            0 => IDLE_UNITS * SLOTS_PER_UNIT,
            moved if moved < BURST => BUSY_UNITS * SLOTS_PER_UNIT,
            _ => FULL_BURST_UNITS * SLOTS_PER_UNIT,
        })
    }

    /// Whether the budget is used up.
    pub fn is_exhausted(&self) -> bool {
        self.0 == 0
    }

    /// Number of slots that can be scanned.
    pub fn remaining(&self) -> u32 {
        self.0
    }

    /// Spends the cost of scanning `slots` slots.
    pub fn spend(&mut self, slots: u32) {
        self.0 = self.0.saturating_sub(slots);
    }

    /// Spends `units` cost units.
    pub fn spend_units(&mut self, units: u32) {
        self.spend(units * SLOTS_PER_UNIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_shrinks_with_load_and_is_never_zero() {
        let units = |moved| {
            let mut budget = WorkBudget::after(moved);
            std::iter::from_fn(|| (!budget.is_exhausted()).then(|| budget.spend_units(1))).count()
        };
        assert_eq!([0, 1, BURST - 1, BURST, 2 * BURST].map(units), [64, 48, 48, 4, 4]);
    }

    #[test]
    fn slots_and_units_share_the_budget() {
        let mut budget = WorkBudget::after(BURST);
        assert_eq!(budget.remaining(), 32);
        budget.spend(7);
        budget.spend_units(1);
        assert_eq!(budget.remaining(), 17);
        budget.spend(100);
        assert!(budget.is_exhausted());
    }
}

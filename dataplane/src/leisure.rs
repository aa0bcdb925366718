//! What a turn gives to work that no packet asked for: to list connections, to hear what an edit brought, to end what was
//! removed. It is little when packets came, so that none waits for it, and less when they come faster than they leave.

use crate::io::BURST;

/// Looking at a place costs one part. A deed, such as copying a connection, costs so many.
const DEED: u32 = 8;
/// Deeds in a turn that moved nothing: some two microseconds.
const MANY: u32 = 64;
/// Deeds in a turn that packets came in: a microsecond. What a turn spends makes it longer, so that more packets wait for the next:
/// many small parts get as much done, and keep nobody waiting.
const SOME: u32 = 48;
/// Deeds in a turn with a burst that was perhaps not all: it goes on under any load.
const FEW: u32 = 4;

/// What is left of it.
#[derive(Debug)]
pub struct Leisure(u32);

impl Leisure {
    /// For those that nobody waits for.
    pub const ENDLESS: Leisure = Leisure(u32::MAX);

    /// That of a turn which moved so many packets.
    pub fn beside(moved: usize) -> Leisure {
        Leisure(match moved {
            0 => MANY * DEED,
            moved if moved < BURST => SOME * DEED,
            _ => FEW * DEED,
        })
    }

    /// Whether there is none left.
    pub fn is_over(&self) -> bool {
        self.0 == 0
    }

    /// How many places can be looked at.
    pub fn looks(&self) -> u32 {
        self.0
    }

    /// So many places were looked at.
    pub fn look(&mut self, places: u32) {
        self.0 = self.0.saturating_sub(places);
    }

    /// Something was done that is worth so many deeds.
    pub fn act(&mut self, deeds: u32) {
        self.look(deeds * DEED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_little_of_it_and_never_nothing() {
        let deeds = |moved| {
            let mut leisure = Leisure::beside(moved);
            std::iter::from_fn(|| (!leisure.is_over()).then(|| leisure.act(1))).count()
        };
        assert_eq!([0, 1, BURST - 1, BURST, 2 * BURST].map(deeds), [64, 48, 48, 4, 4]);
    }

    #[test]
    fn looks_and_deeds_come_out_of_one_purse() {
        let mut leisure = Leisure::beside(BURST);
        assert_eq!(leisure.looks(), 32);
        leisure.look(7);
        leisure.act(1);
        assert_eq!(leisure.looks(), 17);
        leisure.look(100);
        assert!(leisure.is_over());
    }
}

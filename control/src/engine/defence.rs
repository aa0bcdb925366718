//! The automatic defences: whether memory runs low, and what is then dropped; spec 7.2 and 7.3.
//!
//! IPVS looks at the machine's free pages. Here connections live in memory of their own, so what counts is how many
//! pages' worth of connection entries are free.

use crate::model::Settings;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Pages of connection memory that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pages(pub i64);

impl Pages {
    /// So many that nothing ever runs low.
    pub const PLENTY: Pages = Pages(i64::MAX);

    /// What is free of a table of so many bytes with room for `capacity` connections, `used` of them taken.
    pub fn free(table_bytes: u64, capacity: u64, used: u64) -> Pages {
        let free = u128::from(capacity.saturating_sub(used)) * u128::from(table_bytes);
        let bytes = free / u128::from(capacity.max(1));
        Pages(i64::try_from(bytes / u128::from(PAGE)).unwrap_or(i64::MAX))
    }
}

/// The three variables as an operator wrote them, or as they were rewritten: 0 off, 1 automatic and idle,
/// 2 automatic and active, 3 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Random early expiry.
    pub drop_entry: i32,
    /// One in so many new connections is dropped.
    pub drop_packet: i32,
    /// TCP's other tables.
    pub secure_tcp: i32,
}

/// What workers do about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defence {
    /// Expire connections at random.
    pub drop_entry: bool,
    /// Drop one in so many new connections; 0 drops none.
    pub drop_rate: u32,
    /// Use TCP's other tables.
    pub secure_tcp: bool,
}

impl Modes {
    /// Those of the settings.
    pub fn of(settings: &Settings) -> Modes {
        Modes {
            drop_entry: settings.drop_entry,
            drop_packet: settings.drop_packet,
            secure_tcp: settings.secure_tcp,
        }
    }

    /// Writes them back.
    pub fn write(self, settings: &mut Settings) {
        settings.drop_entry = self.drop_entry;
        settings.drop_packet = self.drop_packet;
        settings.secure_tcp = self.secure_tcp;
    }
}

/// Where the modes go, and what follows from them; evaluated once a second and at every change of the settings.
pub fn evaluate(modes: Modes, available: Pages, amemthresh: i32, am_droprate: i32) -> (Modes, Defence) {
    let threshold = i64::from(amemthresh.max(0));
    let low = available.0 < threshold;
    let next = Modes {
        drop_entry: automatic(modes.drop_entry, low),
        drop_packet: automatic(modes.drop_packet, low),
        secure_tcp: automatic(modes.secure_tcp, low),
    };
    let drop_rate = match next.drop_packet {
        // Low means that the difference is 1 at least.
        2 => u32::try_from(threshold / (threshold - available.0).max(1)).unwrap_or(u32::MAX),
        // A counter that starts below zero is over at once: every packet is dropped.
        3 if am_droprate < 0 => 1,
        3 => am_droprate.unsigned_abs(),
        _ => 0,
    };
    let on = |mode: i32| mode > 1;
    (next, Defence { drop_entry: on(next.drop_entry), drop_rate, secure_tcp: on(next.secure_tcp) })
}

/// The automatic modes follow the memory; the others stay.
fn automatic(mode: i32, low: bool) -> i32 {
    match mode {
        1 | 2 if low => 2,
        1 | 2 => 1,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sentence: &str, mode: i32, available: i64, expected: (i32, bool, u32, bool)) {
        let modes = Modes { drop_entry: mode, drop_packet: mode, secure_tcp: mode };
        let (next, defence) = evaluate(modes, Pages(available), 1024, 10);
        let (mode, entry, rate, secure) = expected;
        assert_eq!(next, Modes { drop_entry: mode, drop_packet: mode, secure_tcp: mode }, "{sentence}");
        let expected = Defence { drop_entry: entry, drop_rate: rate, secure_tcp: secure };
        assert_eq!(defence, expected, "{sentence}");
    }

    #[test]
    fn modes_follow_the_memory() {
        row("off stays off", 0, 0, (0, false, 0, false));
        row("automatic and idle", 1, 1024, (1, false, 0, false));
        row("automatic begins below the threshold", 1, 1023, (2, true, 1024, true));
        row("half the pages gone drops every other packet", 2, 512, (2, true, 2, true));
        row("nothing left drops every packet", 2, 0, (2, true, 1, true));
        row("automatic ends when there is enough again", 2, 1024, (1, false, 0, false));
        row("what is written as active is idle at once", 2, i64::MAX, (1, false, 0, false));
        row("on is on with the rate that was set", 3, i64::MAX, (3, true, 10, true));
        row("on is on with that rate when memory is low, too", 3, 0, (3, true, 10, true));
    }

    #[test]
    fn each_variable_goes_its_own_way() {
        let modes = Modes { drop_entry: 0, drop_packet: 3, secure_tcp: 1 };
        let (next, defence) = evaluate(modes, Pages(5), 10, 0);
        assert_eq!(next, Modes { secure_tcp: 2, ..modes });
        assert_eq!(defence, Defence { drop_entry: false, drop_rate: 0, secure_tcp: true });
        let drop = |rate| evaluate(modes, Pages::PLENTY, 1024, rate).1.drop_rate;
        assert_eq!((drop(1), drop(7), drop(-7), drop(i32::MIN)), (1, 7, 1, 1));
    }

    #[test]
    fn a_negative_threshold_is_none() {
        let modes = Modes { drop_packet: 2, ..Modes::default() };
        assert_eq!(evaluate(modes, Pages(0), -5, 10).0.drop_packet, 1);
        assert_eq!(evaluate(modes, Pages(0), i32::MAX, 10).1.drop_rate, 1);
    }

    #[test]
    fn pages_are_what_is_free_of_the_table() {
        assert_eq!(Pages::free(1 << 20, 1024, 0), Pages(256));
        assert_eq!(Pages::free(1 << 20, 1024, 1000), Pages(6));
        assert_eq!(Pages::free(1 << 20, 1024, 2000), Pages(0));
        assert_eq!(Pages::free(0, 0, 0), Pages(0));
        assert!(Pages::free(u64::MAX, u64::MAX, 0) > Pages(0));
    }
}

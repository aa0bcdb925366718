//! The automatic defences, active while free memory is low; spec 7.2 and 7.3.
//!
//! IPVS uses the free memory of the machine. Connection tables are preallocated here, so their free part counts
//! instead.

use crate::model::Settings;

/// Page size in bytes.
const PAGE: u64 = 4096;

/// Free connection memory, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pages(pub i64);

impl Pages {
    /// Never low.
    pub const PLENTY: Pages = Pages(i64::MAX);

    /// Returns the free part of a table of `table_bytes` bytes and `capacity` entries, of which `used` are in use.
    pub fn free(table_bytes: u64, capacity: u64, used: u64) -> Pages {
        let free = u128::from(capacity.saturating_sub(used)) * u128::from(table_bytes);
        let bytes = free / u128::from(capacity.max(1));
        Pages(i64::try_from(bytes / u128::from(PAGE)).unwrap_or(i64::MAX))
    }
}

/// Modes of the three defences: 0 off, 1 automatic (inactive), 2 automatic (active), 3 always on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// Random early expiry of connections.
    pub drop_entry: i32,
    /// Random drop of new connections.
    pub drop_packet: i32,
    /// The secure TCP state table.
    pub secure_tcp: i32,
}

/// Defences that workers carry out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defence {
    /// Expire connections at random.
    pub drop_entry: bool,
    /// Drop one of this many new connections; 0 drops none.
    pub drop_rate: u32,
    /// Use the secure TCP state table.
    pub secure_tcp: bool,
}

impl Modes {
    /// Reads the modes from settings.
    pub fn of(settings: &Settings) -> Modes {
        Modes {
            drop_entry: settings.drop_entry,
            drop_packet: settings.drop_packet,
            secure_tcp: settings.secure_tcp,
        }
    }

    /// Writes the modes back to settings.
    pub fn write(self, settings: &mut Settings) {
        settings.drop_entry = self.drop_entry;
        settings.drop_packet = self.drop_packet;
        settings.secure_tcp = self.secure_tcp;
    }
}

/// Returns the new modes and the resulting defences. Called once a second, and at every change of the settings.
pub fn evaluate(modes: Modes, free_memory: Pages, amemthresh: i32, am_droprate: i32) -> (Modes, Defence) {
    let threshold = i64::from(amemthresh.max(0));
    let low = free_memory.0 < threshold;
    let next = Modes {
        drop_entry: automatic(modes.drop_entry, low),
        drop_packet: automatic(modes.drop_packet, low),
        secure_tcp: automatic(modes.secure_tcp, low),
    };
    let drop_rate = match next.drop_packet {
        // Memory is low, so the difference is at least 1.
        2 => u32::try_from(threshold / (threshold - free_memory.0).max(1)).unwrap_or(u32::MAX),
        // As in IPVS, a negative rate drops every packet.
        3 if am_droprate < 0 => 1,
        3 => am_droprate.unsigned_abs(),
        _ => 0,
    };
    let on = |mode: i32| mode > 1;
    (next, Defence { drop_entry: on(next.drop_entry), drop_rate, secure_tcp: on(next.secure_tcp) })
}

/// Returns the new value of an automatic mode; other modes do not change.
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

    fn row(sentence: &str, mode: i32, free_memory: i64, expected: (i32, bool, u32, bool)) {
        let modes = Modes { drop_entry: mode, drop_packet: mode, secure_tcp: mode };
        let (next, defence) = evaluate(modes, Pages(free_memory), 1024, 10);
        let (mode, entry, rate, secure) = expected;
        assert_eq!(next, Modes { drop_entry: mode, drop_packet: mode, secure_tcp: mode }, "{sentence}");
        let expected = Defence { drop_entry: entry, drop_rate: rate, secure_tcp: secure };
        assert_eq!(defence, expected, "{sentence}");
    }

    #[test]
    fn automatic_modes_follow_free_memory() {
        row("off stays off", 0, 0, (0, false, 0, false));
        row("automatic and inactive", 1, 1024, (1, false, 0, false));
        row("automatic begins below the threshold", 1, 1023, (2, true, 1024, true));
        row("half the pages gone drops every other packet", 2, 512, (2, true, 2, true));
        row("nothing left drops every packet", 2, 0, (2, true, 1, true));
        row("automatic ends when there is enough again", 2, 1024, (1, false, 0, false));
        row("2 becomes 1 when memory is not low", 2, i64::MAX, (1, false, 0, false));
        row("on uses the configured rate", 3, i64::MAX, (3, true, 10, true));
        row("on uses the configured rate also when memory is low", 3, 0, (3, true, 10, true));
    }

    #[test]
    fn defences_are_independent() {
        let modes = Modes { drop_entry: 0, drop_packet: 3, secure_tcp: 1 };
        let (next, defence) = evaluate(modes, Pages(5), 10, 0);
        assert_eq!(next, Modes { secure_tcp: 2, ..modes });
        assert_eq!(defence, Defence { drop_entry: false, drop_rate: 0, secure_tcp: true });
        let drop = |rate| evaluate(modes, Pages::PLENTY, 1024, rate).1.drop_rate;
        assert_eq!((drop(1), drop(7), drop(-7), drop(i32::MIN)), (1, 7, 1, 1));
    }

    #[test]
    fn a_negative_threshold_never_activates() {
        let modes = Modes { drop_packet: 2, ..Modes::default() };
        assert_eq!(evaluate(modes, Pages(0), -5, 10).0.drop_packet, 1);
        assert_eq!(evaluate(modes, Pages(0), i32::MAX, 10).1.drop_rate, 1);
    }

    #[test]
    fn free_pages_are_the_free_part_of_the_table() {
        assert_eq!(Pages::free(1 << 20, 1024, 0), Pages(256));
        assert_eq!(Pages::free(1 << 20, 1024, 1000), Pages(6));
        assert_eq!(Pages::free(1 << 20, 1024, 2000), Pages(0));
        assert_eq!(Pages::free(0, 0, 0), Pages(0));
        assert!(Pages::free(u64::MAX, u64::MAX, 0) > Pages(0));
    }
}

//! Defences against floods: `drop_packet` drops a share of the packets that would open connections, `drop_entry` removes
//! connections early that probably belong to a flood; spec 4.10 and 7.3.

use crate::conn::template::{Candidate, Share};
use crate::conn::{Entry, Flags};
use crate::flow::Key;
use crate::pipeline::Pipeline;
use crate::proto::{is_half_open, sctp, tcp};
use crate::time::{Millis, Tick};
use crate::trace::{Record, event};
use crate::wire::protocol;

/// Interval of `drop_entry`, and the share of the table that each sweep visits.
const EVERY: Millis = Millis::from_secs(1);
const SHARE: u32 = 32;
/// Connections with a packet within this time are spared.
const FRESH: Millis = Millis::from_secs(60);
/// Connections with more packets than this are spared.
const MANY_PACKETS: u32 = 8;
/// Entries visited in one poll iteration, so that no burst waits for a whole sweep.
const AT_ONCE: u32 = 512;

/// State of the defences.
#[derive(Debug, Default)]
pub struct Defence {
    /// Packets until the next one is dropped.
    until_drop: u32,
    /// Countdown for each packet count: of connections with `n` packets, one in `n` is expired.
    spared: [i32; MANY_PACKETS as usize + 1],
    /// When the next sweep is due.
    due: Tick,
    /// Position of the current sweep, and how many entries it has left.
    at: u32,
    left: u32,
    /// Pseudo-random state that outsiders cannot guess; it advances with every sweep.
    random: u64,
}

impl Defence {
    /// Returns whether this packet is the one in `rate` that is dropped.
    fn drops(&mut self, rate: u32) -> bool {
        if rate == 0 {
            return false;
        }
        self.until_drop = self.until_drop.saturating_sub(1);
        if self.until_drop > 0 {
            return false;
        }
        self.until_drop = rate;
        true
    }

    /// Returns whether a connection with this many packets, the last one `age` ago, is to be expired.
    fn picks(&mut self, in_packets: u32, age: Millis) -> bool {
        if age < FRESH || in_packets == 0 || in_packets > MANY_PACKETS {
            return false;
        }
        let counter = &mut self.spared[in_packets as usize];
        *counter -= 1;
        if *counter > 0 {
            return false;
        }
        *counter = in_packets as i32;
        true
    }

    /// Returns whether a sweep is in progress.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.left > 0
    }

    fn begin(&mut self, entries: u32, seed: u64, now: Tick) {
        self.random = (self.random ^ seed).wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(now.0 | 1);
        self.at = ((self.random >> 32).wrapping_mul(u64::from(entries)) >> 32) as u32;
        self.left = entries.div_ceil(SHARE);
    }
}

impl Pipeline {
    /// Returns whether `drop_packet` drops this packet, which would open a connection.
    pub(crate) fn drops_at_random(&mut self, key: &Key) -> bool {
        let rate = self.snapshot.settings.drop_rate;
        let drops = self.maintenance.defence.drops(rate);
        if drops {
            event!(self, DroppedPacket, |_| Record::of(key, [rate, 0, 0, 0]));
        }
        drops
    }

    /// `drop_entry`: sweeps a share of the table once a second.
    pub(crate) fn expire_early(&mut self, now: Tick) {
        if !self.snapshot.settings.drop_entry {
            return;
        }
        let entries = self.conns.capacity();
        if self.maintenance.defence.left == 0 {
            if now < self.maintenance.defence.due {
                return;
            }
            self.maintenance.defence.due = now.after(EVERY);
            self.maintenance.defence.begin(entries, self.steering.seed.0, now);
            self.expire_templates_early(now);
        }
        let count = self.maintenance.defence.left.min(AT_ONCE);
        self.maintenance.defence.left -= count;
        for _ in 0..count {
            self.maintenance.defence.at =
                if self.maintenance.defence.at + 1 < entries { self.maintenance.defence.at + 1 } else { 0 };
            let id = crate::conn::ConnId(self.maintenance.defence.at);
            let entry = self.conns.entry(id);
            if !entry.flags.has(Flags::LIVE) || !self.goes_early(&entry.clone(), now) {
                continue;
            }
            event!(self, DroppedEntry, |pipeline| pipeline.connection_record(id));
            self.remove_connection(id, true);
            self.stats.counters.expired_early.add(1);
        }
    }

    fn goes_early(&mut self, entry: &Entry, now: Tick) -> bool {
        let age = Millis((now.0 as u32).wrapping_sub(entry.seen));
        if is_half_open(entry.protocol, entry.state) {
            return true;
        }
        let established = match entry.protocol {
            protocol::TCP => entry.state == tcp::State::Established as u8,
            protocol::SCTP => entry.state == sctp::State::Established as u8,
            _ => return self.maintenance.defence.picks(entry.in_packets, age),
        };
        // Established connections are spared while there are half-open ones to expire.
        established
            && self.maintenance.half_open == 0
            && self.maintenance.defence.picks(entry.in_packets, age)
    }

    fn expire_templates_early(&mut self, now: Tick) {
        let (defence, shared) = (&mut self.maintenance.defence, &self.shared);
        let judge = |template: Candidate| match template.ops {
            true => defence.picks(template.in_packets, template.age),
            false => !template.assured,
        };
        let on_remove = |id| shared.quotas.count_template(id, false);
        let share = Share { worker: self.worker_id.0, workers: self.steering.workers };
        shared.templates.thin_out(share, now, judge, on_remove);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_packet_in_rate_is_dropped() {
        let mut defence = Defence::default();
        let dropped: Vec<bool> = (0..7).map(|_| defence.drops(3)).collect();
        assert_eq!(dropped, [true, false, false, true, false, false, true]);
        assert!(!defence.drops(0));
    }

    #[test]
    fn fresh_silent_and_busy_connections_are_spared() {
        let mut defence = Defence::default();
        let old = Millis::from_secs(61);
        assert!(!defence.picks(1, Millis::from_secs(59)));
        assert!(!defence.picks(0, old));
        assert!(!defence.picks(9, old));
        let picked: Vec<bool> = (0..5).map(|_| defence.picks(2, old)).collect();
        assert_eq!(picked, [true, false, true, false, true]);
    }
}

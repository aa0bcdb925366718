//! The generator's script: which packets arrive at which port and when, and measurements of those that leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pollux_dataplane::io::{BURST, Batch};

use super::buffer::{Buffer, Notification, Pool};
use super::histogram::Histogram;
use super::packet_builder::PacketBuilder;
use crate::random::Random;

/// Order of a source's flows.
pub enum Flows {
    /// These flows in a loop.
    Listed(Arc<[u32]>),
    /// Consecutive flows; after `count` of them it starts again.
    Fresh {
        /// First flow.
        first: u32,
        /// Number of flows.
        span: u32,
    },
    /// Random flows of a range.
    Chance {
        /// First flow.
        first: u32,
        /// Number of flows.
        span: u32,
        /// Random number generator.
        random: Random,
    },
}

/// A source of packets of one kind, on cache lines of its own.
#[repr(align(128))]
pub struct Source {
    /// Builds the packets.
    pub builder: PacketBuilder,
    /// Flows.
    pub flows: Flows,
    /// Packets left to send.
    pub left: u64,
    /// It starts when the first source has sent this many packets.
    pub after: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets that left the balancer.
    pub passed: u64,
    /// Position among the flows.
    at: u32,
}

impl Source {
    /// A source that never ends.
    pub fn new(builder: PacketBuilder, flows: Flows) -> Source {
        Source { builder, flows, left: u64::MAX, after: 0, sent: 0, passed: 0, at: 0 }
    }

    /// Ends the source after a number of packets.
    pub fn times(self, left: u64) -> Source {
        Source { left, ..self }
    }

    /// Delays the source until the first one has sent a number of packets.
    pub fn after(self, after: u64) -> Source {
        Source { after, ..self }
    }

    #[inline]
    fn next(&mut self) -> u32 {
        let at = self.at;
        let (flow, count) = match &mut self.flows {
            Flows::Listed(order) => (order[at as usize], order.len() as u32),
            Flows::Fresh { first, span } => (*first + at, *span),
            Flows::Chance { first, span, random } => (*first + random.below(*span), *span),
        };
        self.at = if at + 1 < count { at + 1 } else { 0 };
        flow
    }
}

/// When packets are due.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Whenever a port is polled.
    Full,
    /// One packet per interval (in picoseconds) at each port, whatever happened to earlier ones.
    Every(u64),
}

/// A script.
pub struct Script {
    /// Sources by port number; those of a port alternate.
    pub sides: [Vec<Source>; 2],
    /// When packets are due.
    pub pace: Pace,
    /// Delays from due to sent.
    pub delays: Option<Box<Histogram>>,
    /// Counts packets of the first source, for a clock driven by them.
    pub opened: Option<Arc<AtomicU64>>,
    began: Option<Instant>,
    /// Packets due so far at each port.
    due: [u64; 2],
}

impl Script {
    /// A script at full speed.
    pub fn new(clients: Vec<Source>, servers: Vec<Source>) -> Script {
        Script {
            sides: [clients, servers],
            pace: Pace::Full,
            delays: None,
            opened: None,
            began: None,
            due: [0; 2],
        }
    }

    /// Packets generated and packets that left, of all sources.
    pub fn counts(&self) -> (u64, u64) {
        self.sides
            .iter()
            .flatten()
            .fold((0, 0), |(sent, passed), source| (sent + source.sent, passed + source.passed))
    }

    /// Returns whether all sources have ended.
    pub fn is_over(&self) -> bool {
        self.sides.iter().flatten().all(|source| source.left == 0)
    }

    fn nanos(&mut self) -> u64 {
        let began = *self.began.get_or_insert_with(Instant::now);
        began.elapsed().as_nanos() as u64
    }

    /// Gives a port its next packets.
    pub fn receive(&mut self, side: usize, batch: &mut Batch<Buffer>, pool: &mut Pool) {
        let first = self.sides[0].first().map_or(0, |source| source.sent);
        let timed = self.delays.is_some() || matches!(self.pace, Pace::Every(_));
        let now = if timed { self.nanos() } else { 0 };
        let Script { sides, pace, due, opened, .. } = self;
        let sources = &mut sides[side];
        if sources.is_empty() {
            return;
        }
        let mut number = sources.len() - 1;
        for _ in batch.len()..BURST {
            number = if number + 1 < sources.len() { number + 1 } else { 0 };
            let source = &mut sources[number];
            if source.left == 0 || first < source.after {
                continue;
            }
            let mut note = Notification { due: now, source: (side * 16 + number) as u8 };
            if let Pace::Every(picos) = *pace {
                note.due = due[side] * picos / 1000;
                if note.due > now {
                    break;
                }
                due[side] += 1;
            }
            let mut buffer = pool.take();
            let flow = source.next();
            source.builder.write(&mut buffer, flow, note);
            source.sent += 1;
            source.left -= 1;
            batch.push(buffer);
        }
        if let Some(opened) = opened {
            opened.store(self.sides[0].first().map_or(0, |source| source.sent), Relaxed);
        }
    }

    /// Accepts packets that leave by a port.
    pub fn transmit(&mut self, batch: &mut Batch<Buffer>, pool: &mut Pool) {
        let now = if self.delays.is_some() { self.nanos() } else { 0 };
        for buffer in batch.drain(..) {
            let Notification { due, source } = buffer.note();
            let (side, number) = (usize::from(source / 16), usize::from(source % 16));
            if let Some(source) = self.sides.get_mut(side).and_then(|sources| sources.get_mut(number)) {
                source.passed += 1;
            }
            if let Some(delays) = &mut self.delays {
                delays.add(now.saturating_sub(due));
            }
            pool.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inside::packet_builder::Kind;
    use crate::kinds::Family;

    fn source(flows: Flows) -> Source {
        Source::new(PacketBuilder::new(Family::Ipv4, Kind::Request), flows)
    }

    #[test]
    fn what_came_in_is_counted_when_it_leaves() {
        let (mut pool, mut batch) = (Pool::new(), Batch::new());
        let listed = source(Flows::Listed([1, 2, 3].into()));
        let fresh = source(Flows::Fresh { first: 100, span: 1000 });
        let mut script = Script::new(vec![listed, fresh], vec![]);
        script.receive(0, &mut batch, &mut pool);
        batch.truncate(3);
        script.transmit(&mut batch, &mut pool);
        let counted = |number: usize| (script.sides[0][number].sent, script.sides[0][number].passed);
        assert_eq!((counted(0), counted(1), script.counts()), ((32, 2), (32, 1), (64, 3)));
    }

    #[test]
    fn an_open_loop_schedule_does_not_wait() {
        let (mut pool, mut batch) = (Pool::new(), Batch::new());
        let mut script = Script::new(vec![source(Flows::Fresh { first: 0, span: 10 })], vec![]);
        script.pace = Pace::Every(10_000_000_000);
        script.delays = Some(Box::default());
        script.receive(0, &mut batch, &mut pool);
        assert_eq!(batch.len(), 1, "the first is due at once, the second in ten milliseconds");
        std::thread::sleep(std::time::Duration::from_millis(35));
        script.receive(0, &mut batch, &mut pool);
        assert!(batch.len() >= 4, "those in between are late, not left out");
        script.transmit(&mut batch, &mut pool);
        let delays = script.delays.unwrap();
        assert!(delays.most() >= 35_000_000, "{}", delays.most());
    }
}

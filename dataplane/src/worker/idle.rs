//! What a worker does after turns that moved nothing. None of this is on a packet's way.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Worker;
use crate::io::QueuePair;
use crate::rest::{Rest, Rule, Step};
use crate::time::Clock;

/// Ports whose bells are listened to; DPDK has room for 32. With more, the others are looked at after each nap.
const MOST_BELLS: usize = 32;
/// Hints in one pause: about a microsecond.
const HINTS: u32 = 32;

/// How far the worker has come to rest.
pub(super) struct Idle {
    rest: Rest,
    /// Bursts there were when the worker last found nothing: if there are more by now, it begins anew.
    bursts: u64,
    /// Whether devices were told to ring.
    armed: bool,
}

impl Idle {
    pub(super) fn new(rule: Rule) -> Idle {
        Idle { rest: Rest::new(rule), bursts: 0, armed: false }
    }
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Rests after a turn that moved nothing, if it is time to.
    #[cold]
    #[inline(never)]
    pub(super) fn rest(&mut self) {
        let gauges = &self.home.line.board.gauges;
        let bursts = gauges.bursts.get();
        if bursts != self.idle.bursts {
            self.idle.bursts = bursts;
            self.stir();
        }
        match self.idle.rest.step() {
            Step::Turn => {}
            Step::Pause => {
                (0..HINTS).for_each(|_| std::hint::spin_loop());
                self.home.line.board.gauges.pauses.add(1);
            }
            Step::Nap(span) => self.nap(span),
        }
    }

    /// Naps, unless work is left that a turn does only a part of.
    fn nap(&mut self, span: Duration) {
        let now = self.clock.now();
        let mut guests = self.guests.iter().flatten();
        if self.home.is_behind(now) || guests.any(|guest| guest.is_behind(now)) {
            return;
        }
        if self.idle.rest.listens() && !self.idle.armed {
            self.ports.iter_mut().for_each(|port| port.queues.arm());
            self.idle.armed = true;
            // What came just before is found by the turn that follows.
            return;
        }
        let began = Instant::now();
        let woken = self.wait(span);
        let gauges = &self.home.line.board.gauges;
        gauges.naps.add(1);
        gauges.napped_us.add(began.elapsed().as_micros() as u64);
        gauges.woken.add(woken.into());
        if woken || self.is_asked() {
            self.stir();
        }
    }

    /// Waits; tells whether a bell rang. A signal ends it, too.
    fn wait(&self, span: Duration) -> bool {
        let ports = self.ports.iter().filter(|_| self.idle.armed);
        let bells =
            ports.filter_map(|port| Some(PollFd::from_borrowed_fd(port.queues.bell()?, PollFlags::IN)));
        let mut bells: ArrayVec<_, MOST_BELLS> = bells.take(MOST_BELLS).collect();
        let limit = Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos().into() };
        poll(&mut bells, Some(&limit)).is_ok_and(|rang| rang > 0)
    }

    /// Whether control asks something: more may follow, and it waits for the answers.
    fn is_asked(&self) -> bool {
        let guests = self.guests.iter().flatten().map(|guest| &guest.line);
        let mut lines = std::iter::once(&self.home.line).chain(guests);
        !self.moves.orders.is_empty() || lines.any(|line| !line.rings.commands.is_empty())
    }

    /// Back to full speed.
    fn stir(&mut self) {
        self.idle.rest.reset();
        if std::mem::take(&mut self.idle.armed) {
            self.ports.iter_mut().for_each(|port| port.queues.disarm());
        }
    }
}

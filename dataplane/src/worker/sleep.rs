//! What a worker does after turns that moved nothing. None of this is on a packet's way.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Worker;
use crate::io::QueuePair;
use crate::time::Clock;
use crate::worker::idle::{IdleConfig, IdlePolicy, Step};

/// Ports whose bells are listened to; DPDK has room for 32. With more, the others are looked at after each nap.
const MAX_RX_INTERRUPTS: usize = 32;
/// Hints in one pause: about a microsecond.
const HINTS: u32 = 32;

/// How far the worker has come to rest.
pub(super) struct Idle {
    idle_policy: IdlePolicy,
    /// Bursts there were when the worker last found nothing: if there are more by now, it begins anew.
    bursts: u64,
    /// Whether devices were told to ring.
    armed: bool,
}

impl Idle {
    pub(super) fn new(config: IdleConfig) -> Idle {
        Idle { idle_policy: IdlePolicy::new(config), bursts: 0, armed: false }
    }
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Rests after a turn that moved nothing, if it is time to.
    #[cold]
    #[inline(never)]
    pub(super) fn idle_policy(&mut self) {
        let counters = &self.default_namespace.pipeline.stats.counters;
        let bursts = counters.bursts.get();
        if bursts != self.idle.bursts {
            self.idle.bursts = bursts;
            self.wake_up();
        }
        match self.idle.idle_policy.step() {
            Step::Poll => {}
            Step::Pause => {
                (0..HINTS).for_each(|_| std::hint::spin_loop());
                self.default_namespace.pipeline.stats.counters.idle_pauses.add(1);
            }
            Step::Sleep(span) => self.sleep(span),
        }
    }

    /// Naps, unless work is left that a turn does only a part of.
    fn sleep(&mut self, span: Duration) {
        let now = self.clock.now();
        let mut namespaces = self.namespaces.iter().flatten();
        if self.default_namespace.is_behind(now) || namespaces.any(|namespace| namespace.is_behind(now)) {
            return;
        }
        if self.idle.idle_policy.uses_interrupts() && !self.idle.armed {
            self.ports.iter_mut().for_each(|port| port.queues.arm());
            self.idle.armed = true;
            // What came just before is found by the turn that follows.
            return;
        }
        let began = Instant::now();
        let woken = self.wait(span);
        let counters = &self.default_namespace.pipeline.stats.counters;
        counters.sleeps.add(1);
        counters.sleep_us.add(began.elapsed().as_micros() as u64);
        counters.interrupt_wakeups.add(woken.into());
        if woken || self.has_commands() {
            self.wake_up();
        }
    }

    /// Waits; tells whether a bell rang. A signal ends it, too.
    fn wait(&self, span: Duration) -> bool {
        let ports = self.ports.iter().filter(|_| self.idle.armed);
        let rx_interrupts = ports
            .filter_map(|port| Some(PollFd::from_borrowed_fd(port.queues.rx_interrupt()?, PollFlags::IN)));
        let mut rx_interrupts: ArrayVec<_, MAX_RX_INTERRUPTS> =
            rx_interrupts.take(MAX_RX_INTERRUPTS).collect();
        let limit = Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos().into() };
        poll(&mut rx_interrupts, Some(&limit)).is_ok_and(|rang| rang > 0)
    }

    /// Whether control asks something: more may follow, and it waits for the answers.
    fn has_commands(&self) -> bool {
        let namespaces = self.namespaces.iter().flatten().map(|namespace| &namespace.pipeline);
        let mut lines = std::iter::once(&self.default_namespace.pipeline).chain(namespaces);
        !self.namespace_rings.commands.is_empty() || lines.any(|pipeline| !pipeline.rings.commands.is_empty())
    }

    /// Back to full speed.
    fn wake_up(&mut self) {
        self.idle.idle_policy.reset();
        if std::mem::take(&mut self.idle.armed) {
            self.ports.iter_mut().for_each(|port| port.queues.disarm());
        }
    }
}

//! Pausing and sleeping after poll iterations without packets, as the idle policy decides. None of this is on the
//! packet path.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Worker;
use super::namespace::NamespaceWorker;
use crate::io::QueuePair;
use crate::time::Clock;
use crate::worker::idle::{IdleConfig, IdlePolicy, Step};

/// Ports whose interrupts can end a sleep. DPDK supports 32 per thread; further ports are polled after each sleep.
const MAX_RX_INTERRUPTS: usize = 32;
/// Spin-loop hints in one pause, which takes about a microsecond.
const PAUSE_HINTS: u32 = 32;

/// The worker's idle state.
pub(super) struct Idle {
    policy: IdlePolicy,
    /// The counter `bursts` after the last empty iteration. If it has changed, packets came in between.
    bursts: u64,
    /// Whether receive interrupts are enabled.
    armed: bool,
}

impl Idle {
    pub(super) fn new(config: IdleConfig) -> Idle {
        Idle { policy: IdlePolicy::new(config), bursts: 0, armed: false }
    }
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Idles after an iteration without packets, as the policy decides.
    #[cold]
    #[inline(never)]
    pub(super) fn idle(&mut self) {
        let counters = &self.default_namespace.pipeline.stats.counters;
        let bursts = counters.bursts.get();
        if bursts != self.idle.bursts {
            self.idle.bursts = bursts;
            self.wake_up();
        }
        match self.idle.policy.step() {
            Step::Poll => {}
            Step::Pause => {
                (0..PAUSE_HINTS).for_each(|_| std::hint::spin_loop());
                self.default_namespace.pipeline.stats.counters.idle_pauses.add(1);
            }
            Step::Sleep(span) => self.sleep(span),
        }
    }

    /// Sleeps, unless background work is left.
    fn sleep(&mut self, span: Duration) {
        let now = self.clock.now();
        if self.every_namespace().any(|namespace| namespace.is_behind(now)) {
            return;
        }
        if self.idle.policy.uses_interrupts() && !self.idle.armed {
            self.ports.iter_mut().for_each(|port| port.queues.arm());
            self.idle.armed = true;
            // Frames that arrived before arming raise no interrupt, so the ports are polled once more.
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

    /// Waits, and returns whether an interrupt ended the wait. A signal ends it, too.
    fn wait(&self, span: Duration) -> bool {
        let ports = self.ports.iter().filter(|_| self.idle.armed);
        let rx_interrupts = ports
            .filter_map(|port| Some(PollFd::from_borrowed_fd(port.queues.rx_interrupt()?, PollFlags::IN)));
        let mut rx_interrupts: ArrayVec<_, MAX_RX_INTERRUPTS> =
            rx_interrupts.take(MAX_RX_INTERRUPTS).collect();
        let limit = Timespec { tv_sec: span.as_secs() as i64, tv_nsec: span.subsec_nanos().into() };
        poll(&mut rx_interrupts, Some(&limit)).is_ok_and(|ready| ready > 0)
    }

    fn every_namespace(&self) -> impl Iterator<Item = &NamespaceWorker<Q::Packet>> {
        std::iter::once(&self.default_namespace).chain(self.namespaces.iter().flatten().map(Box::as_ref))
    }

    /// Whether commands wait. Control waits for the replies and often sends more.
    fn has_commands(&self) -> bool {
        !self.namespace_rings.commands.is_empty()
            || self.every_namespace().any(|namespace| !namespace.pipeline.rings.commands.is_empty())
    }

    /// Returns to polling at full speed.
    fn wake_up(&mut self) {
        self.idle.policy.reset();
        if std::mem::take(&mut self.idle.armed) {
            self.ports.iter_mut().for_each(|port| port.queues.disarm());
        }
    }
}

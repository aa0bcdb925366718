//! The thread that carries: bursts while there is work, short sleeps while there is none.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use pollux_dataplane::packet::Packet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{ExceptionCounters, Injector, ToKernel, WayCounters};
use crate::kernel::tap::TapDevice;

/// Frames carried in one direction before the other gets its turn.
const BURST: usize = 64;
/// More than any TAP frame: the largest MTU is 65,521.
const LARGEST_FRAME: usize = 64 << 10;
/// A frame from the kernel wakes us at once; one on the ring waits for the end of the sleep, since its worker cannot
/// ring a bell without a system call. So the first sleep after work is short, in case an answer follows...
const SHORTEST_SLEEP: Duration = Duration::from_micros(50);
/// ...and each further sleep doubles: a frame waits at most about as long as there was silence before it, and never
/// longer than this. On a virtual machine one round costs some 25 microseconds, which makes 2 to 3 % of a core.
const LONGEST_SLEEP: Duration = Duration::from_millis(1);

pub(super) struct Carrier<P, I> {
    twins: Vec<Option<TapDevice>>,
    ring: Arc<ToKernel<P>>,
    injector: I,
    counters: Arc<ExceptionCounters>,
    buffer: Vec<u8>,
}

impl<P: Packet, I: Injector> Carrier<P, I> {
    pub(super) fn new(
        twins: Vec<Option<TapDevice>>,
        ring: Arc<ToKernel<P>>,
        injector: I,
        counters: Arc<ExceptionCounters>,
    ) -> Self {
        Carrier { twins, ring, injector, counters, buffer: vec![0; LARGEST_FRAME] }
    }

    pub(super) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Relaxed) {
            if self.carry() {
                continue;
            }
            let mut sleep = SHORTEST_SLEEP;
            while !stop.load(Relaxed) && !self.awaited(sleep) {
                sleep = (sleep * 2).min(LONGEST_SLEEP);
            }
        }
    }

    /// A burst from everywhere. True if there was anything.
    fn carry(&mut self) -> bool {
        let mut busy = self.deliver();
        for port in 0..self.twins.len() {
            busy |= self.collect(port);
        }
        busy
    }

    /// Empties the ring into the twins, a burst at most. True if there was anything.
    fn deliver(&mut self) -> bool {
        for turn in 0..BURST {
            let Some((port, packet)) = self.ring.pop() else { return turn > 0 };
            let frame = packet.bytes();
            let twin = self.twins.get(port).and_then(Option::as_ref);
            let delivered = twin.is_some_and(|twin| twin.write(frame).is_ok());
            self.counters.to_kernel.count(frame.len(), delivered);
        }
        true
    }

    /// Takes what the kernel sent to one twin, a burst at most. True if there was anything.
    fn collect(&mut self, port: usize) -> bool {
        for turn in 0..BURST {
            let Some(twin) = &self.twins[port] else { return false };
            let len = match twin.read(&mut self.buffer) {
                Ok(len) => len,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return turn > 0;
                }
                Err(_) => {
                    // Somebody deleted the interface. Polling it on would keep us awake for ever.
                    self.twins[port] = None;
                    self.counters.twins_lost.fetch_add(1, Relaxed);
                    return false;
                }
            };
            let delivered = self.injector.inject(port, &self.buffer[..len]);
            self.counters.from_kernel.count(len, delivered);
        }
        true
    }

    /// Sleeps. True if there is something to carry now, so that an idle round costs one system call.
    fn awaited(&self, sleep: Duration) -> bool {
        let mut fds: Vec<PollFd<'_>> =
            self.twins.iter().flatten().map(|twin| PollFd::new(twin, PollFlags::IN)).collect();
        let limit = Timespec { tv_sec: 0, tv_nsec: sleep.subsec_nanos().into() };
        // An interrupted sleep counts as work: to look once too often does no harm.
        !matches!(poll(&mut fds, Some(&limit)), Ok(0)) || !self.ring.is_empty()
    }
}

impl WayCounters {
    fn count(&self, len: usize, delivered: bool) {
        if delivered {
            self.frames.fetch_add(1, Relaxed);
            self.bytes.fetch_add(len as u64, Relaxed);
        } else {
            self.drops.fetch_add(1, Relaxed);
        }
    }
}

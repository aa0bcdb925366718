//! The generator's two ports, the worker's clock, and a baseline worker that only swaps MAC addresses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pollux_dataplane::io::{Batch, QueuePair};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::pipeline::egress::tx_buffers::HandOffRing;
use pollux_dataplane::time::{Clock, Tick};

use super::buffer::{Buffer, Pool};
use super::script::Script;
use pollux_tests::bed::command::{Error, Result};

/// How long the worker sleeps at a time while no script runs.
const DOZE: Duration = Duration::from_millis(2);

/// State that both ports share. While packets flow only one thread uses it, so the lock is never contended. It has cache
/// lines of its own, since another worker's generator may be adjacent.
#[repr(align(128))]
pub struct Generator {
    /// The script.
    pub script: Script,
    /// Free buffers.
    pub pool: Pool,
    /// No script runs.
    pub paused: bool,
    /// Number of polls that returned no packet.
    pub empty_polls: u64,
    /// Hand-off rings of the other workers. While one is long, the generator pauses.
    pub ahead: Vec<HandOffRing<Buffer>>,
    /// Bursts since those were last checked.
    unseen: u32,
}

/// Bursts between two checks of other workers' rings. A check reads cache lines that those workers write.
const UNSEEN: u32 = 2;
/// Longest queue allowed there, so that nothing is lost and packets are still in a cache when they are processed.
const WAITING: usize = 256;

impl Default for Generator {
    fn default() -> Generator {
        let script = Script::new(Vec::new(), Vec::new());
        Generator { script, pool: Pool::new(), paused: true, empty_polls: 0, ahead: Vec::new(), unseen: 0 }
    }
}

impl Generator {
    /// Returns whether another worker's hand-off ring is long enough for now.
    fn waits(&mut self) -> bool {
        self.unseen += 1;
        if self.unseen < UNSEEN || self.ahead.is_empty() {
            return false;
        }
        let full = self.ahead.iter().any(|ring| ring.len() > WAITING);
        if !full {
            self.unseen = 0;
        }
        full
    }
}

/// A port of the generator.
pub struct Side {
    number: usize,
    generator: Arc<Mutex<Generator>>,
}

impl Side {
    /// Returns both ports.
    pub fn pair(generator: &Arc<Mutex<Generator>>) -> [Side; 2] {
        [0, 1].map(|number| Side { number, generator: Arc::clone(generator) })
    }
}

impl QueuePair for Side {
    type Packet = Buffer;

    fn receive(&mut self, batch: &mut Batch<Buffer>) {
        let mut generator = lock(&self.generator);
        if !generator.paused {
            if !generator.waits() {
                let Generator { script, pool, .. } = &mut *generator;
                script.receive(self.number, batch, pool);
            }
            return;
        }
        generator.empty_polls += 1;
        drop(generator);
        // Meanwhile the baseline worker uses this core.
        thread::sleep(DOZE);
    }

    fn transmit(&mut self, batch: &mut Batch<Buffer>) {
        let mut generator = lock(&self.generator);
        let Generator { script, pool, .. } = &mut *generator;
        script.transmit(batch, pool);
    }
}

/// Locks the generator.
pub fn lock(generator: &Mutex<Generator>) -> MutexGuard<'_, Generator> {
    generator.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The worker's clock.
#[derive(Clone)]
pub enum Time {
    /// Wall-clock time.
    Wall(Instant),
    /// A millisecond passes per a number of packets of the script's first source.
    Packets {
        /// Packets so far.
        opened: Arc<AtomicU64>,
        /// Packets per millisecond.
        per_milli: u64,
    },
}

impl Clock for Time {
    #[inline]
    fn now(&mut self) -> Tick {
        match self {
            Time::Wall(began) => Tick(began.elapsed().as_millis() as u64),
            Time::Packets { opened, per_milli } => Tick(opened.load(Relaxed) / *per_milli),
        }
    }

    fn cycles(&self) -> u64 {
        0
    }
}

/// Runs a script for a while against a worker that only swaps MAC addresses: the cost of everything except the
/// balancer.
///
/// # Errors
/// If the thread cannot be pinned.
pub fn baseline(script: Script, cpu: usize, time: Duration) -> Result<(Script, Duration)> {
    let generator = Arc::new(Mutex::new(Generator { paused: false, script, ..Generator::default() }));
    let stop = Arc::new(AtomicBool::new(false));
    let (mut sides, stopped) = (Side::pair(&generator), Arc::clone(&stop));
    let body = move || {
        pin(cpu)?;
        let (mut batch, began) = (Batch::new(), Instant::now());
        while !stopped.load(Relaxed) {
            for side in 0..2 {
                sides[side].receive(&mut batch);
                for buffer in &mut batch {
                    let frame = buffer.bytes_mut();
                    (0..6).for_each(|at| frame.swap(at, at + 6));
                }
                if !batch.is_empty() {
                    sides[1 - side].transmit(&mut batch);
                }
            }
        }
        Ok::<Duration, Error>(began.elapsed())
    };
    let thread = thread::spawn(body);
    thread::sleep(time);
    stop.store(true, Relaxed);
    let took = thread.join().map_err(|_| Error("the baseline's thread has panicked".to_owned()))??;
    let script = std::mem::replace(&mut lock(&generator).script, Script::new(Vec::new(), Vec::new()));
    Ok((script, took))
}

/// Pins this thread to a CPU.
///
/// # Errors
/// If the system call fails.
pub fn pin(cpu: usize) -> Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Ok(());
    }
    Err(Error(format!("a thread cannot be pinned to CPU {cpu}; --cpus names others")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inside::packet_builder::{Kind, PacketBuilder};
    use crate::inside::script::{Flows, Source};
    use crate::kinds::Family;

    #[test]
    fn time_goes_by_packets() {
        let opened = Arc::new(AtomicU64::new(0));
        let mut time = Time::Packets { opened: Arc::clone(&opened), per_milli: 1000 };
        opened.store(2_500, Relaxed);
        assert_eq!(time.now(), Tick(2));
    }

    #[test]
    fn nothing_passes_everything() {
        let source =
            Source::new(PacketBuilder::new(Family::Ipv4, Kind::Request), Flows::Fresh { first: 0, span: 10 });
        let (script, _) =
            baseline(Script::new(vec![source.times(777)], vec![]), 0, Duration::from_millis(50)).unwrap();
        assert_eq!(script.counts(), (777, 777));
    }
}

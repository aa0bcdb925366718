//! The generator's two ports, the worker's time, and a worker that does nothing.

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
use pollux_tests::bed::command::{Result, Trouble};

/// How long the worker sleeps at a time while nothing is played.
const DOZE: Duration = Duration::from_millis(2);

/// What both ports share; only one thread at a time looks at it while packets flow, so the lock is free. It has its lines for
/// itself, since another worker's lab may be beside it.
#[repr(align(128))]
pub struct Lab {
    /// What is played.
    pub script: Script,
    /// Free buffers.
    pub pool: Pool,
    /// Nothing is played.
    pub resting: bool,
    /// How often a port was asked in vain.
    pub asked: u64,
    /// Rings that the worker gives packets of other workers into: while many wait in one, nothing comes.
    pub ahead: Vec<HandOffRing<Buffer>>,
    /// Bursts since those were looked at.
    unseen: u32,
}

/// Bursts between two looks at other workers' rings, which cost lines of memory that they write.
const UNSEEN: u32 = 2;
/// Most that should wait there: nothing is lost, and what waits is still in a cache when its turn comes.
const WAITING: usize = 256;

impl Default for Lab {
    fn default() -> Lab {
        let script = Script::new(Vec::new(), Vec::new());
        Lab { script, pool: Pool::new(), resting: true, asked: 0, ahead: Vec::new(), unseen: 0 }
    }
}

impl Lab {
    /// Whether another worker has as much before it as it should.
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
    lab: Arc<Mutex<Lab>>,
}

impl Side {
    /// Both ports.
    pub fn pair(lab: &Arc<Mutex<Lab>>) -> [Side; 2] {
        [0, 1].map(|number| Side { number, lab: Arc::clone(lab) })
    }
}

impl QueuePair for Side {
    type Packet = Buffer;

    fn receive(&mut self, batch: &mut Batch<Buffer>) {
        let mut lab = lock(&self.lab);
        if !lab.resting {
            if !lab.waits() {
                let Lab { script, pool, .. } = &mut *lab;
                script.receive(self.number, batch, pool);
            }
            return;
        }
        lab.asked += 1;
        drop(lab);
        // The core is somebody else's meanwhile: of the worker that does nothing.
        thread::sleep(DOZE);
    }

    fn transmit(&mut self, batch: &mut Batch<Buffer>) {
        let mut lab = lock(&self.lab);
        let Lab { script, pool, .. } = &mut *lab;
        script.transmit(batch, pool);
    }
}

/// The lab, for a moment.
pub fn lock(lab: &Mutex<Lab>) -> MutexGuard<'_, Lab> {
    lab.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The worker's time.
#[derive(Clone)]
pub enum Time {
    /// As it passes.
    Wall(Instant),
    /// A millisecond passes whenever so many packets have come from the script's first source.
    Packets {
        /// How many have come.
        opened: Arc<AtomicU64>,
        /// How many make a millisecond.
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

/// Plays a script for a while against a worker that only swaps hardware addresses: what all of it costs but for the
/// balancer.
///
/// # Errors
/// When the thread cannot be pinned.
pub fn baseline(script: Script, cpu: usize, time: Duration) -> Result<(Script, Duration)> {
    let lab = Arc::new(Mutex::new(Lab { resting: false, script, ..Lab::default() }));
    let stop = Arc::new(AtomicBool::new(false));
    let (mut sides, stopped) = (Side::pair(&lab), Arc::clone(&stop));
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
        Ok::<Duration, Trouble>(began.elapsed())
    };
    let thread = thread::spawn(body);
    thread::sleep(time);
    stop.store(true, Relaxed);
    let took = thread.join().map_err(|_| Trouble("the baseline's thread has panicked".to_owned()))??;
    let script = std::mem::replace(&mut lock(&lab).script, Script::new(Vec::new(), Vec::new()));
    Ok((script, took))
}

/// Keeps this thread on a CPU.
///
/// # Errors
/// When the system does not let it.
pub fn pin(cpu: usize) -> Result<()> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Ok(());
    }
    Err(Trouble(format!("a thread cannot be pinned to CPU {cpu}; --cpus names others")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inside::maker::{Kind, Maker};
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
            Source::new(Maker::new(Family::Ipv4, Kind::Request), Flows::Fresh { first: 0, span: 10 });
        let (script, _) =
            baseline(Script::new(vec![source.times(777)], vec![]), 0, Duration::from_millis(50)).unwrap();
        assert_eq!(script.counts(), (777, 777));
    }
}

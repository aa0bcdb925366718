//! Idle modes of a worker, and the events that return it to full speed.

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::world::TestNamespace;
use super::*;
use crate::config::{Command, Page};
use crate::conn::Sizes;
use crate::io::mem::{ManualClock, Wire};
use crate::io::{Batch, QueuePair};
use crate::time::Clock;
use crate::worker::idle::{IdleConfig, Mode};
use crate::worker::sleep::Idle;
use crate::worker::{Port, Setup, Worker};

/// Iterations after which every worker that may sleep has slept.
const UNTIL_ASLEEP: u32 = 1100;

fn config(mode: Mode) -> IdleConfig {
    IdleConfig { mode, max_sleep: Duration::from_micros(20) }
}

fn idle_world(mode: Mode) -> World {
    let mut world = World::new(1);
    world.workers[0].install(serving(0, None), &[]);
    world.workers[0].idle = Idle::new(config(mode));
    world
}

/// One round of [`Worker::run`].
fn round<Q: QueuePair, C: Clock>(worker: &mut Worker<Q, C>) {
    if worker.poll_once() == 0 {
        worker.idle();
    }
}

fn rounds<Q: QueuePair, C: Clock>(worker: &mut Worker<Q, C>, count: u32) {
    (0..count).for_each(|_| round(worker));
}

#[test]
fn each_mode_idles_as_documented() {
    for (mode, pauses, sleeps) in
        [(Mode::Busy, false, false), (Mode::Pause, true, false), (Mode::Sleep, true, true)]
    {
        let mut world = idle_world(mode);
        rounds(&mut world.workers[0], UNTIL_ASLEEP);
        let counters = &world.default_namespace.worker_stats[0].counters;
        assert_eq!((counters.idle_pauses.get() > 0, counters.sleeps.get() > 0), (pauses, sleeps), "{mode:?}");
        // A sleep is at least as long as requested.
        assert!(counters.sleep_us.get() >= 10 * counters.sleeps.get(), "{mode:?}");
        assert_eq!(counters.interrupt_wakeups.get(), 0);
    }
}

#[test]
fn a_packet_restores_full_speed() {
    let mut world = idle_world(Mode::Sleep);
    for _ in 0..3 {
        rounds(&mut world.workers[0], UNTIL_ASLEEP);
        let idle_counts = |world: &World| {
            let counters = &world.default_namespace.worker_stats[0].counters;
            (counters.idle_pauses.get(), counters.sleeps.get())
        };
        let before = idle_counts(&world);
        world.outside[0].put(&syn(client(), vip(), None));
        rounds(&mut world.workers[0], 20);
        assert_eq!(World::take_sent(&world.inside).len(), 1);
        assert_eq!(idle_counts(&world), before);
    }
}

#[test]
fn a_frame_from_the_kernel_restores_full_speed() {
    let mut world = idle_world(Mode::Sleep);
    rounds(&mut world.workers[0], UNTIL_ASLEEP);
    let sleeps = world.default_namespace.worker_stats[0].counters.sleeps.get();
    assert!(world.default_namespace.inject.push((0, Frame::new(&syn(client(), vip(), None)))).is_ok());
    rounds(&mut world.workers[0], 20);
    assert_eq!(
        (
            World::take_sent(&world.outside).len(),
            world.default_namespace.worker_stats[0].counters.sleeps.get()
        ),
        (1, sleeps)
    );
}

#[test]
fn a_command_ends_idling_after_one_sleep() {
    let mut world = idle_world(Mode::Sleep);
    let blue = world.add_namespace(BLUE, &serving(1, None));
    for rings in [&blue.rings[0], &world.default_namespace.rings[0]] {
        rounds(&mut world.workers[0], UNTIL_ASLEEP);
        while rings.notifications.pop().is_some() {}
        let sleeps = world.default_namespace.worker_stats[0].counters.sleeps.get();
        let page = Page::new(1, 0, 4, Vec::new());
        assert!(rings.commands.push(Command::List(page)).is_ok());
        world.workers[0].idle();
        rounds(&mut world.workers[0], 20);
        assert_eq!(rings.notifications.len(), 1);
        assert_eq!(world.default_namespace.worker_stats[0].counters.sleeps.get(), sleeps + 1);
    }
}

#[test]
fn a_worker_with_overdue_connections_does_not_sleep() {
    let sizes = Sizes { ipv4: 1024, ipv6: 8, extra: 0 };
    let mut bed = Plan { sizes, ..Plan::new(Method::Nat) }.bed().unwrap();
    bed.worker.idle = Idle::new(config(Mode::Sleep));
    for l4_port in 10_001..=10_200 {
        bed.outside.put(&syn(at(client().address, l4_port), vip(), None));
    }
    rounds(&mut bed.worker, UNTIL_ASLEEP);
    let held = || bed.stats.counters.connections_ipv4.get();
    assert_eq!(held(), 200);
    let sleeps = bed.stats.counters.sleeps.get();
    assert!(sleeps > 0);
    bed.worker.clock().0 = Tick(1_000_000);
    // An idle iteration checks 64 timers, all of which are due; the next iteration publishes what is left.
    rounds(&mut bed.worker, 3);
    assert_eq!((held(), bed.stats.counters.sleeps.get()), (72, sleeps));
    rounds(&mut bed.worker, 4);
    assert_eq!(held(), 0);
    assert!(bed.stats.counters.sleeps.get() > sleeps);
}

/// A wire with a receive interrupt: a pipe.
struct InterruptWire {
    wire: Wire,
    rx_interrupt: PipeReader,
    armed: Arc<AtomicBool>,
}

impl QueuePair for InterruptWire {
    type Packet = Frame;

    fn receive(&mut self, batch: &mut Batch<Frame>) {
        self.wire.receive(batch);
    }

    fn transmit(&mut self, batch: &mut Batch<Frame>) {
        self.wire.transmit(batch);
    }

    fn rx_interrupt(&self) -> Option<BorrowedFd<'_>> {
        Some(self.rx_interrupt.as_fd())
    }

    fn arm(&mut self) {
        self.armed.store(true, Relaxed);
    }

    fn disarm(&mut self) {
        self.armed.store(false, Relaxed);
    }
}

/// A worker on two ports with receive interrupts, and the pipes that raise them.
fn interrupt_worker()
-> (Worker<InterruptWire, ManualClock>, TestNamespace, [Arc<AtomicBool>; 2], [PipeWriter; 2]) {
    let mut default_namespace = TestNamespace::new(1);
    let pipes = [std::io::pipe().unwrap(), std::io::pipe().unwrap()];
    let armed = [Arc::default(), Arc::default()];
    let (rx_interrupts, raise): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    let ports = rx_interrupts.into_iter().zip(&armed).zip(0..).map(|((rx_interrupt, armed), number)| {
        let queues = InterruptWire { wire: Wire::default(), rx_interrupt, armed: Arc::clone(armed) };
        Port::new(number, queues)
    });
    // So long that only an interrupt ends it before the test runner gives up.
    let idle = IdleConfig { mode: Mode::Interrupt, max_sleep: Duration::from_secs(3600) };
    let setup = Setup { idle, ..Setup::new(ports.collect(), default_namespace.setups.remove(0)) };
    (Worker::new(setup, ManualClock::default()).unwrap(), default_namespace, armed, raise.try_into().unwrap())
}

#[test]
fn an_interrupt_ends_a_sleep_and_is_then_disarmed() {
    let (mut worker, default_namespace, armed, mut raise) = interrupt_worker();
    let counters = &default_namespace.worker_stats[0].counters;
    while !armed[1].load(Relaxed) {
        round(&mut worker);
    }
    assert!(armed[0].load(Relaxed));
    assert_eq!(counters.sleeps.get(), 0, "once armed, ports are polled again before the first sleep");
    rounds(&mut worker, 3);
    assert_eq!((counters.sleeps.get(), counters.interrupt_wakeups.get()), (3, 0));
    raise[1].write_all(&[1]).unwrap();
    round(&mut worker);
    assert_eq!((counters.sleeps.get(), counters.interrupt_wakeups.get()), (4, 1));
    assert!(armed.iter().all(|armed| !armed.load(Relaxed)));
    rounds(&mut worker, 20);
    assert_eq!(counters.sleeps.get(), 4, "full speed follows");
}

#[test]
fn a_polled_frame_disarms_interrupts() {
    let (mut worker, _namespace, armed, _raise) = interrupt_worker();
    while !armed[0].load(Relaxed) {
        round(&mut worker);
    }
    worker.ports[0].queues.wire.put(&syn(client(), vip(), None));
    rounds(&mut worker, 2);
    assert!(armed.iter().all(|armed| !armed.load(Relaxed)));
}

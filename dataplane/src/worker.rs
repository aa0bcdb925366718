//! One core's loop: adopt configuration, take bursts from its queues, run them through the line, send what left.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::config::{Command, NextHop, Note, Snapshot, WorkerRings};
use crate::conn::{Shared, Sizes, Table};
use crate::flow::Seed;
use crate::forward;
use crate::io::{Batch, QueuePair};
use crate::line::defend::Defence;
use crate::line::ending::Ending;
use crate::line::outbox::{FROM_KERNEL, HandOffRing, RELAYED};
use crate::line::paths::Paths;
use crate::line::{self, Arrival, KernelRing, Line, Outbox};
use crate::sched::Memory;
use crate::stats::Board;
use crate::steer::{Steering, WorkerId};
use crate::time::{Clock, Tick};
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::MacBytes;

/// A port as one worker uses it.
pub struct Port<Q> {
    /// Number of the port.
    pub number: u16,
    /// Its hardware address.
    pub mac: MacBytes,
    /// This worker's queues.
    pub queues: Q,
}

/// What a worker is made from.
pub struct Setup<Q: QueuePair> {
    /// Its number.
    pub me: WorkerId,
    /// How flows are shared out; the same for all workers.
    pub steering: Steering,
    /// Its ports, by number.
    pub ports: Vec<Port<Q>>,
    /// Its share of the connections.
    pub sizes: Sizes,
    /// What all workers share.
    pub shared: Arc<Shared>,
    /// Services that can exist.
    pub services: usize,
    /// Its counters.
    pub board: Arc<Board>,
    /// To and from control.
    pub rings: Arc<WorkerRings>,
    /// Frames for the kernel.
    pub kernel: KernelRing<Q::Packet>,
    /// Frames of the kernel for ports.
    pub inject: Arc<ArrayQueue<(usize, Q::Packet)>>,
    /// Rings of all workers, by number.
    pub hand_off: Box<[HandOffRing<Q::Packet>]>,
}

/// One core's loop and everything it owns.
pub struct Worker<Q: QueuePair, C: Clock> {
    /// The packets' way.
    pub line: Line,
    ports: Vec<Port<Q>>,
    out: Outbox<Q::Packet>,
    inject: Arc<ArrayQueue<(usize, Q::Packet)>>,
    clock: C,
    batch: Batch<Q::Packet>,
    stopped: bool,
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Takes the worker's memory.
    ///
    /// # Errors
    /// When there is not enough of it.
    pub fn new(setup: Setup<Q>, clock: C) -> std::io::Result<Worker<Q, C>> {
        let random = Seed::random();
        let conns = Table::new(setup.sizes, random)?;
        setup.board.gauges.table_bytes.set(conns.bytes() as u64);
        let out = Outbox::new(setup.ports.len(), setup.kernel, setup.hand_off);
        let Seed(seed, step) = Seed::random();
        let memory = |service: usize| Memory::new(seed.wrapping_add(step.wrapping_mul(service as u64)));
        let line = Line {
            me: setup.me,
            steering: setup.steering,
            conns,
            snapshot: Box::default(),
            memories: (0..setup.services).map(memory).collect(),
            board: setup.board,
            rings: setup.rings,
            shared: setup.shared,
            paths: Paths::new(),
            defence: Defence::default(),
            half_open: 0,
            last_one_packet: None,
            in_train: false,
            tended: Tick(0),
            flush_from: None,
            ending: Ending::default(),
            ip_id: 0,
            piece_id: random.1 as u32,
            works: line::works(),
        };
        let (ports, inject) = (setup.ports, setup.inject);
        Ok(Worker { line, ports, out, inject, clock, batch: Batch::new(), stopped: false })
    }

    /// Turns until control says stop.
    pub fn run(&mut self) {
        while !self.stopped {
            self.turn();
        }
    }

    /// One turn over all queues and rings; tells how many packets it moved.
    pub fn turn(&mut self) -> usize {
        let (now, began) = (self.clock.now(), self.clock.cycles());
        self.obey(now);
        let mut moved = 0;
        for index in 0..self.ports.len() {
            moved += self.poll(index, now);
        }
        moved += self.take_over(now) + self.inject(now);
        self.line.expire(now);
        let gauges = &self.line.board.gauges;
        if moved > 0 {
            gauges.busy_cycles.add(self.clock.cycles().wrapping_sub(began));
            gauges.bursts.add(1);
        }
        moved
    }

    /// The clock, for tests that move it.
    pub fn clock(&mut self) -> &mut C {
        &mut self.clock
    }

    fn poll(&mut self, index: usize, now: Tick) -> usize {
        let port = &mut self.ports[index];
        port.queues.receive(&mut self.batch);
        let count = self.batch.len();
        if count == 0 {
            return 0;
        }
        let arrival = Arrival { port: port.number, mac: port.mac, now, relayed: false };
        self.line.board.gauges.received.add(count as u64);
        self.run_line(&arrival);
        count
    }

    /// Runs the batch through the line, and what leaves out of its ports.
    fn run_line(&mut self, arrival: &Arrival) {
        if self.line.snapshot.debug.each_packet {
            self.line.run_told(&mut self.batch, arrival, &mut self.out);
        } else {
            self.line.run(&mut self.batch, arrival, &mut self.out);
        }
        self.flush();
    }

    /// Packets that other workers found to be ours.
    fn take_over(&mut self, now: Tick) -> usize {
        let me = usize::from(self.line.me.0);
        let mut count = 0;
        while count < crate::io::BURST
            && let Some((port, packet)) = self.out.hand_off.get(me).and_then(|ring| ring.pop())
        {
            let (relayed, from_kernel) = (port & RELAYED != 0, port & FROM_KERNEL != 0);
            let port = port & !(RELAYED | FROM_KERNEL);
            count += 1;
            if from_kernel {
                self.line.from_kernel(port, packet, now, &mut self.out);
                self.flush();
                continue;
            }
            // Ports differ in address, so each packet is a burst; hand-off is the slow way, RSS the fast one.
            self.batch.push(packet);
            let arrival = Arrival { port, mac: self.ports[usize::from(port)].mac, now, relayed };
            self.run_line(&arrival);
        }
        self.line.board.gauges.taken_over.add(count as u64);
        count
    }

    /// Frames of the kernel leave, by and large as they are.
    fn inject(&mut self, now: Tick) -> usize {
        let mut count = 0;
        while count < crate::io::BURST
            && let Some((port, packet)) = self.inject.pop()
        {
            self.line.board.gauges.from_kernel.add(1);
            self.line.from_kernel(port as u16, packet, now, &mut self.out);
            count += 1;
        }
        if count > 0 {
            self.flush();
        }
        count
    }

    /// Sends what is in the outbox; what a port refuses twice is dropped.
    fn flush(&mut self) {
        let gauges = &self.line.board.gauges;
        for (port, batch) in self.ports.iter_mut().zip(&mut self.out.ports) {
            if batch.is_empty() {
                continue;
            }
            let count = batch.len();
            port.queues.transmit(batch);
            if !batch.is_empty() {
                port.queues.transmit(batch);
            }
            gauges.sent.add((count - batch.len()) as u64);
            gauges.drops[DropReason::TransmitFull as usize].add(batch.len() as u64);
            batch.clear();
        }
    }

    /// Does what control asks.
    fn obey(&mut self, now: Tick) {
        while let Some(command) = self.line.rings.commands.pop() {
            let note = match command {
                Command::Install(snapshot, events) => {
                    let generation = snapshot.generation;
                    let old = self.line.adopt(snapshot, &events);
                    self.retry();
                    Note::Adopted(generation, old, events)
                }
                Command::List(mut page) => {
                    self.line.list(&mut page, now);
                    Note::Listed(page)
                }
                Command::Stop => {
                    self.stopped = true;
                    continue;
                }
            };
            // Control keeps the ring deep enough for every answer it waits for.
            let _ = self.line.rings.notes.push(note);
        }
        self.line.publish();
        if self.out.trains.held() > 0 {
            self.give_up_trains(now);
        }
        if !self.out.waiting.is_empty() {
            self.give_up_waiting(now);
        }
    }

    /// Sends the waiting packets whose next hop's address has become known.
    fn retry(&mut self) {
        let gauges = &self.line.board.gauges;
        for _ in 0..self.out.waiting.len() {
            let mut waiting = self.out.waiting.remove(0);
            let NextHop::Unresolved(link, address) = waiting.departure.next else { continue };
            let network = &self.line.snapshot.network;
            let hop = network.neighbours.get(&(link, address)).and_then(|&id| network.hop_at(id));
            match hop {
                None => {
                    // There is room: the packet has just left its place. It keeps the time it came.
                    let _ = self.out.waiting.try_push(waiting);
                }
                Some(hop) => {
                    let framed = forward::frame(&mut waiting.packet, &waiting.departure, hop);
                    let verdict = match framed {
                        Ok(()) => self.out.send(hop.port, waiting.packet),
                        Err(why) => Verdict::Dropped(why),
                    };
                    if let Verdict::Dropped(why) = verdict {
                        gauges.drops[why as usize].add(1);
                    }
                }
            }
        }
        gauges.waiting.set(self.out.waiting.len() as u64);
        self.flush();
    }

    fn give_up_trains(&mut self, now: Tick) {
        let gauges = &self.line.board.gauges;
        self.out.trains.expire(now, |_| gauges.drops[DropReason::FragmentTimeout as usize].add(1));
        gauges.gathering.set(self.out.trains.held() as u64);
    }

    fn give_up_waiting(&mut self, now: Tick) {
        let before = self.out.waiting.len();
        self.out.waiting.retain(|waiting| !waiting.is_over(now));
        let gone = before - self.out.waiting.len();
        let gauges = &self.line.board.gauges;
        gauges.drops[DropReason::NeighbourUnresolved as usize].add(gone as u64);
        gauges.waiting.set(self.out.waiting.len() as u64);
    }
}

/// A worker's starting snapshot is empty: everything is the kernel's until control installs one.
impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Installs a snapshot directly; for replay and tests, where there is no control thread.
    pub fn install(&mut self, mut snapshot: Snapshot, events: &[crate::config::Event]) {
        snapshot.pave();
        self.line.adopt(Box::new(snapshot), events);
        self.retry();
    }
}

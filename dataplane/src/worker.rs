//! One core's loop: adopt configuration, take bursts from its queues, run them through the line of the namespace they
//! are for, send what left.

pub mod binding;
mod chores;
mod idle;
pub mod moves;
pub mod tenant;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::config::{Event, News, Snapshot};
use crate::io::{Batch, QueuePair};
use crate::leisure::Leisure;
use crate::line::Arrival;
use crate::packet::Packet;
use crate::rest::Rule;
use crate::time::{Clock, Tick};
use crate::verdict::DropReason;
use crate::wire::ether::MacBytes;

use binding::{Binding, NamespaceId};
use idle::Idle;
use moves::{Move, Moves, Retired};
use tenant::{Tenant, TenantSetup};

/// A port as one worker uses it.
pub struct Port<Q> {
    /// Number of the port.
    pub number: u16,
    /// Its hardware address.
    pub mac: MacBytes,
    /// This worker's queues.
    pub queues: Q,
    /// Whose its frames are.
    pub binding: Binding,
}

/// What a worker is made from.
pub struct Setup<Q: QueuePair> {
    /// Its ports, by number.
    pub ports: Vec<Port<Q>>,
    /// The default namespace.
    pub home: TenantSetup<Q::Packet>,
    /// By which others come and go.
    pub moves: Arc<Moves<Q::Packet>>,
    /// What it does when nothing comes.
    pub rest: Rule,
}

/// One core's loop and everything it owns.
pub struct Worker<Q: QueuePair, C: Clock> {
    /// The default namespace.
    pub home: Tenant<Q::Packet>,
    /// The others; number 1 is the first. There is room for all, so that taking one in allocates nothing.
    guests: Vec<Option<Box<Tenant<Q::Packet>>>>,
    ports: Vec<Port<Q>>,
    moves: Arc<Moves<Q::Packet>>,
    clock: C,
    batch: Batch<Q::Packet>,
    /// What of a burst is for one namespace, while it is shared out.
    part: Batch<Q::Packet>,
    idle: Idle,
    stopped: bool,
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Takes the worker's memory.
    ///
    /// # Errors
    /// When there is not enough of it.
    pub fn new(setup: Setup<Q>, clock: C) -> std::io::Result<Worker<Q, C>> {
        Ok(Worker {
            home: Tenant::new(setup.home)?,
            guests: Vec::with_capacity(binding::MOST),
            ports: setup.ports,
            moves: setup.moves,
            clock,
            batch: Batch::new(),
            part: Batch::new(),
            idle: Idle::new(setup.rest),
            stopped: false,
        })
    }

    /// Turns until control says stop, and rests as its rule says when nothing comes.
    pub fn run(&mut self) {
        while !self.stopped {
            if self.turn() == 0 {
                self.rest();
            }
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
        moved += self.home.take_over(now, &mut self.ports, &mut self.batch);
        moved += self.home.inject(now, NamespaceId::DEFAULT, &mut self.ports);
        self.home.attend(now, moved);
        if !self.guests.is_empty() {
            moved += self.see_to_guests(now, moved);
        }
        let gauges = &self.home.line.board.gauges;
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
        if port.binding.is_default() {
            self.home.line.board.gauges.received.add(count as u64);
            self.home.run_line(&mut self.batch, &arrival, &mut self.ports);
        } else {
            self.share_out(index, &arrival);
        }
        count
    }

    /// Gives each namespace its part of a burst, in the order the packets came.
    fn share_out(&mut self, index: usize, arrival: &Arrival) {
        while let Some(first) = self.batch.first() {
            let binding = &self.ports[index].binding;
            let whose = binding.of(first.bytes());
            if binding.vlans.is_empty() {
                std::mem::swap(&mut self.batch, &mut self.part);
            } else {
                split(&mut self.batch, &mut self.part, |frame| binding.of(frame) == whose);
            }
            let tenant = match whose.0.checked_sub(1) {
                None => Some(&mut self.home),
                Some(at) => self.guests.get_mut(usize::from(at)).and_then(Option::as_deref_mut),
            };
            let Some(tenant) = tenant else {
                // Control unbinds ports before a namespace leaves, so nobody gets here.
                let gauges = &self.home.line.board.gauges;
                gauges.received.add(self.part.len() as u64);
                gauges.drops[DropReason::OtherNamespace as usize].add(self.part.len() as u64);
                self.part.clear();
                continue;
            };
            tenant.line.board.gauges.received.add(self.part.len() as u64);
            tenant.run_line(&mut self.part, arrival, &mut self.ports);
        }
    }

    /// What a turn does for every namespace beside the default one.
    fn see_to_guests(&mut self, now: Tick, before: usize) -> usize {
        let mut moved = 0;
        for (id, guest) in (1..).map(NamespaceId).zip(&mut self.guests) {
            let Some(guest) = guest else { continue };
            moved += guest.take_over(now, &mut self.ports, &mut self.batch);
            moved += guest.inject(now, id, &mut self.ports);
            guest.attend(now, before);
        }
        moved
    }

    /// Does what control asks.
    fn obey(&mut self, now: Tick) {
        if !self.moves.orders.is_empty() {
            self.rearrange();
        }
        self.stopped |= self.home.obey(now, &mut self.ports);
        for guest in self.guests.iter_mut().flatten() {
            guest.obey(now, &mut self.ports);
        }
    }

    /// Takes namespaces in and gives them back.
    #[cold]
    fn rearrange(&mut self) {
        while let Some((number, order)) = self.moves.orders.pop() {
            let retired = match order {
                Move::Enter(id, tenant) => self.take_in(id, tenant),
                Move::Leave(id) => self.give_back(id),
                Move::Bind(mut bindings) => {
                    for (port, binding) in self.ports.iter_mut().zip(&mut bindings) {
                        std::mem::swap(&mut port.binding, binding);
                    }
                    Retired::Bindings(bindings)
                }
            };
            // As deep as the ring of orders, which control waits for one at a time.
            let _ = self.moves.done.push((number, retired));
        }
    }

    fn take_in(&mut self, id: NamespaceId, tenant: Box<Tenant<Q::Packet>>) -> Retired<Q::Packet> {
        let Some(at) = id.0.checked_sub(1).map(usize::from).filter(|&at| at < binding::MOST) else {
            return Retired::Tenant(tenant);
        };
        while self.guests.len() <= at {
            self.guests.push(None);
        }
        self.guests[at].replace(tenant).map_or(Retired::Nothing, Retired::Tenant)
    }

    fn give_back(&mut self, id: NamespaceId) -> Retired<Q::Packet> {
        let at = id.0.checked_sub(1).map(usize::from);
        let gone = at.and_then(|at| self.guests.get_mut(at)).and_then(Option::take);
        while let Some(None) = self.guests.last() {
            self.guests.pop();
        }
        gone.map_or(Retired::Nothing, Retired::Tenant)
    }
}

/// Moves the frames that `is_part` from `batch` to the empty `part`; both keep their order.
fn split<P: Packet>(batch: &mut Batch<P>, part: &mut Batch<P>, is_part: impl Fn(&[u8]) -> bool) {
    for packet in std::mem::take(batch) {
        let to = if is_part(packet.bytes()) { &mut *part } else { &mut *batch };
        to.push(packet);
    }
}

/// A worker's starting snapshot is empty: everything is the kernel's until control installs one.
impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Installs a snapshot in the default namespace; for replay and tests, where there is no control thread.
    pub fn install(&mut self, mut snapshot: Snapshot, events: &[Event]) {
        snapshot.pave();
        let news = News::new(events, &snapshot.services);
        self.home.adopt(Box::new(snapshot), news, &mut self.ports);
        self.home.line.hear(&mut { Leisure::ENDLESS });
    }

    /// A namespace beside the default one, for tests.
    #[cfg(test)]
    fn guest(&mut self, id: u16) -> &mut Tenant<Q::Packet> {
        self.guests[usize::from(id) - 1].as_deref_mut().unwrap()
    }
}

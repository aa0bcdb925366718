//! What control asks a namespace's part of a worker for: carried out one after the other, beside packets, a part in each
//! turn.

use super::Port;
use super::tenant::{Tenant, next};
use crate::config::{Command, News, NextHop, Note, Page, Snapshot};
use crate::forward;
use crate::io::QueuePair;
use crate::leisure::Leisure;
use crate::packet::Packet;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

/// What control asked for and takes more than a turn. Commands are carried out one after the other.
pub(super) enum Chore {
    /// News of this generation are heard; the snapshot before is kept to go back with them.
    Adopt(u64, Box<Snapshot>),
    /// A page of connections is filled.
    List(Page),
}

impl<P: Packet> Tenant<P> {
    /// Does what control asks; true when it asks to stop.
    pub(super) fn obey<Q: QueuePair<Packet = P>>(&mut self, now: Tick, ports: &mut [Port<Q>]) -> bool {
        let mut stops = false;
        while self.chore.is_none()
            && let Some(command) = next(&self.line.rings.commands)
        {
            match command {
                Command::Install(snapshot, news) => {
                    let generation = snapshot.generation;
                    self.chore = Some(Chore::Adopt(generation, self.adopt(snapshot, news, ports)));
                }
                Command::List(page) => self.chore = Some(Chore::List(page)),
                Command::Stop => stops = true,
            }
        }
        self.line.publish();
        if self.out.trains.held() > 0 {
            self.give_up_trains(now);
        }
        if !self.out.waiting.is_empty() {
            self.give_up_waiting(now);
        }
        stops
    }

    /// What no packet asked for, in a turn that moved so many.
    pub(super) fn attend(&mut self, now: Tick, moved: usize) {
        self.line.expire(now, moved > 0);
        let mut leisure = Leisure::beside(moved);
        self.line.flush(&mut leisure);
        if let Some(chore) = self.chore.take() {
            self.go_on(chore, now, &mut leisure);
        }
    }

    /// Goes on with a chore; when it is done, control hears of it.
    #[cold]
    fn go_on(&mut self, chore: Chore, now: Tick, leisure: &mut Leisure) {
        let note = match chore {
            Chore::Adopt(generation, old) => match self.line.hear(leisure) {
                Some(news) => Note::Adopted(generation, old, news),
                None => return self.chore = Some(Chore::Adopt(generation, old)),
            },
            Chore::List(mut page) => {
                if !self.line.list(&mut page, now, leisure) {
                    return self.chore = Some(Chore::List(page));
                }
                Note::Listed(page)
            }
        };
        // Control keeps the ring deep enough for every answer it waits for.
        let _ = self.line.rings.notes.push(note);
    }

    /// Whether something that control asked for is not done yet.
    pub fn is_busy(&self) -> bool {
        self.chore.is_some()
    }

    /// Whether work is left that a turn does only a part of.
    pub(super) fn is_behind(&self, now: Tick) -> bool {
        self.is_busy() || self.line.is_behind(now)
    }

    /// Acts on another snapshot from now on; gives back the one before.
    pub(super) fn adopt<Q: QueuePair<Packet = P>>(
        &mut self,
        snapshot: Box<Snapshot>,
        news: News,
        ports: &mut [Port<Q>],
    ) -> Box<Snapshot> {
        let old = self.line.adopt(snapshot, news);
        self.retry(ports);
        old
    }

    /// Sends the waiting packets whose next hop's address has become known.
    fn retry<Q: QueuePair<Packet = P>>(&mut self, ports: &mut [Port<Q>]) {
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
        self.flush(ports);
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

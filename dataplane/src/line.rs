//! The packet's way through a worker: stages over a whole burst, then a decision for each packet.
//!
//! Memory is slow and flows are many, so a burst is parsed and hashed first while the index lines are on their way,
//! then the entries are asked for, and only then is each packet looked at again.

mod admit;
mod adopt;
mod advance;
mod compiled;
pub mod defend;
mod depart;
pub mod ending;
mod errors;
mod express;
pub mod flush;
mod kernel;
mod leave;
mod list;
mod originate;
pub mod outbox;
pub mod paths;
mod persist;
mod read;
mod tell;
#[cfg(test)]
mod tests;
mod trains;
mod upkeep;
mod way;

use std::sync::Arc;

use crate::config::{News, Snapshot, WorkerRings};
use crate::conn::slab::prefetch_at;
use crate::conn::{ConnId, Direction, Lease, Quotas, Shared, Table};
use crate::cpu::Cpu;
use crate::flow::Key;
use crate::forward::Departure;
use crate::icmp::Message;
use crate::io::Batch;
use crate::packet::Packet;
use crate::parse::Kind;
use crate::sched::{self, Load, Memory};
use crate::service::DestinationId;
use crate::stats::Board;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::MacBytes;
use crate::wire::{ipv4::Ipv4Hdr, ipv6::Ipv6Hdr};

use compiled::Compiled;
use defend::Defence;
use ending::Ending;
use flush::Flush;
pub use outbox::{KernelRing, Outbox};
use paths::Paths;
use read::Step;
pub use read::{Work, works};

/// How many packets ahead a header is asked for while another is parsed.
const AHEAD: usize = 4;

/// What is decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves.
    Forward(Departure),
    /// It becomes an answer to its sender.
    Answer(Message),
    /// The kernel gets it.
    ToKernel,
    /// It is dropped.
    Drop(DropReason),
}

/// Where and when a burst came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Number of the port.
    pub port: u16,
    /// The port's hardware address.
    pub mac: MacBytes,
    /// The time.
    pub now: Tick,
    /// Another worker has gathered the fragments that come now; they are ours.
    pub relayed: bool,
}

/// What is the same for all packets of a burst.
struct Burst<'a, C> {
    cpu: C,
    arrival: &'a Arrival,
    /// How many connections had come and gone when the packets' connections were guessed.
    changes: u32,
    /// What a datagram's connection lives on.
    udp: Lease,
}

/// One worker's state, packets and queues aside.
pub struct Line {
    /// Number of this worker.
    pub me: WorkerId,
    /// The rule by which flows are shared out.
    pub steering: Steering,
    /// All connections.
    pub conns: Table,
    /// What is configured.
    pub snapshot: Box<Snapshot>,
    /// Schedulers' memory, by service.
    pub memories: Box<[Memory]>,
    /// What all workers share: templates, and the counts behind thresholds.
    pub shared: Arc<Shared>,
    /// MTUs learnt of tunnels' ways.
    pub paths: Paths,
    /// What the defences remember.
    pub defence: Defence,
    /// Connections that are half open.
    pub half_open: u32,
    /// Connections opened in this turn.
    pub opened: u32,
    /// The connection that served the packet in hand and no other, and which way that went.
    pub last_one_packet: Option<(ConnId, Direction)>,
    /// The packet in hand is the first fragment of several.
    pub in_train: bool,
    /// When schedulers, templates and paths were last seen to.
    pub tended: Tick,
    /// Connections that are to expire now.
    pub ending: Ending,
    /// Connections of removed destinations are looked for from here on.
    pub flush: Option<Flush>,
    /// What came with the snapshot and was not heard yet.
    pub news: News,
    /// Counters.
    pub board: Arc<Board>,
    /// To and from control.
    pub rings: Arc<WorkerRings>,
    /// Last IPv4 identification used for headers of our own.
    pub ip_id: u16,
    /// Identification of the IPv6 packet that was sent in pieces last.
    pub piece_id: u32,
    /// Room for the first stage's findings; see [`works`].
    pub works: Box<[Work]>,
}

/// Loads as schedulers see them: counts from the board, overload from what workers share.
struct Scales<'a> {
    board: &'a Board,
    quotas: &'a Quotas,
}

impl sched::Loads for Scales<'_> {
    fn load(&self, id: DestinationId) -> Load {
        self.board.load(id)
    }

    fn is_overloaded(&self, id: DestinationId) -> bool {
        self.quotas.is_overloaded(id)
    }
}

impl Line {
    /// First stage: parse, hash, ask for the index lines.
    #[inline(always)]
    fn read_burst<C: Cpu, P: Packet>(
        &self,
        cpu: C,
        packets: &Batch<P>,
        arrival: &Arrival,
        works: &mut [Work],
    ) {
        let start = cpu.start(&arrival.mac);
        for (place, (packet, work)) in packets.iter().zip(works).enumerate() {
            if let Some(ahead) = packets.get(place + AHEAD) {
                prefetch_at(ahead.bytes(), 0);
            }
            self.read((cpu, start), packet.bytes(), arrival, work);
        }
    }

    /// Second stage: ask for the entries.
    #[inline(always)]
    fn guess_burst<C: Cpu>(&self, cpu: C, works: &mut [Work]) {
        for work in works {
            if matches!(work.step, Step::Express | Step::Express6 | Step::Find) {
                work.guess = self.conns.prefetch_entry(cpu, work.spot);
            }
        }
    }

    /// Last stage: decide, and make it so. `SIX` is for bursts of IPv6: its way is part of the loop.
    #[inline(always)]
    fn dispatch_burst<const SIX: bool, C: Compiled, P: Packet>(
        &mut self,
        cpu: C,
        packets: &mut Batch<P>,
        (arrival, works): (&Arrival, &[Work]),
        out: &mut Outbox<P>,
    ) {
        let udp = Lease::new(self.snapshot.settings.timeouts.udp, arrival.now);
        let burst = Burst { cpu, arrival, changes: self.conns.changes(), udp };
        for (packet, work) in packets.drain(..).zip(works) {
            self.dispatch::<SIX, C, P>(packet, work, &burst, out);
        }
    }

    /// Last stage for one packet: decide, then make it so and count its verdict.
    #[inline(always)]
    fn dispatch<const SIX: bool, C: Compiled, P: Packet>(
        &mut self,
        mut packet: P,
        work: &Work,
        burst: &Burst<C>,
        out: &mut Outbox<P>,
    ) {
        let port = match work.step {
            Step::Express => self.dispatch4(&mut packet, work, burst),
            Step::Express6 if SIX => self.dispatch6(&mut packet, work, burst),
            Step::Express6 => burst.cpu.dispatch6(self, &mut packet, work, burst),
            _ => return self.take_long_way(packet, work, burst.arrival, out),
        };
        let Some(port) = port else {
            let parsed = work.plain.parsed(work.key());
            let work = Work { step: self.steer(&parsed, burst.arrival.port), parsed, ..*work };
            return self.take_long_way(packet, &work, burst.arrival, out);
        };
        let verdict = out.send(port, packet);
        if verdict != Verdict::Sent {
            self.settle(verdict);
        }
    }

    #[inline(always)]
    fn dispatch4<C: Compiled, P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        burst: &Burst<C>,
    ) -> Option<u16> {
        let sure = burst.changes == self.conns.changes();
        let found = match self.conns.confirm(burst.cpu, work.guess, &work.key).filter(|_| sure) {
            Some(found) => found,
            None => self.look_further(work)?,
        };
        self.express::<Ipv4Hdr, C, P>(packet, work, found, burst)
    }

    #[inline(always)]
    fn dispatch6<C: Compiled, P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        burst: &Burst<C>,
    ) -> Option<u16> {
        let Key::V6(key) = &work.parsed.key else { return None };
        let sure = burst.changes == self.conns.changes();
        let found = match self.conns.confirm6(burst.cpu, work.guess, key).filter(|_| sure) {
            Some(found) => found,
            None => self.look_further(work)?,
        };
        self.express::<Ipv6Hdr, C, P>(packet, work, found, burst)
    }

    /// A guess was wrong: the flow's home line is full, or something came or went during the burst.
    #[inline(never)]
    fn look_further(&self, work: &Work) -> Option<(ConnId, Direction)> {
        self.conns.find(work.hash, &work.key())
    }

    /// Decides about any packet, and makes it so.
    #[inline(never)]
    fn take_long_way<P: Packet>(
        &mut self,
        mut packet: P,
        work: &Work,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        let port = arrival.port;
        // What a frame has behind its IP packet is not the packet's.
        let end = usize::from(work.parsed.l3) + usize::from(work.parsed.len);
        let trail = packet.bytes().len().saturating_sub(end);
        let fate = match work.step {
            Step::Find | Step::Express | Step::Express6 => match work.parsed.kind {
                Kind::IcmpError => self.relate(&mut packet, work, arrival),
                Kind::TunnelError => match self.relate_tunnel(packet.bytes(), work, arrival.now) {
                    Ok((inner, message)) => return self.answer(packet, &inner, message, arrival, out),
                    Err(fate) => fate,
                },
                _ => self.decide(&mut packet, work, arrival),
            },
            Step::Gather => return self.gather(packet, &work.parsed, arrival, out),
            Step::ToKernel => Fate::ToKernel,
            Step::HandOff(owner) => return self.settle(out.hand_off(owner, port, packet)),
            Step::Drop(why) => return self.unreadable(why),
        };
        match fate {
            Fate::Forward(departure) => {
                if trail > 0 {
                    packet.truncate(packet.bytes().len() - trail);
                }
                if let Some(verdict) = self.depart(packet, departure, arrival, out) {
                    self.tell_not_sent(verdict);
                    self.settle(verdict);
                }
            }
            Fate::Answer(message) => self.answer(packet, &work.parsed, message, arrival, out),
            Fate::ToKernel => self.settle(out.to_kernel(port, packet)),
            Fate::Drop(why) => self.dropped(&work.parsed, why),
        }
    }

    /// Counts what became of a packet.
    fn settle(&self, verdict: Verdict) {
        let gauges = &self.board.gauges;
        match verdict {
            Verdict::Sent => {} // counted when the port has taken it
            Verdict::Answered(why) => gauges.answers[why as usize].add(1),
            Verdict::ToKernel => gauges.to_kernel.add(1),
            Verdict::HandedOff => gauges.handed_off.add(1),
            Verdict::Dropped(why) => gauges.drops[why as usize].add(1),
        }
    }
}

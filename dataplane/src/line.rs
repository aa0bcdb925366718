//! The packet's way through a worker: stages over a whole burst, then a decision for each packet.
//!
//! Memory is slow and flows are many, so a burst is parsed and hashed first while the index lines are on their way,
//! then the entries are asked for, and only then is each packet looked at again.

mod admit;
mod advance;
pub mod defend;
pub mod ending;
mod errors;
mod express;
mod kernel;
mod leave;
mod modern;
mod originate;
pub mod outbox;
pub mod paths;
mod persist;
mod tell;
#[cfg(test)]
mod tests;
mod trains;
mod upkeep;
mod way;

use std::sync::Arc;

use crate::config::{HopId, NextHop, Note, Policy, Snapshot, WorkerRings};
use crate::conn::slab::prefetch_at;
use crate::conn::{ConnId, Direction, Guess, Quotas, Shared, Table};
use crate::flow::{Key, Key4, Ports};
use crate::forward::{self, Departure, fragment};
use crate::icmp::{self, Message};
use crate::io::{BURST, Batch};
use crate::packet::Packet;
use crate::parse::{self, Kind, Parsed, Plain};
use crate::sched::{self, Load, Memory};
use crate::service::DestinationId;
use crate::stats::Board;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::MacBytes;
use crate::wire::{ipv4::Ipv4Hdr, ipv6::Ipv6Hdr, protocol};

use defend::Defence;
use ending::Ending;
pub use outbox::{KernelRing, Outbox};
use paths::Paths;

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

/// What the first stage found out about a packet.
///
/// Of a plain packet for us it is in the first line, and `parsed` says nothing but for the key of IPv6.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Work {
    key: Key4,
    plain: Plain,
    step: Step,
    hash: u64,
    guess: Guess,
    parsed: Parsed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A plain packet of IPv4, for the express way if it finds its connection.
    Express,
    /// The same of IPv6.
    Express6,
    Find,
    Gather,
    ToKernel,
    HandOff(WorkerId),
    Drop(DropReason),
}

impl Work {
    /// What is known of a packet that may be anything.
    fn of(parsed: Parsed, hash: u64, step: Step) -> Work {
        let key = Key4 { src: 0, dst: 0, ports: Ports(0), protocol: 0 };
        Work { key, plain: Plain::NOTHING, step, hash, guess: Guess::NONE, parsed }
    }

    /// The key of a plain packet.
    fn key(&self) -> Key {
        if self.step == Step::Express6 { self.parsed.key } else { Key::V4(self.key) }
    }
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
    /// The connection that served the packet in hand and no other, and which way that went.
    pub last_one_packet: Option<(ConnId, Direction)>,
    /// The packet in hand is the first fragment of several.
    pub in_train: bool,
    /// When schedulers, templates and paths were last seen to.
    pub tended: Tick,
    /// Connections that are to expire now.
    pub ending: Ending,
    /// Connections of removed destinations are looked for from here on.
    pub flush_from: Option<u32>,
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

/// Room for the first stage's findings about a burst.
pub fn works() -> Box<[Work]> {
    let nothing = Work::of(Parsed::NOTHING, 0, Step::ToKernel);
    vec![nothing; BURST].into_boxed_slice()
}

impl Line {
    /// Takes a burst to its verdicts.
    #[inline(always)]
    fn run_burst<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        // Taken out for the burst, so that the line itself can be changed while they are looked at.
        let mut works = std::mem::take(&mut self.works);
        for (place, (packet, work)) in packets.iter().zip(&mut works).enumerate() {
            if let Some(ahead) = packets.get(place + AHEAD) {
                prefetch_at(ahead.bytes(), 0);
            }
            self.read(packet.bytes(), arrival, work);
        }
        for work in &mut works[..packets.len()] {
            if matches!(work.step, Step::Express | Step::Express6 | Step::Find) {
                work.guess = self.conns.prefetch_entry(work.hash);
            }
        }
        for (packet, work) in packets.drain(..).zip(&works) {
            self.dispatch(packet, work, arrival, out);
        }
        self.works = works;
    }

    /// First stage: parse, steer, hash, ask for the index line.
    #[inline(always)]
    fn read(&self, frame: &[u8], arrival: &Arrival, work: &mut Work) {
        let Some((plain, key)) = Plain::read(frame, &arrival.mac) else {
            return self.read_other(frame, arrival, work);
        };
        (work.plain, work.key, work.step) = (plain, key, Step::Express);
        if self.steering.workers > 1 {
            work.step = self.steer_plain(&plain, Key::V4(key), arrival.port);
        }
        work.hash = self.conns.hash(&Key::V4(key));
        self.conns.prefetch_line(work.hash);
    }

    /// The same for packets that are not plain IPv4.
    #[inline(never)]
    fn read_other(&self, frame: &[u8], arrival: &Arrival, work: &mut Work) {
        let Some((plain, key)) = Plain::read6(frame, &arrival.mac) else {
            return self.read_any(frame, arrival, work);
        };
        let key = Key::V6(key);
        (work.plain, work.parsed.key, work.step) = (plain, key, Step::Express6);
        if self.steering.workers > 1 {
            work.step = self.steer_plain(&plain, key, arrival.port);
        }
        work.hash = self.conns.hash(&key);
        self.conns.prefetch_line(work.hash);
    }

    fn steer_plain(&self, plain: &Plain, key: Key, port: u16) -> Step {
        match (self.steer(&plain.parsed(key), port), key) {
            (Step::Find, Key::V4(_)) => Step::Express,
            (Step::Find, Key::V6(_)) => Step::Express6,
            (other, _) => other,
        }
    }

    /// The same for packets that are not plain.
    fn read_any(&self, frame: &[u8], arrival: &Arrival, work: &mut Work) {
        let port = arrival.port;
        work.step = match parse::parse_any(frame, &arrival.mac, &mut work.parsed) {
            Err(why) => Step::Drop(why),
            Ok(()) => match work.parsed.kind {
                Kind::Ipsec if self.snapshot.settings.is_off(work.parsed.protocol) => Step::ToKernel,
                Kind::Flow | Kind::Stub | Kind::Ipsec => self.steer(&work.parsed, port),
                Kind::IcmpError if self.is_tunnel(&work.parsed) => self.unwrap(frame, &mut work.parsed, port),
                Kind::IcmpError => self.steer(&work.parsed, port),
                Kind::TunnelError => self.unwrap(frame, &mut work.parsed, port),
                Kind::Other => Step::ToKernel,
                Kind::Fragment => self.fragment(frame, &work.parsed, arrival),
            },
        };
        if work.step == Step::Find {
            work.hash = self.hash_of(&work.parsed);
            self.conns.prefetch_line(work.hash);
        }
    }

    /// By which a packet's connection is found. What an error quotes went the other way.
    fn hash_of(&self, parsed: &Parsed) -> u64 {
        let quotes = parsed.kind == Kind::IcmpError;
        if quotes { self.conns.hash(&parsed.key.reversed()) } else { self.conns.hash(&parsed.key) }
    }

    /// Whether an error quotes a UDP datagram that is one of our GUE tunnels.
    fn is_tunnel(&self, parsed: &Parsed) -> bool {
        let (tunnels, to) = (&self.snapshot.services.gue_ends, parsed.key.dst());
        !tunnels.is_empty() && parsed.key.protocol() == protocol::UDP && tunnels.contains(&to)
    }

    /// An error about what may be a tunnel packet of ours: the flow is that of the packet inside.
    #[cold]
    fn unwrap(&self, frame: &[u8], parsed: &mut Parsed, port: u16) -> Step {
        if parse::inside(frame, parsed) { self.steer(parsed, port) } else { Step::ToKernel }
    }

    #[inline]
    fn steer(&self, parsed: &Parsed, port: u16) -> Step {
        if self.steering.workers == 1 {
            return Step::Find;
        }
        match self.steering.owner(parsed, port, &self.snapshot) {
            Some(owner) if owner != self.me => Step::HandOff(owner),
            _ => Step::Find,
        }
    }

    /// Last stage for one packet: decide, then make it so and count its verdict.
    #[inline(always)]
    fn dispatch<P: Packet>(&mut self, mut packet: P, work: &Work, arrival: &Arrival, out: &mut Outbox<P>) {
        let port = match work.step {
            Step::Express => self.dispatch4(&mut packet, work, arrival),
            Step::Express6 => self.dispatch6(&mut packet, work, arrival),
            _ => return self.take_long_way(packet, work, arrival, out),
        };
        let Some(port) = port else {
            let work = Work { step: Step::Find, parsed: work.plain.parsed(work.key()), ..*work };
            return self.take_long_way(packet, &work, arrival, out);
        };
        let verdict = out.send(port, packet);
        if verdict != Verdict::Sent {
            self.settle(verdict);
        }
    }

    #[inline(always)]
    fn dispatch4<P: Packet>(&mut self, packet: &mut P, work: &Work, arrival: &Arrival) -> Option<u16> {
        let found = match self.conns.confirm(work.guess, &work.key) {
            Some(found) => found,
            None => self.look_further(work)?,
        };
        self.express::<Ipv4Hdr, P>(packet, work, found, Table::address4, arrival.now)
    }

    #[inline(never)]
    fn dispatch6<P: Packet>(&mut self, packet: &mut P, work: &Work, arrival: &Arrival) -> Option<u16> {
        let Key::V6(key) = &work.parsed.key else { return None };
        let guess = self.conns.confirm6(work.guess, key);
        let found = guess.or_else(|| self.look_further(work))?;
        self.express::<Ipv6Hdr, P>(packet, work, found, Table::address6, arrival.now)
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

    /// Sends a packet to its next hop. `None` when it waits for the next hop's address.
    #[inline(always)]
    fn depart<P: Packet>(
        &mut self,
        mut packet: P,
        departure: Departure,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) -> Option<Verdict> {
        match departure.next {
            NextHop::Hop(id) => {
                let Some(hop) = self.snapshot.network.hop_at(id) else {
                    return Some(Verdict::Dropped(DropReason::NoRoute));
                };
                if packet.bytes().len() > usize::from(departure.l3) + usize::from(departure.mtu) {
                    return Some(self.depart_in_pieces(packet, departure, id, out));
                }
                Some(match forward::frame(&mut packet, &departure, hop) {
                    Ok(()) => out.send(hop.port, packet),
                    Err(why) => Verdict::Dropped(why),
                })
            }
            NextHop::Unresolved(link, address) => {
                // A full ring loses only a reminder: the next packet makes another.
                let _ = self.rings.notes.push(Note::Resolve(link, address));
                let waits = out.wait(packet, departure, arrival.now);
                if waits {
                    self.board.gauges.waiting.add(1);
                    return None;
                }
                Some(Verdict::Dropped(DropReason::NeighbourUnresolved))
            }
            NextHop::Local | NextHop::Kernel => Some(out.to_kernel(arrival.port, packet)),
            NextHop::None => Some(Verdict::Dropped(DropReason::NoRoute)),
        }
    }

    /// Sends a packet that its way cannot carry whole; the pieces past the first are counted apart.
    #[cold]
    fn depart_in_pieces<P: Packet>(
        &mut self,
        packet: P,
        departure: Departure,
        to: HopId,
        out: &mut Outbox<P>,
    ) -> Verdict {
        self.piece_id = self.piece_id.wrapping_add(0x9e37_79b9);
        let Some(hop) = self.snapshot.network.hop_at(to) else {
            return Verdict::Dropped(DropReason::NoRoute);
        };
        let (gauges, mut first) = (&self.board.gauges, None);
        let each = |mut piece: P| {
            let verdict = match forward::frame(&mut piece, &departure, hop) {
                Ok(()) => out.send(hop.port, piece),
                Err(why) => Verdict::Dropped(why),
            };
            if first.is_none() {
                first = Some(verdict);
                return;
            }
            gauges.pieces.add(1);
            if let Verdict::Dropped(why) = verdict {
                gauges.drops[why as usize].add(1);
            }
        };
        match fragment::cut(packet, departure.l3, departure.ipv6, departure.mtu, self.piece_id, each) {
            Ok(()) => first.unwrap_or(Verdict::Sent),
            Err(why) => Verdict::Dropped(why),
        }
    }

    /// Turns a packet into an ICMP message to its sender.
    fn answer<P: Packet>(
        &mut self,
        mut packet: P,
        parsed: &Parsed,
        message: Message,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        event!(self, Answered, |_| Record::of(&parsed.key, [message.answer as u32, 0, 0, 0]));
        let network = &self.snapshot.network;
        let (sender, asked) = parsed.ends(packet.bytes());
        let policy = Policy { from: Some(asked), mark: 0 };
        let back = network.target_by(sender, policy);
        // The address that was asked, if it is ours; IPv6 wants an address of the machine, not just a local route.
        let ours = if asked.is_ipv4() {
            network.is_local(asked, Policy::default())
        } else {
            network.local.contains(&asked)
        };
        let source = if ours { asked } else { back.source };
        if !ours
            && asked.is_ipv4()
            && network.is_local(
                asked,
                Policy { from: Some(sender), mark: self.mark(&parsed.key, parsed, arrival.port) },
            )
        {
            // It was taken in by a rule; an address that is not ours cannot be the source of an answer.
            return self.settle(Verdict::Dropped(DropReason::Unanswerable));
        }
        let mut len = 0;
        let made = icmp::answer(&mut packet, parsed, source, message, &mut self.ip_id);
        let verdict = match made {
            Ok(l3) => {
                len = (packet.bytes().len() - usize::from(l3)) as u16;
                let departure = Departure { l3, ipv6: asked.is_ipv6(), next: back.next, mtu: back.mtu };
                self.depart(packet, departure, arrival, out)
            }
            Err(why) => Some(Verdict::Dropped(why)),
        };
        match verdict {
            None => {}
            Some(Verdict::Sent) => {
                // IPVS sees its own messages pass, as it sees those of others.
                if let Some(id) = self.past_us(&parsed.key) {
                    self.count_out(id, len);
                }
                self.settle(Verdict::Answered(message.answer));
            }
            Some(other) => self.settle(other),
        }
    }
}

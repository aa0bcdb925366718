//! The packet's way through a worker: stages over a whole burst, then a decision for each packet.
//!
//! Memory is slow and flows are many, so a burst is parsed and hashed first while the index lines are on their way,
//! then the entries are asked for, and only then is each packet looked at again.

mod admit;
mod advance;
pub mod defend;
pub mod ending;
mod errors;
mod kernel;
mod leave;
pub mod outbox;
pub mod paths;
mod persist;
#[cfg(test)]
mod tests;
mod trains;
mod way;

use std::sync::Arc;

use crate::config::{Event, EventKind, HopId, NextHop, Note, Policy, Snapshot, WorkerRings};
use crate::conn::slab::prefetch;
use crate::conn::{ConnId, Flags, Quotas, Shared, Table};
use crate::forward::{self, Departure, fragment};
use crate::icmp::{self, Message};
use crate::io::{BURST, Batch};
use crate::packet::Packet;
use crate::parse::{self, Kind, Parsed, parse};
use crate::proto;
use crate::sched::{self, Load, Memory};
use crate::service::DestinationId;
use crate::stats::Board;
use crate::steer::{Steering, WorkerId};
use crate::time::{Millis, Tick};
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::MacBytes;
use crate::wire::protocol;

use defend::Defence;
use ending::Ending;
pub use outbox::{KernelRing, Outbox};
use paths::Paths;

/// Timers looked at after a burst: enough to keep up with connections made at line rate, few enough not to be felt.
const EXPIRE_BUDGET: u32 = 64;

/// How often schedulers, templates and paths are seen to.
const TEND: Millis = Millis(100);

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
#[derive(Clone, Copy)]
pub struct Work {
    parsed: Parsed,
    hash: u64,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Find,
    Gather,
    ToKernel,
    HandOff(WorkerId),
    Drop(DropReason),
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
    /// The connection that served the packet in hand and no other.
    pub last_one_packet: Option<ConnId>,
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
    let nothing = Work { parsed: Parsed::NOTHING, hash: 0, step: Step::ToKernel };
    vec![nothing; BURST].into_boxed_slice()
}

impl Line {
    /// Takes a burst to its verdicts.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        // Taken out for the burst, so that the line itself can be changed while they are looked at.
        let mut works = std::mem::take(&mut self.works);
        for (place, (packet, work)) in packets.iter().zip(&mut works).enumerate() {
            if let Some(ahead) = packets.get(place + AHEAD)
                && let Some(header) = ahead.bytes().first()
            {
                prefetch(header);
            }
            self.read(packet.bytes(), arrival, work);
        }
        for work in &works[..packets.len()] {
            if work.step == Step::Find {
                self.conns.prefetch_entry(work.hash);
            }
        }
        for (packet, work) in packets.drain(..).zip(&works) {
            self.dispatch(packet, work, arrival, out);
        }
        self.works = works;
    }

    /// First stage: parse, steer, hash, ask for the index line.
    #[inline]
    fn read(&self, frame: &[u8], arrival: &Arrival, work: &mut Work) {
        let port = arrival.port;
        work.step = match parse(frame, &arrival.mac, &mut work.parsed) {
            Err(why) => Step::Drop(why),
            Ok(()) => match work.parsed.kind {
                Kind::Flow | Kind::Stub | Kind::Ipsec => self.steer(&work.parsed, port),
                Kind::IcmpError if self.is_tunnel(&work.parsed) => self.unwrap(frame, &mut work.parsed, port),
                Kind::IcmpError => self.steer(&work.parsed, port),
                Kind::TunnelError => self.unwrap(frame, &mut work.parsed, port),
                Kind::Other => Step::ToKernel,
                Kind::Fragment => self.fragment(frame, &work.parsed, arrival),
            },
        };
        if work.step == Step::Find {
            let parsed = &work.parsed;
            let quotes = parsed.kind == Kind::IcmpError;
            work.hash =
                if quotes { self.conns.hash(&parsed.key.reversed()) } else { self.conns.hash(&parsed.key) };
            self.conns.prefetch_line(work.hash);
        }
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
    #[inline]
    fn dispatch<P: Packet>(&mut self, mut packet: P, work: &Work, arrival: &Arrival, out: &mut Outbox<P>) {
        let port = arrival.port;
        // What a frame has behind its IP packet is not the packet's.
        let end = usize::from(work.parsed.l3) + usize::from(work.parsed.len);
        let trail = packet.bytes().len().saturating_sub(end);
        let fate = match work.step {
            Step::Find => match work.parsed.kind {
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
            Step::Drop(why) => Fate::Drop(why),
        };
        match fate {
            Fate::Forward(departure) => {
                if trail > 0 {
                    packet.truncate(packet.bytes().len() - trail);
                }
                if let Some(verdict) = self.depart(packet, departure, arrival, out) {
                    self.settle(verdict);
                }
            }
            Fate::Answer(message) => self.answer(packet, &work.parsed, message, arrival, out),
            Fate::ToKernel => self.settle(out.to_kernel(port, packet)),
            Fate::Drop(why) => self.settle(Verdict::Dropped(why)),
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

    /// Forgets connections whose time is over.
    pub fn expire(&mut self, now: Tick) {
        self.take_leave(now);
        let mut budget = EXPIRE_BUDGET;
        while let Some(id) = self.conns.pop_expired(now, &mut budget) {
            self.forget(id, false);
        }
        if now.since(self.tended) >= TEND {
            self.tended = now;
            self.tend(now);
        }
        self.expire_early(now);
        if let Some(from) = self.flush_from {
            self.flush(from);
        }
    }

    /// `expire_nodest_conn`: connections of removed destinations end, a part of the table at a time.
    #[cold]
    fn flush(&mut self, from: u32) {
        const AT_ONCE: u32 = 4096;
        let end = from.saturating_add(AT_ONCE).min(self.conns.capacity());
        for id in (from..end).map(ConnId) {
            let entry = self.conns.entry(id);
            let of = self.snapshot.services.destination(DestinationId(entry.destination));
            if entry.flags.has(Flags::LIVE) && of.is_some_and(|d| !d.available) {
                self.forget(id, true);
            }
        }
        self.flush_from = (end < self.conns.capacity()).then_some(end);
        if self.flush_from.is_none() {
            let services = &self.snapshot.services;
            let stays = |id| services.destination(id).is_some_and(|d| d.available);
            let gone = |id| self.shared.quotas.count_template(id, false);
            self.shared.templates.retain(stays, gone);
        }
    }

    /// What is seen to a few times a second.
    #[cold]
    fn tend(&mut self, now: Tick) {
        self.expire_templates(now);
        self.paths.expire(now);
        for memory in &mut self.memories {
            memory.tend(now, &self.snapshot.settings);
        }
    }

    /// Ends a connection and takes it off its destination's counts. One that is `forced` to end takes its template
    /// along, if nothing else speaks for that.
    fn forget(&mut self, id: ConnId, forced: bool) {
        let entry = self.conns.entry(id);
        let of = DestinationId(entry.destination);
        if let Some(counters) = self.board.destinations.get(of.0 as usize) {
            counters.count(!entry.flags.has(Flags::INACTIVE), -1);
        }
        if let Some(destination) = self.snapshot.services.destination(of) {
            self.shared.quotas.unbind(of, destination);
        }
        self.half_open -= u32::from(proto::is_half_open(entry.protocol, entry.state));
        if let Some(template) = self.conns.template(id) {
            self.release_template(template, forced);
        }
        self.conns.remove(id);
    }

    /// Acts on `snapshot` from now on; gives back the one before.
    pub fn adopt(&mut self, snapshot: Box<Snapshot>, events: &[Event]) -> Box<Snapshot> {
        for (place, event) in events.iter().enumerate() {
            self.weigh(&snapshot, event, &events[..place]);
            let service = snapshot.services.service(event.service);
            if let (Some(service), Some(memory)) = (service, self.memories.get_mut(event.service.0 as usize))
            {
                memory.hear(service.scheduler, event);
            }
        }
        if snapshot.network.generation != self.snapshot.network.generation {
            self.paths.clear();
        }
        let removed = events.iter().any(|event| matches!(event.kind, EventKind::Removed(..)));
        if removed && snapshot.settings.expire_nodest_conn {
            self.flush_from = Some(0);
        }
        std::mem::replace(&mut self.snapshot, snapshot)
    }

    /// Thresholds that come or go with an edit change whose connections are counted.
    fn weigh(&self, new: &Snapshot, event: &Event, before: &[Event]) {
        let (id, clears) = match event.kind {
            EventKind::Added(id) => (id, true),
            EventKind::Edited { destination, clears } => (destination, clears),
            EventKind::Fresh | EventKind::Removed(..) => return,
        };
        let (old, new) = (self.snapshot.services.destination(id), new.services.destination(id));
        let load = self.board.destinations.get(id.0 as usize).map_or(Load::default(), |c| c.load());
        let told = |event: &Event| matches!(event.kind, EventKind::Added(of) | EventKind::Edited { destination: of, .. } if of == id);
        if before.iter().any(told) {
            // Counted already; only what the edit lifts is new.
            return self.shared.quotas.clear(id, clears);
        }
        if let (Some(old), Some(new)) = (old, new) {
            let clears = clears
                && (!matches!(event.kind, EventKind::Added(_)) || new.upper == 0 || new.upper > old.upper);
            self.shared.quotas.edited(id, old, new, (load.active + load.inactive).cast_signed(), clears);
        }
    }

    /// The connections from `page.from` on, as many as the page has room for.
    pub fn list(&self, page: &mut crate::config::Page, now: Tick) {
        const REACH: u32 = 4096;
        page.connections.clear();
        let mut at = Some(page.from);
        let mut reach = REACH;
        while let Some(from) = at {
            if page.connections.len() == page.connections.capacity() || reach == 0 {
                break;
            }
            let (id, next) = self.conns.next_live(from, reach);
            reach = reach.saturating_sub(next.unwrap_or(u32::MAX).saturating_sub(from));
            if let Some(id) = id {
                page.connections.push(self.listed(id, now));
            }
            at = next;
        }
        page.next = at;
    }

    fn listed(&self, id: ConnId, now: Tick) -> crate::config::ring::Connection {
        let (entry, mut endpoints) = (self.conns.entry(id), self.conns.endpoints(id));
        let destination = DestinationId(entry.destination);
        if let Some(configured) = self.snapshot.services.destination(destination) {
            endpoints.destination.address = configured.endpoint.address;
        }
        crate::config::ring::Connection {
            endpoints,
            protocol: entry.protocol,
            state: entry.state,
            destination: (!entry.flags.has(Flags::BYPASS)).then_some(destination),
            method: entry.flags.method(),
            expires: Millis(
                u32::try_from(self.conns.deadline(id, now).0.saturating_sub(now.0)).unwrap_or(u32::MAX),
            ),
            in_packets: entry.in_packets,
            inactive: entry.flags.has(Flags::INACTIVE),
            no_output: entry.flags.has(Flags::NO_OUTPUT),
        }
    }

    /// Shows on the board what the table holds.
    pub fn publish(&self) {
        let (gauges, used) = (&self.board.gauges, self.conns.used());
        gauges.connections_ipv4.set(used.ipv4.into());
        gauges.connections_ipv6.set(used.ipv6.into());
    }
}

//! Packets that came in fragments: gathered by one worker, decided about as the packet they were, sent on as they came.
//!
//! Only the first fragment has the ports, so no fragment's flow is known before the train is complete. All fragments of
//! a datagram meet at the worker that its addresses and identification choose; the complete train then goes to the
//! worker that owns the flow. The decision is made on the packet put together again in the [`Scratch`]; then every piece
//! is changed as the whole was, or would have been.

mod head;
mod scratch;

use super::outbox::{Outbox, RELAYED};
use super::{Arrival, Fate, Line, Step, Work};
use crate::conn::{ConnId, Direction, Flags};
use crate::forward::encap;
use crate::forward::{Departure, rewrite, train};
use crate::frag::{FragmentInfo, Outcome, Piece, Whole};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{self, Kind, Parsed};
use crate::service::DestinationId;
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv6::FragmentHdr;
use crate::wire::{protocol, view};

use head::beginning;
pub use scratch::Scratch;

/// What is known of the packet that a train was.
struct AsOne<'a> {
    /// As it would have been parsed; of IPv6 with the length of its longest fragment.
    parsed: Parsed,
    /// Its length.
    total: u16,
    /// The hops it had left when it was decided about.
    hops: u8,
    arrival: &'a Arrival,
}

impl Line {
    /// What to do with a fragment: those that may be of balanced traffic are gathered, where others of them are.
    pub(super) fn fragment(&self, frame: &[u8], parsed: &Parsed, arrival: &Arrival) -> Step {
        if !self.may_be_ours(frame, parsed) {
            return Step::ToKernel;
        }
        if self.steering.workers == 1 || arrival.relayed {
            return Step::Gather;
        }
        match FragmentInfo::read(frame, parsed.l3, parsed.is_ipv6()) {
            Some(info) => match self.steering.of_datagram(&info.datagram) {
                gatherer if gatherer == self.me => Step::Gather,
                gatherer => Step::HandOff(gatherer),
            },
            None => Step::Drop(DropReason::ShortIp),
        }
    }

    /// Whether a fragment may be of balanced traffic, or of an ICMP error about it: those have any ends.
    pub(super) fn may_be_ours(&self, frame: &[u8], parsed: &Parsed) -> bool {
        let services = &self.snapshot.services;
        !services.by_mark.is_empty()
            || services.addresses.contains(&parsed.key.dst_address())
            || services.addresses.contains(&parsed.key.src_address())
            || services.hooked[usize::from(parsed.is_ipv6())] && may_be_icmp(frame, parsed)
    }

    /// Puts a fragment with the others of its datagram; a complete train is decided about.
    #[cold]
    pub(super) fn gather<P: Packet>(
        &mut self,
        packet: P,
        parsed: &Parsed,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        let Some(info) = FragmentInfo::read(packet.bytes(), parsed.l3, parsed.is_ipv6()) else {
            return self.settle(Verdict::Dropped(DropReason::ShortIp));
        };
        if let Some(whole) = self.put_together(packet, &info, arrival.now, out) {
            self.complete(whole, parsed, arrival, out);
        }
    }

    /// Puts a fragment with the others of its datagram; gives them when it was the last one missing.
    pub(super) fn put_together<P: Packet>(
        &mut self,
        packet: P,
        info: &FragmentInfo,
        now: Tick,
        out: &mut Outbox<P>,
    ) -> Option<Whole<P>> {
        let drops = &self.board.gauges.drops;
        let outcome = out.trains.take(packet, info, now, |_, why| drops[why as usize].add(1));
        self.board.gauges.gathering.set(out.trains.held() as u64);
        match outcome {
            Outcome::Held => None,
            Outcome::Refused(_, why) => {
                self.settle(Verdict::Dropped(why));
                None
            }
            Outcome::Complete(whole) => Some(whole),
        }
    }

    fn complete<P: Packet>(
        &mut self,
        whole: Whole<P>,
        fragment: &Parsed,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        let Some(parsed) = self.read_train(&whole, fragment.is_ipv6(), arrival, &mut out.scratch) else {
            return self.give_to_kernel(whole, arrival, out);
        };
        let owner = self.steering.owner(&parsed, arrival.port, &self.snapshot);
        if !arrival.relayed
            && let Some(owner) = owner.filter(|&owner| owner != self.me)
        {
            return self.hand_train(whole, owner, arrival.port | RELAYED, out);
        }
        self.decide_train(whole, parsed, arrival, out);
    }

    /// What the packet is, now that it is in the scratch as if it had come whole; `None` when it is none of a
    /// balancer's.
    pub(super) fn read_train<P: Packet>(
        &self,
        whole: &Whole<P>,
        ipv6: bool,
        arrival: &Arrival,
        scratch: &mut Scratch,
    ) -> Option<Parsed> {
        scratch.join(whole, ipv6)?;
        let (frame, mut parsed) = (scratch.bytes(), Parsed::NOTHING);
        parse::parse_any(frame, &arrival.mac, &mut parsed).ok()?;
        let ours = match parsed.kind {
            Kind::Flow | Kind::Stub => true,
            Kind::Ipsec => !self.snapshot.settings.is_off(parsed.protocol),
            Kind::IcmpError if !self.is_tunnel(&parsed) => true,
            Kind::IcmpError | Kind::TunnelError => parse::inside(frame, &mut parsed),
            Kind::Fragment | Kind::Other => false,
        };
        ours.then_some(parsed)
    }

    fn give_to_kernel<P: Packet>(&self, whole: Whole<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        for piece in whole.pieces {
            self.settle(out.to_kernel(arrival.port, piece.packet));
        }
    }

    /// Hands a complete train to the worker that owns its flow.
    pub(super) fn hand_train<P: Packet>(
        &self,
        whole: Whole<P>,
        owner: WorkerId,
        port: u16,
        out: &mut Outbox<P>,
    ) {
        for piece in whole.pieces {
            self.settle(out.hand_off(owner, port, piece.packet));
        }
    }

    fn decide_train<P: Packet>(
        &mut self,
        whole: Whole<P>,
        mut parsed: Parsed,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        // IPv6 may not be fragmented on the way, so its fragments must fit and not their sum; spec 6.7.
        let total = parsed.len;
        if parsed.is_ipv6() {
            parsed.len = whole.largest();
        }
        let work = Work::of(parsed, self.hash_of(&parsed), Step::Find);
        let mut scratch = std::mem::take(&mut out.scratch);
        let before = self.found_by(&work).map(|(id, _)| (id, self.conns.entry(id).in_packets));
        self.in_train = true;
        let fate = match parsed.kind {
            Kind::IcmpError => self.relate(&mut scratch, &work, arrival),
            Kind::TunnelError => {
                let told = self.relate_tunnel(scratch.bytes(), &work, arrival.now);
                told.map_or_else(|fate| fate, |(_, message)| Fate::Answer(message))
            }
            _ => self.decide(&mut scratch, &work, arrival),
        };
        self.in_train = false;
        let hops = rewrite::hops_left(scratch.bytes(), &parsed);
        out.scratch = scratch;
        let found = self.found_by(&work);
        if let Some((id, direction)) = found {
            let counted = match direction {
                Direction::In => before != Some((id, self.conns.entry(id).in_packets)),
                Direction::Out => matches!(fate, Fate::Forward(_)),
            };
            // It may be more: a lone fragment has a header that the packet has not.
            let rest = u64::from(total).wrapping_sub(parsed.len.into());
            self.count_rest(id, direction, if counted { rest } else { 0 });
        }
        self.carry_out(whole, fate, found, &AsOne { parsed, total, hops, arrival }, out);
        self.end_one_packet();
    }

    /// The connection of a packet, which may have served it alone.
    fn found_by(&self, work: &Work) -> Option<(ConnId, Direction)> {
        match (self.last_one_packet, work.parsed.kind) {
            (Some(found), _) => Some(found),
            (None, Kind::IcmpError) => self.conns.find(work.hash, &work.parsed.key.reversed()),
            (None, _) => self.conns.find(work.hash, &work.parsed.key),
        }
    }

    /// Bytes are counted of the packet that the fragments were.
    fn count_rest(&self, id: ConnId, direction: Direction, rest: u64) {
        let Some(counters) = self.board.destinations.get(self.conns.entry(id).destination as usize) else {
            return;
        };
        let bytes = if direction == Direction::In { &counters.in_bytes } else { &counters.out_bytes };
        bytes.add(rest);
    }

    /// Does with every fragment what was decided about the packet.
    fn carry_out<P: Packet>(
        &mut self,
        mut whole: Whole<P>,
        fate: Fate,
        found: Option<(ConnId, Direction)>,
        of: &AsOne<'_>,
        out: &mut Outbox<P>,
    ) {
        let (parsed, arrival) = (&of.parsed, of.arrival);
        match (fate, found) {
            (Fate::Forward(departure), Some((id, direction))) => {
                if self.conns.entry(id).flags.has(Flags::NAT) && parsed.is_error() {
                    out.scratch.put_back(&mut whole, parsed.is_ipv6());
                } else if self.conns.entry(id).flags.has(Flags::NAT) {
                    let (entry, end) = (self.conns.entry(id), self.end(id, direction));
                    train::translate(&mut whole, parsed.is_ipv6(), entry, direction, end);
                }
                for piece in whole.pieces {
                    self.send_piece(piece, departure, id, of, out);
                }
            }
            (Fate::Answer(message), _) => self.answer_train(whole, message, of, out),
            (Fate::ToKernel, _) | (Fate::Forward(_), None) => self.give_to_kernel(whole, arrival, out),
            (Fate::Drop(why), _) => {
                self.dropped(parsed, why);
                for _ in 1..whole.pieces.len() {
                    self.settle(Verdict::Dropped(why));
                }
            }
        }
    }

    /// Answers the packet once, whose fragments are then over.
    fn answer_train<P: Packet>(
        &mut self,
        whole: Whole<P>,
        message: Message,
        of: &AsOne<'_>,
        out: &mut Outbox<P>,
    ) {
        match beginning(&whole, of) {
            Some((packet, parsed)) => {
                let about_tunnel = parsed.kind == Kind::TunnelError;
                let quoted = if about_tunnel { parsed.quoted() } else { parsed };
                self.answer(packet, &quoted, message, of.arrival, out);
            }
            None => self.settle(Verdict::Dropped(DropReason::NoBuffer)),
        }
        for _ in 1..whole.pieces.len() {
            self.settle(Verdict::Dropped(DropReason::AnsweredTrain));
        }
    }

    /// Sends one fragment the way of its packet.
    fn send_piece<P: Packet>(
        &mut self,
        piece: Piece<P>,
        departure: Departure,
        id: ConnId,
        of: &AsOne<'_>,
        out: &mut Outbox<P>,
    ) {
        let (parsed, arrival) = (&of.parsed, of.arrival);
        let Piece { mut packet, place } = piece;
        packet.truncate(usize::from(place.payload) + usize::from(place.len));
        let mut departure = Departure { l3: place.l3, ipv6: parsed.is_ipv6(), ..departure };
        if !departure.next.stays_here() {
            rewrite::take_hop(packet.bytes_mut(), place.l3, departure.ipv6);
            if self.conns.entry(id).flags.has(Flags::TUNNEL) {
                match self.wrap(&mut packet, (place.l3, departure.ipv6, place.packet_len()), parsed, id) {
                    Ok((l3, ipv6)) => (departure.l3, departure.ipv6) = (l3, ipv6),
                    Err(why) => return self.settle(Verdict::Dropped(why)),
                }
            }
        }
        if let Some(verdict) = self.depart(packet, departure, arrival, out) {
            self.settle(verdict);
        }
    }

    /// Puts the tunnel's headers around a fragment; gives where they start and whether they are IPv6.
    fn wrap<P: Packet>(
        &mut self,
        packet: &mut P,
        place: (u16, bool, u16),
        parsed: &Parsed,
        id: ConnId,
    ) -> Result<(u16, bool), DropReason> {
        let number = DestinationId(self.conns.entry(id).destination);
        let destination = self.snapshot.services.destination(number).ok_or(DropReason::DestinationGone)?;
        let target = self.snapshot.target(destination.target).ok_or(DropReason::NoRoute)?;
        let (outer, flow) = self.outer(destination, target.source, parsed);
        let to = outer.target;
        let l3 = encap::tunnel(packet, place, &outer, flow, &mut self.ip_id)?;
        Ok((l3, to.is_ipv6()))
    }
}

/// Whether a fragment may be of an ICMP message. What an IPv6 packet is may stand behind more headers, in the first.
fn may_be_icmp(frame: &[u8], parsed: &Parsed) -> bool {
    if !parsed.is_ipv6() {
        return parsed.protocol == protocol::ICMP;
    }
    let header: Option<&FragmentHdr> = view(frame, parsed.l4.into());
    header.is_some_and(|header| matches!(header.next, 0 | 43 | 60 | protocol::ICMPV6))
}

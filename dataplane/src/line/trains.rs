//! Packets that came in fragments: gathered by one worker, decided about as the packet they were, sent on as they came.
//!
//! Only the first fragment has the ports, so no fragment's flow is known before the train is complete. All fragments of
//! a datagram meet at the worker that its addresses and identification choose; the complete train then goes to the
//! worker that owns the flow. The decision is made on a copy of the first fragment's headers, as if the packet had been
//! put together again; then every piece is changed as the whole would have been.

use super::outbox::{Outbox, RELAYED};
use super::{Arrival, Fate, Line, Step, Work};
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::{Key, Ports};
use crate::forward::encap;
use crate::forward::{Departure, rewrite, train};
use crate::frag::{FragmentInfo, Outcome, Piece, Whole};
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::service::DestinationId;
use crate::steer::WorkerId;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::{protocol, sctp, tcp, view_mut};

/// Bytes of a first fragment that a decision may look at, and room in front for headers that are tried out.
const LOOK: usize = 2048;
const ROOM: usize = 128;

/// The copy that decisions are made on.
pub struct Scratch {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { buffer: vec![0; ROOM + LOOK].into_boxed_slice(), start: ROOM, end: ROOM }
    }
}

impl Scratch {
    /// Takes in the beginning of a frame.
    pub(super) fn copy(&mut self, frame: &[u8]) {
        let count = frame.len().min(LOOK);
        (self.start, self.end) = (ROOM, ROOM + count);
        self.buffer[ROOM..ROOM + count].copy_from_slice(&frame[..count]);
    }
}

impl Packet for Scratch {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn push_front(&mut self, count: usize) -> bool {
        let fits = count <= self.start;
        self.start -= if fits { count } else { 0 };
        fits
    }

    fn pull_front(&mut self, count: usize) -> bool {
        let fits = count <= self.end - self.start;
        self.start += if fits { count } else { 0 };
        fits
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    fn sibling(&self, _: usize) -> Option<Scratch> {
        None
    }
}

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
        let services = &self.snapshot.services;
        let ours = !services.by_mark.is_empty()
            || services.addresses.contains(&parsed.key.dst_address())
            || services.addresses.contains(&parsed.key.src_address());
        if !ours || matches!(parsed.protocol, protocol::ICMP | protocol::ICMPV6) {
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
        let drops = &self.board.gauges.drops;
        let outcome = out.trains.take(packet, &info, arrival.now, |_, why| drops[why as usize].add(1));
        match outcome {
            Outcome::Held => {}
            Outcome::Refused(_, why) => self.settle(Verdict::Dropped(why)),
            Outcome::Complete(whole) => self.complete(whole, parsed, arrival, out),
        }
        self.board.gauges.gathering.set(out.trains.held() as u64);
    }

    fn complete<P: Packet>(
        &mut self,
        whole: Whole<P>,
        fragment: &Parsed,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        let Some(parsed) = as_one(&whole, fragment) else {
            return self.give_to_kernel(whole, arrival, out);
        };
        let owner = self.steering.owner(&parsed, arrival.port, &self.snapshot);
        if !arrival.relayed
            && let Some(owner) = owner.filter(|&owner| owner != self.me)
        {
            return self.relay(whole, owner, arrival, out);
        }
        self.decide_train(whole, parsed, arrival, out);
    }

    fn give_to_kernel<P: Packet>(&self, whole: Whole<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        for piece in whole.pieces {
            self.settle(out.to_kernel(arrival.port, piece.packet));
        }
    }

    /// Hands a complete train to the worker that owns its flow.
    fn relay<P: Packet>(&self, whole: Whole<P>, owner: WorkerId, arrival: &Arrival, out: &mut Outbox<P>) {
        for piece in whole.pieces {
            self.settle(out.hand_off(owner, arrival.port | RELAYED, piece.packet));
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
        let work = Work::of(parsed, self.conns.hash(&parsed.key), Step::Find);
        let mut scratch = std::mem::take(&mut out.scratch);
        if let Some(first) = whole.pieces.first() {
            scratch.copy(first.packet.bytes());
        }
        self.in_train = true;
        let fate = self.decide(&mut scratch, &work, arrival);
        self.in_train = false;
        let hops = rewrite::hops_left(scratch.bytes(), &work.parsed);
        out.scratch = scratch;
        let found = match self.last_one_packet {
            Some(found) => Some(found),
            None => self.conns.find(work.hash, &work.parsed.key),
        };
        if let Some((id, direction)) = found {
            // What was counted may be more: a lone fragment has a header that the packet has not.
            self.count_rest(id, direction, u64::from(total).wrapping_sub(parsed.len.into()));
        }
        self.carry_out(whole, fate, found, &AsOne { parsed: work.parsed, total, hops, arrival }, out);
        self.end_one_packet();
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
                if self.conns.entry(id).flags.has(Flags::NAT) {
                    let (entry, end) = (self.conns.entry(id), self.end(id, direction));
                    train::translate(&mut whole, parsed.is_ipv6(), entry, direction, end);
                }
                for piece in whole.pieces {
                    self.send_piece(piece, departure, id, of, out);
                }
            }
            (Fate::Answer(message), _) => {
                let others = whole.pieces.len() - 1;
                match beginning(&whole, of) {
                    Some((packet, quoted)) => self.answer(packet, &quoted, message, arrival, out),
                    None => self.settle(Verdict::Dropped(DropReason::NoBuffer)),
                }
                for _ in 0..others {
                    self.settle(Verdict::Dropped(DropReason::AnsweredTrain));
                }
            }
            (Fate::ToKernel, _) | (Fate::Forward(_), None) => self.give_to_kernel(whole, arrival, out),
            (Fate::Drop(why), _) => {
                for _ in whole.pieces {
                    self.settle(Verdict::Dropped(why));
                }
            }
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

/// What the packet would have been parsed as, had it come whole. `None` when its transport header is not all there, or
/// when no packet can be that long: the first fragment may have more headers than the others.
fn as_one<P: Packet>(whole: &Whole<P>, fragment: &Parsed) -> Option<Parsed> {
    let first = whole.pieces.first()?;
    let (protocol, at) = whole.transport()?;
    let mut ports = [0; 4];
    whole.read(at, &mut ports).then_some(())?;
    let ports =
        Ports::new(u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]));
    let tcp_flags = match protocol {
        protocol::TCP => byte(whole, at + 13)?,
        protocol::SCTP => match byte(whole, at + sctp::LEN)? {
            sctp::INIT => tcp::SYN,
            sctp::ABORT => tcp::RST,
            _ => 0,
        },
        protocol::UDP => 0,
        _ => return None,
    };
    let key = match fragment.key {
        Key::V4(key) => Key::V4(crate::flow::Key4 { ports, protocol, ..key }),
        Key::V6(key) => Key::V6(crate::flow::Key6 { ports, protocol, ..key }),
    };
    let fragment_header = if fragment.is_ipv6() { ipv6::FRAGMENT_LEN as u16 } else { 0 };
    let headers = first.place.payload - first.place.l3 - fragment_header;
    Some(Parsed {
        key,
        kind: Kind::Flow,
        l3: first.place.l3,
        l4: first.place.payload.checked_add(u16::try_from(at).ok()?)?,
        len: headers.checked_add(whole.len)?,
        tcp_flags,
        state_flags: tcp_flags,
        protocol,
        ..*fragment
    })
}

fn byte<P: Packet>(whole: &Whole<P>, at: usize) -> Option<u8> {
    let mut byte = [0];
    whole.read(at, &mut byte).then_some(byte[0])
}

/// As much of a packet as an error may quote.
const QUOTED: usize = 1280;

/// The beginning of the packet that a train was, in a buffer of its own.
fn beginning<P: Packet>(whole: &Whole<P>, of: &AsOne) -> Option<(P, Parsed)> {
    let first = whole.pieces.first()?;
    let (l3, payload) = (usize::from(first.place.l3), usize::from(first.place.payload));
    let gap = if of.parsed.is_ipv6() { ipv6::FRAGMENT_LEN } else { 0 };
    let headers = payload.checked_sub(gap)?;
    let count = usize::from(whole.len).min(QUOTED);
    let mut packet = first.packet.sibling(headers + count)?;
    let frame = packet.bytes_mut();
    frame.get_mut(..headers)?.copy_from_slice(first.packet.bytes().get(..headers)?);
    if !whole.read(0, frame.get_mut(headers..)?) {
        return None;
    }
    if of.parsed.is_ipv6() {
        close_gap(&mut frame[l3..headers], whole.protocol, of)?;
    } else {
        let ip: &mut Ipv4Hdr = view_mut(frame, l3)?;
        ip.len.set(of.total);
        ip.ttl = of.hops;
        let kept = ip.fragment.get() & ipv4::DF;
        ip.fragment.set(kept);
        ipv4::fill_checksum(&mut frame[l3..]);
    }
    let here = (headers - l3 + count) as u16;
    Some((packet, Parsed { len: of.total.min(here), l4: headers as u16, ..of.parsed }))
}

/// Makes IPv6 headers, from which the fragment header at their end was cut, say what follows now.
fn close_gap(headers: &mut [u8], protocol: u8, of: &AsOne) -> Option<()> {
    let ip: &mut Ipv6Hdr = view_mut(headers, 0)?;
    ip.len.set(of.total - ipv6::LEN as u16);
    ip.hop_limit = of.hops;
    let (mut next_at, mut at) = (6, ipv6::LEN);
    while at < headers.len() {
        next_at = at;
        at += (usize::from(*headers.get(at + 1)?) + 1) * 8;
    }
    headers[next_at] = protocol;
    Some(())
}

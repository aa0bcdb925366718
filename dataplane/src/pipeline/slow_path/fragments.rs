//! Packets that came in fragments: gathered by one worker, decided about as the packet they were, sent on as they came.
//!
//! Only the first fragment has the ports, so no fragment's flow is known before the train is complete. All fragments of
//! a datagram meet at the worker that its addresses and identification choose; the complete train then goes to the
//! worker that owns the flow. The decision is made on the packet put together again in the [`ReassemblyBuffer`]; then every piece
//! is changed as the whole was, or would have been.

use crate::conn::{ConnId, Direction, Flags};
use crate::forward::encap;
use crate::forward::{Egress, rewrite};
use crate::fragments::head::{WholePacket, beginning};
use crate::fragments::{Datagram, Fragment, FragmentInfo, Outcome, ReassemblyBuffer, translate};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{self, Kind, Parsed};
use crate::pipeline::egress::tx_buffers::{RELAYED, TxBuffers};
use crate::pipeline::{Decision, NextStage, PacketMeta, Pipeline, RxContext};
use crate::service::DestinationId;
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv6::FragmentHdr;
use crate::wire::{protocol, view};

/// A reassembled packet and how it was received.
struct Context<'a> {
    whole: WholePacket,
    rx: &'a RxContext,
}

impl Pipeline {
    /// What to do with a fragment: those that may be of balanced traffic are gathered, where others of them are.
    pub(crate) fn fragment(&self, frame: &[u8], parsed: &Parsed, rx: &RxContext) -> NextStage {
        if !self.may_be_ours(frame, parsed) {
            return NextStage::ToKernel;
        }
        if self.steering.workers == 1 || rx.relayed {
            return NextStage::Reassemble;
        }
        match FragmentInfo::read(frame, parsed.l3, parsed.is_ipv6()) {
            Some(info) => match self.steering.of_datagram(&info.datagram) {
                gatherer if gatherer == self.me => NextStage::Reassemble,
                gatherer => NextStage::HandOff(gatherer),
            },
            None => NextStage::Drop(DropReason::ShortIp),
        }
    }

    /// Whether a fragment may be of balanced traffic, or of an ICMP error about it: those have any ends.
    pub(crate) fn may_be_ours(&self, frame: &[u8], parsed: &Parsed) -> bool {
        let services = &self.snapshot.services;
        !services.by_fwmark.is_empty()
            || services.addresses.contains(&parsed.key.dst_address())
            || services.addresses.contains(&parsed.key.src_address())
            || services.hooked[usize::from(parsed.is_ipv6())] && may_be_icmp(frame, parsed)
    }

    /// Puts a fragment with the others of its datagram; a complete train is decided about.
    #[cold]
    pub(crate) fn reassemble<P: Packet>(
        &mut self,
        packet: P,
        parsed: &Parsed,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) {
        let Some(info) = FragmentInfo::read(packet.bytes(), parsed.l3, parsed.is_ipv6()) else {
            return self.count_verdict(Verdict::Dropped(DropReason::ShortIp));
        };
        if let Some(datagram) = self.add_fragment(packet, &info, rx.now, out) {
            self.complete(datagram, parsed, rx, out);
        }
    }

    /// Puts a fragment with the others of its datagram; gives them when it was the last one missing.
    pub(crate) fn add_fragment<P: Packet>(
        &mut self,
        packet: P,
        info: &FragmentInfo,
        now: Tick,
        out: &mut TxBuffers<P>,
    ) -> Option<Datagram<P>> {
        let drops = &self.stats.counters.drops;
        let outcome = out.reassembler.take(packet, info, now, |_, why| drops[why as usize].add(1));
        self.stats.counters.reassembling.set(out.reassembler.held() as u64);
        match outcome {
            Outcome::Held => None,
            Outcome::Refused(_, why) => {
                self.count_verdict(Verdict::Dropped(why));
                None
            }
            Outcome::Complete(datagram) => Some(datagram),
        }
    }

    fn complete<P: Packet>(
        &mut self,
        datagram: Datagram<P>,
        fragment: &Parsed,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) {
        let Some(parsed) = self.parse_datagram(&datagram, fragment.is_ipv6(), rx, &mut out.reassembly_buffer)
        else {
            return self.give_to_kernel(datagram, rx, out);
        };
        let owner = self.steering.owner(&parsed, rx.port, &self.snapshot);
        if !rx.relayed
            && let Some(owner) = owner.filter(|&owner| owner != self.me)
        {
            return self.hand_off_datagram(datagram, owner, rx.port | RELAYED, out);
        }
        self.decide_datagram(datagram, parsed, rx, out);
    }

    /// What the packet is, now that it is in the scratch as if it had come whole; `None` when it is none of a
    /// balancer's.
    pub(crate) fn parse_datagram<P: Packet>(
        &self,
        datagram: &Datagram<P>,
        ipv6: bool,
        rx: &RxContext,
        reassembly_buffer: &mut ReassemblyBuffer,
    ) -> Option<Parsed> {
        reassembly_buffer.join(datagram, ipv6)?;
        let (frame, mut parsed) = (reassembly_buffer.bytes(), Parsed::NOTHING);
        parse::parse_any(frame, &rx.mac, &mut parsed).ok()?;
        let ours = match parsed.kind {
            Kind::Flow | Kind::TruncatedL4 => true,
            Kind::Ipsec => !self.snapshot.settings.is_off(parsed.protocol),
            Kind::IcmpError if !self.is_tunnel(&parsed) => true,
            Kind::IcmpError | Kind::TunnelError => parse::inside(frame, &mut parsed),
            Kind::Fragment | Kind::Other => false,
        };
        ours.then_some(parsed)
    }

    fn give_to_kernel<P: Packet>(&self, datagram: Datagram<P>, rx: &RxContext, out: &mut TxBuffers<P>) {
        for fragment in datagram.fragments {
            self.count_verdict(out.to_kernel(rx.port, fragment.packet));
        }
    }

    /// Hands a complete train to the worker that owns its flow.
    pub(crate) fn hand_off_datagram<P: Packet>(
        &self,
        datagram: Datagram<P>,
        owner: WorkerId,
        port: u16,
        out: &mut TxBuffers<P>,
    ) {
        for fragment in datagram.fragments {
            self.count_verdict(out.hand_off(owner, port, fragment.packet));
        }
    }

    fn decide_datagram<P: Packet>(
        &mut self,
        datagram: Datagram<P>,
        mut parsed: Parsed,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) {
        // IPv6 may not be fragmented on the way, so its fragments must fit and not their sum; spec 6.7.
        let total = parsed.len;
        if parsed.is_ipv6() {
            parsed.len = datagram.largest();
        }
        let meta = PacketMeta::of(parsed, self.hash_of(&parsed), NextStage::Lookup);
        let mut reassembly_buffer = std::mem::take(&mut out.reassembly_buffer);
        let before = self.found_by(&meta).map(|(id, _)| (id, self.conns.entry(id).in_packets));
        self.in_datagram = true;
        let decision = match parsed.kind {
            Kind::IcmpError => self.icmp_error(&mut reassembly_buffer, &meta, rx),
            Kind::TunnelError => {
                let connection_record = self.tunnel_icmp_error(reassembly_buffer.bytes(), &meta, rx.now);
                connection_record.map_or_else(|decision| decision, |(_, message)| Decision::SendIcmp(message))
            }
            _ => self.decide(&mut reassembly_buffer, &meta, rx),
        };
        self.in_datagram = false;
        let hops = rewrite::hops_left(reassembly_buffer.bytes(), &parsed);
        out.reassembly_buffer = reassembly_buffer;
        let found = self.found_by(&meta);
        if let Some((id, direction)) = found {
            let counted = match direction {
                Direction::In => before != Some((id, self.conns.entry(id).in_packets)),
                Direction::Out => matches!(decision, Decision::Forward(_)),
            };
            // It may be more: a lone fragment has a header that the packet has not.
            let rest = u64::from(total).wrapping_sub(parsed.len.into());
            self.count_rest(id, direction, if counted { rest } else { 0 });
        }
        self.apply_to_fragments(
            datagram,
            decision,
            found,
            &Context { whole: WholePacket { parsed, total, hops }, rx },
            out,
        );
        self.end_ops();
    }

    /// The connection of a packet, which may have served it alone.
    fn found_by(&self, meta: &PacketMeta) -> Option<(ConnId, Direction)> {
        match (self.last_ops, meta.parsed.kind) {
            (Some(found), _) => Some(found),
            (None, Kind::IcmpError) => self.conns.find(meta.hash, &meta.parsed.key.reversed()),
            (None, _) => self.conns.find(meta.hash, &meta.parsed.key),
        }
    }

    /// Bytes are counted of the packet that the fragments were.
    fn count_rest(&self, id: ConnId, direction: Direction, rest: u64) {
        let Some(counters) = self.stats.destinations.get(self.conns.entry(id).destination as usize) else {
            return;
        };
        let bytes = if direction == Direction::In { &counters.in_bytes } else { &counters.out_bytes };
        bytes.add(rest);
    }

    /// Does with every fragment what was decided about the packet.
    fn apply_to_fragments<P: Packet>(
        &mut self,
        mut datagram: Datagram<P>,
        decision: Decision,
        found: Option<(ConnId, Direction)>,
        of: &Context<'_>,
        out: &mut TxBuffers<P>,
    ) {
        let (parsed, rx) = (&of.whole.parsed, of.rx);
        match (decision, found) {
            (Decision::Forward(egress), Some((id, direction))) => {
                if self.conns.entry(id).flags.has(Flags::NAT) && parsed.is_error() {
                    out.reassembly_buffer.put_back(&mut datagram, parsed.is_ipv6());
                } else if self.conns.entry(id).flags.has(Flags::NAT) {
                    let rewrite = self.rewrite(id, direction);
                    translate::translate(&mut datagram, parsed.is_ipv6(), &rewrite);
                }
                for fragment in datagram.fragments {
                    self.send_fragment(fragment, egress, id, of, out);
                }
            }
            (Decision::SendIcmp(message), _) => self.send_icmp_for_datagram(datagram, message, of, out),
            (Decision::ToKernel, _) | (Decision::Forward(_), None) => self.give_to_kernel(datagram, rx, out),
            (Decision::Drop(why), _) => {
                self.dropped(parsed, why);
                for _ in 1..datagram.fragments.len() {
                    self.count_verdict(Verdict::Dropped(why));
                }
            }
        }
    }

    /// Answers the packet once, whose fragments are then over.
    fn send_icmp_for_datagram<P: Packet>(
        &mut self,
        datagram: Datagram<P>,
        message: Message,
        of: &Context<'_>,
        out: &mut TxBuffers<P>,
    ) {
        match beginning(&datagram, &of.whole) {
            Some((packet, parsed)) => {
                let about_tunnel = parsed.kind == Kind::TunnelError;
                let quoted = if about_tunnel { parsed.quoted() } else { parsed };
                self.send_icmp(packet, &quoted, message, of.rx, out);
            }
            None => self.count_verdict(Verdict::Dropped(DropReason::NoBuffer)),
        }
        for _ in 1..datagram.fragments.len() {
            self.count_verdict(Verdict::Dropped(DropReason::DatagramAnswered));
        }
    }

    /// Sends one fragment the way of its packet.
    fn send_fragment<P: Packet>(
        &mut self,
        fragment: Fragment<P>,
        egress: Egress,
        id: ConnId,
        of: &Context<'_>,
        out: &mut TxBuffers<P>,
    ) {
        let (parsed, rx) = (&of.whole.parsed, of.rx);
        let Fragment { mut packet, place } = fragment;
        packet.truncate(usize::from(place.payload) + usize::from(place.len));
        let mut egress = Egress { l3: place.l3, ipv6: parsed.is_ipv6(), ..egress };
        if !egress.next.stays_here() {
            rewrite::take_hop(packet.bytes_mut(), place.l3, egress.ipv6);
            if self.conns.entry(id).flags.has(Flags::TUNNEL) {
                match self.wrap(&mut packet, (place.l3, egress.ipv6, place.packet_len()), parsed, id) {
                    Ok((l3, ipv6)) => (egress.l3, egress.ipv6) = (l3, ipv6),
                    Err(why) => return self.count_verdict(Verdict::Dropped(why)),
                }
            }
        }
        if let Some(verdict) = self.send(packet, egress, rx, out) {
            self.count_verdict(verdict);
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

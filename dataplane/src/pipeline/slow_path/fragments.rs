//! Fragmented datagrams: reassembled by one worker, decided about as one packet, sent on as the fragments they came in.
//!
//! Only the first fragment has the ports, so a fragment's flow is known only when its datagram is complete. All fragments
//! of a datagram meet at the worker that its addresses and identification choose; the complete datagram goes from there to
//! the worker that owns the flow. The decision is made on the packet in the [`ReassemblyBuffer`] and carried out on every
//! fragment.

use crate::conn::Direction;
use crate::forward::{Egress, rewrite};
use crate::fragments::head::{WholePacket, beginning};
use crate::fragments::{Datagram, Fragment, FragmentInfo, Outcome as Added, ReassemblyBuffer, translate};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{self, Kind, Parsed};
use crate::pipeline::egress::tx_buffers::{RELAYED, TxBuffers};
use crate::pipeline::outcome::{Decision, Flow, Forward, Outcome, Transform, Transit};
use crate::pipeline::{NextStage, PacketMeta, Pipeline, RxContext};
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv6::{self, FragmentHdr};
use crate::wire::{IpSpan, protocol, view};

/// A reassembled packet and how it was received.
struct Context<'a> {
    whole: WholePacket,
    rx: &'a RxContext,
}

impl Pipeline {
    /// The next stage of a fragment: reassembly, at the worker where the others of its datagram arrive, if it may be balanced
    /// traffic.
    pub(crate) fn steer_fragment(&self, frame: &[u8], parsed: &Parsed, rx: &RxContext) -> NextStage {
        if !self.may_be_balanced(frame, parsed) {
            return NextStage::ToKernel;
        }
        if self.steering.workers == 1 || rx.relayed {
            return NextStage::Reassemble;
        }
        match FragmentInfo::read(frame, parsed.l3, parsed.is_ipv6()) {
            Some(info) => match self.steering.datagram_owner(&info.datagram) {
                worker if worker == self.worker_id => NextStage::Reassemble,
                worker => NextStage::HandOff(worker),
            },
            None => NextStage::Drop(DropReason::ShortIp),
        }
    }

    /// Returns whether a fragment may be of balanced traffic, or of an ICMP error about it, which can have any addresses.
    pub(crate) fn may_be_balanced(&self, frame: &[u8], parsed: &Parsed) -> bool {
        let services = &self.snapshot.services;
        !services.by_fwmark.is_empty()
            || services.addresses.contains(&parsed.key.dst_address())
            || services.addresses.contains(&parsed.key.src_address())
            || services.hooked[usize::from(parsed.is_ipv6())] && may_be_icmp(frame, parsed)
    }

    /// Adds a fragment to its datagram; a complete datagram is taken to its verdict. The other fragments' verdicts are
    /// counted here, this one's by the caller.
    #[cold]
    pub(crate) fn reassemble<P: Packet>(
        &mut self,
        packet: P,
        parsed: &Parsed,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let Some(info) = FragmentInfo::read(packet.bytes(), parsed.l3, parsed.is_ipv6()) else {
            return Verdict::Dropped(DropReason::ShortIp);
        };
        match self.add_fragment(packet, &info, rx.now, tx) {
            Ok(datagram) => self.datagram(datagram, rx, tx),
            Err(verdict) => verdict,
        }
    }

    /// Adds a fragment to its datagram. Returns the datagram if that was the last fragment missing.
    ///
    /// # Errors
    /// The fragment's verdict if the datagram is not complete.
    pub(crate) fn add_fragment<P: Packet>(
        &mut self,
        packet: P,
        info: &FragmentInfo,
        now: Tick,
        tx: &mut TxBuffers<P>,
    ) -> Result<Datagram<P>, Verdict> {
        let drops = &self.stats.counters.drops;
        let added = tx.reassembler.take(packet, info, now, |_, why| drops[why as usize].add(1));
        self.stats.counters.reassembling.set(tx.reassembler.held() as u64);
        match added {
            Added::Held => Err(Verdict::Held),
            Added::Refused(_, why) => Err(Verdict::Dropped(why)),
            Added::Complete(datagram) => Ok(datagram),
        }
    }

    /// Takes a complete datagram to its verdict: here, or at the worker that owns its flow.
    fn datagram<P: Packet>(
        &mut self,
        datagram: Datagram<P>,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let Some(parsed) = self.parse_datagram(&datagram, &mut tx.reassembly_buffer) else {
            return self.for_each_fragment(datagram, |packet| tx.to_kernel(rx.port, packet));
        };
        let owner = self.steering.owner(&parsed, rx.port, &self.snapshot);
        if !rx.relayed
            && let Some(owner) = owner.filter(|&owner| owner != self.worker_id)
        {
            return self.hand_off_datagram(datagram, owner, rx.port | RELAYED, tx);
        }
        self.decide_datagram(datagram, parsed, rx, tx)
    }

    /// Parses a datagram as if it had arrived whole; it is in `buffer` afterwards. `None` if it is not balanced traffic.
    pub(crate) fn parse_datagram<P: Packet>(
        &self,
        datagram: &Datagram<P>,
        buffer: &mut ReassemblyBuffer,
    ) -> Option<Parsed> {
        buffer.join(datagram)?;
        let (frame, mut parsed) = (buffer.bytes(), Parsed::NOTHING);
        parse::parse(frame, &mut parsed).ok()?;
        let ours = match parsed.kind {
            Kind::Flow | Kind::TruncatedL4 => true,
            Kind::Ipsec => !self.snapshot.settings.is_off(parsed.protocol),
            Kind::IcmpError if !self.is_tunnel(&parsed) => true,
            Kind::IcmpError | Kind::TunnelError => parse::inside(frame, &mut parsed),
            Kind::Fragment | Kind::Other => false,
        };
        ours.then_some(parsed)
    }

    /// Hands a complete datagram to the worker that owns its flow.
    pub(crate) fn hand_off_datagram<P: Packet>(
        &self,
        datagram: Datagram<P>,
        owner: WorkerId,
        port: u16,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        self.for_each_fragment(datagram, |packet| tx.hand_off(owner, port, packet))
    }

    /// Takes every fragment to a verdict. Counts them all except the last, whose verdict is returned for the caller to
    /// count.
    pub(crate) fn for_each_fragment<P: Packet>(
        &self,
        datagram: Datagram<P>,
        mut each: impl FnMut(P) -> Verdict,
    ) -> Verdict {
        let verdicts = datagram.fragments.into_iter().map(|fragment| each(fragment.packet));
        self.count_all_but_last(verdicts)
    }

    /// Counts verdicts except the last, which is returned. There is at least one.
    fn count_all_but_last(&self, verdicts: impl Iterator<Item = Verdict>) -> Verdict {
        let counted = |before: Verdict, verdict| {
            self.count_verdict(before);
            verdict
        };
        verdicts.reduce(counted).unwrap_or(Verdict::Held)
    }

    /// Decides about the whole packet, then does with every fragment what was decided.
    fn decide_datagram<P: Packet>(
        &mut self,
        datagram: Datagram<P>,
        mut parsed: Parsed,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        // A router may not fragment IPv6, so each fragment must fit the link and not their sum; spec 6.7.
        let total = parsed.len;
        if parsed.is_ipv6() {
            parsed.len = datagram.largest();
        }
        let meta = PacketMeta::of(parsed, self.hash_of(&parsed), NextStage::Lookup);
        let frame = tx.reassembly_buffer.bytes();
        let outcome = self.decide(frame, &meta, rx);
        let ttl = rewrite::ttl(frame, &parsed);
        if let (true, Some(flow)) = (outcome.counted, outcome.flow) {
            // `parsed.len` may be longer: a lone fragment has a header that the packet has not.
            self.count_rest(flow, u64::from(total).wrapping_sub(parsed.len.into()));
        }
        let whole = WholePacket { parsed, total, ttl };
        let verdict = self.carry_out_on_fragments(datagram, &outcome, &Context { whole, rx }, tx);
        self.end_one_packet_connection(&outcome);
        verdict
    }

    /// Counts the bytes of a datagram that its largest fragment does not have.
    fn count_rest(&self, flow: Flow, rest: u64) {
        let destination = self.conns.entry(flow.id).destination as usize;
        let Some(counters) = self.stats.destinations.get(destination) else { return };
        match flow.direction {
            Direction::In => counters.in_bytes.add(rest),
            Direction::Out => counters.out_bytes.add(rest),
        }
    }

    /// Does with every fragment what was decided about their packet.
    fn carry_out_on_fragments<P: Packet>(
        &mut self,
        mut datagram: Datagram<P>,
        outcome: &Outcome,
        context: &Context<'_>,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let (parsed, rx) = (&context.whole.parsed, context.rx);
        match (outcome.decision, outcome.flow) {
            (Decision::Forward(forward), Some(flow)) => {
                if forward.transform == Transform::Nat {
                    self.rewrite_datagram(&mut datagram, parsed, flow, &mut tx.reassembly_buffer);
                }
                let fragments = std::mem::take(&mut datagram.fragments);
                let mut last = Verdict::Held;
                for (index, fragment) in fragments.into_iter().enumerate() {
                    if index > 0 {
                        self.count_verdict(last);
                    }
                    last = self.send_fragment(fragment, forward, flow, context, tx);
                }
                last
            }
            (Decision::SendIcmp(message, transit), _) => {
                self.send_icmp_for_datagram(&datagram, message, transit, context, tx)
            }
            (Decision::ToKernel | Decision::Forward(_), _) => {
                self.for_each_fragment(datagram, |packet| tx.to_kernel(rx.port, packet))
            }
            (Decision::Drop(why), _) => {
                (1..datagram.fragments.len()).for_each(|_| self.count_verdict(Verdict::Dropped(why)));
                self.dropped(parsed, why)
            }
        }
    }

    /// Rewrites a datagram of a NAT connection. An ICMP error is rewritten as a whole and copied back into its fragments.
    pub(crate) fn rewrite_datagram<P: Packet>(
        &self,
        datagram: &mut Datagram<P>,
        parsed: &Parsed,
        flow: Flow,
        buffer: &mut ReassemblyBuffer,
    ) {
        if parsed.is_error() {
            self.rewrite(buffer.bytes_mut(), parsed, flow);
            buffer.put_back(datagram);
        } else {
            translate::translate(datagram, &self.rewrite_of(flow));
        }
    }

    /// Sends one ICMP error about a datagram. Its fragments are dropped with it.
    fn send_icmp_for_datagram<P: Packet>(
        &mut self,
        datagram: &Datagram<P>,
        message: Message,
        transit: Transit,
        context: &Context<'_>,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let answered = Verdict::Dropped(DropReason::DatagramAnswered);
        (1..datagram.fragments.len()).for_each(|_| self.count_verdict(answered));
        let ttl = context.whole.ttl.wrapping_sub(transit.decrement_ttl.into());
        let Some((packet, parsed)) = beginning(datagram, &WholePacket { ttl, ..context.whole }) else {
            return Verdict::Dropped(DropReason::NoBuffer);
        };
        let about = if parsed.kind == Kind::TunnelError { parsed.quoted() } else { parsed };
        self.send_icmp(packet, &about, message, context.rx, tx)
    }

    /// Sends one fragment as was decided about its packet.
    fn send_fragment<P: Packet>(
        &mut self,
        fragment: Fragment<P>,
        forward: Forward,
        flow: Flow,
        context: &Context<'_>,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let (parsed, rx) = (&context.whole.parsed, context.rx);
        let Fragment { mut packet, position } = fragment;
        packet.truncate(usize::from(position.payload) + usize::from(position.len));
        let mut egress =
            Egress { l3: position.l3, ipv6: parsed.is_ipv6(), next: forward.next, mtu: forward.mtu };
        if forward.transit.decrement_ttl && !forward.next.goes_to_kernel() {
            rewrite::decrement_ttl(packet.bytes_mut(), position.l3, egress.ipv6);
        }
        if forward.transform == Transform::Tunnel {
            let inner = IpSpan { l3: position.l3, ipv6: egress.ipv6, len: position.packet_len() };
            match self.encapsulate(&mut packet, inner, parsed, flow.id) {
                Ok((l3, ipv6)) => (egress.l3, egress.ipv6) = (l3, ipv6),
                Err(why) => return Verdict::Dropped(why),
            }
        }
        self.send(packet, egress, rx, tx)
    }
}

/// Returns whether a fragment may be of an ICMP message. In IPv6 more headers may come first.
fn may_be_icmp(frame: &[u8], parsed: &Parsed) -> bool {
    if !parsed.is_ipv6() {
        return parsed.protocol == protocol::ICMP;
    }
    let header: Option<&FragmentHdr> = view(frame, parsed.l4.into());
    header.is_some_and(|header| header.next == protocol::ICMPV6 || ipv6::is_extension(header.next))
}

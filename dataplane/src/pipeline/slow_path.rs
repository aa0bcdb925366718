//! The slow path: every packet that the fast path does not take.
//!
//! A packet is decided about first ([`Pipeline::decide`]), without a change to its bytes; then the decision is carried out,
//! on the packet ([`Pipeline::carry_out`]) or on each fragment of it ([`fragments`]).

pub(crate) mod features;
mod fragments;
mod from_client;
mod from_kernel;
mod from_server;
mod icmp_errors;
mod leave;
mod persistence;
mod schedule;
mod server_calls;
mod state;

use super::outcome::{Decision, Flow, Forward, Outcome, Transform};
use super::{NextStage, PacketMeta, Pipeline, RxContext, TxBuffers};
use crate::conn::{ConnId, Direction, Flags};
use crate::forward::Egress;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::verdict::{DropReason, SlowPathReason, Verdict};

impl Pipeline {
    /// Takes a packet to its verdict, whatever it is.
    #[inline(never)]
    pub(super) fn slow_path<P: Packet>(
        &mut self,
        packet: P,
        meta: &PacketMeta,
        why: SlowPathReason,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let why = match (why, meta.parsed.kind) {
            (SlowPathReason::NotPlain, Kind::Fragment) => SlowPathReason::Fragment,
            (SlowPathReason::NotPlain, Kind::IcmpError | Kind::TunnelError) => SlowPathReason::IcmpError,
            (why, _) => why,
        };
        self.stats.counters.slow_path[why as usize].add(1);
        match meta.next {
            NextStage::Lookup | NextStage::FastPath4 | NextStage::FastPath6 => {
                let outcome = self.decide(packet.bytes(), meta, rx);
                let verdict = self.carry_out(packet, &meta.parsed, &outcome, rx, tx);
                self.end_one_packet_connection(&outcome);
                verdict
            }
            NextStage::Reassemble => self.reassemble(packet, &meta.parsed, rx, tx),
            NextStage::ToKernel => tx.to_kernel(rx.port, packet),
            NextStage::HandOff(owner) => tx.hand_off(owner, rx.port, packet),
            NextStage::Drop(why) => self.unreadable(why),
        }
    }

    /// Decides about a packet whose flow this worker owns.
    pub(crate) fn decide(&mut self, frame: &[u8], meta: &PacketMeta, rx: &RxContext) -> Outcome {
        match meta.parsed.kind {
            Kind::IcmpError => self.icmp_error(frame, meta, rx),
            Kind::TunnelError => self.tunnel_error(frame, meta, rx.now),
            _ => match self.conns.find(meta.hash, &meta.parsed.key) {
                Some((id, Direction::In)) => self.decide_from_client(frame, meta, id, rx),
                Some((id, Direction::Out)) => self.decide_from_server(frame, &meta.parsed, id, rx.now),
                None => self.schedule(frame, meta, rx),
            },
        }
    }

    /// Does with a packet what was decided about it.
    fn carry_out<P: Packet>(
        &mut self,
        mut packet: P,
        parsed: &Parsed,
        outcome: &Outcome,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        match (outcome.decision, outcome.flow) {
            (Decision::Forward(forward), Some(flow)) => {
                // A frame may be longer than its IP packet.
                packet.truncate(usize::from(parsed.l3) + usize::from(parsed.len));
                match self.transform(&mut packet, parsed, flow, &forward) {
                    Ok(egress) => {
                        let verdict = self.send(packet, egress, rx, tx);
                        self.trace_not_sent(verdict);
                        verdict
                    }
                    Err(why) => self.dropped(parsed, why),
                }
            }
            (Decision::SendIcmp(message, transit), _) => {
                transit.apply(packet.bytes_mut(), parsed);
                let about = if parsed.kind == Kind::TunnelError { parsed.quoted() } else { *parsed };
                self.send_icmp(packet, &about, message, rx, tx)
            }
            (Decision::ToKernel | Decision::Forward(_), _) => tx.to_kernel(rx.port, packet),
            (Decision::Drop(why), _) => self.dropped(parsed, why),
        }
    }

    /// Changes a packet by its connection's forwarding method.
    ///
    /// # Errors
    /// Why the packet cannot be changed so.
    fn transform<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        flow: Flow,
        forward: &Forward,
    ) -> Result<Egress, DropReason> {
        forward.transit.apply(packet.bytes_mut(), parsed);
        let mut egress =
            Egress { l3: parsed.l3, ipv6: parsed.is_ipv6(), next: forward.next, mtu: forward.mtu };
        match forward.transform {
            Transform::None => {}
            Transform::Nat => self.rewrite(packet.bytes_mut(), parsed, flow),
            Transform::Tunnel => {
                (egress.l3, egress.ipv6) = self.encapsulate(packet, parsed.span(), parsed, flow.id)?;
            }
        }
        Ok(egress)
    }

    /// Ends the connection of a packet if it was for that packet alone.
    fn end_one_packet_connection(&mut self, outcome: &Outcome) {
        if let Some(flow) = outcome.flow {
            self.end_if_one_packet(flow.id);
        }
    }

    /// A connection of one-packet scheduling ends with its packet. No index has it, so only that packet can find it.
    fn end_if_one_packet(&mut self, id: ConnId) {
        if self.conns.entry(id).flags.has(Flags::OPS) {
            self.remove_connection(id, false);
        }
    }
}

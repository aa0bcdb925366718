//! ICMP errors that quote a packet of ours; spec 6.8.

use crate::config::Policy;
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::{Egress, encap, rewrite};
use crate::icmp::{self, Message};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::pipeline::egress::route;
use crate::pipeline::slow_path::schedule::NewFlow;
use crate::pipeline::{Decision, PacketMeta, Pipeline, RxContext};
use crate::service::DestinationId;
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::view;

/// Type and code of an ICMP error.
fn icmp_type(frame: &[u8], parsed: &Parsed) -> [u32; 4] {
    let word = |at: usize| frame.get(usize::from(parsed.l4) + at).copied().map_or(0, u32::from);
    [word(0), word(1), 0, 0]
}

/// Linux 6.1 takes an IPv4 header's length off path MTUs above this.
const LEAST_REDUCED: u16 = 68 + ipv4::LEN as u16;

impl Pipeline {
    /// Decides about an ICMP error. It travels against the packet it quotes, so that packet reversed names the flow.
    #[cold]
    pub(crate) fn icmp_error<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        rx: &RxContext,
    ) -> Decision {
        let parsed = &meta.parsed;
        if !self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            return Decision::ToKernel;
        }
        let key = parsed.key.reversed();
        event!(self, IcmpError, |_| Record::of(&key, icmp_type(packet.bytes(), parsed)));
        match self.conns.find(meta.hash, &key) {
            Some((id, Direction::In)) => self.error_from_client(packet, parsed, id),
            Some((id, Direction::Out)) => self.error_from_server(packet, parsed, id),
            None => match self.direct_reply_connection(&parsed.key) {
                // About a client's packet to a destination that answers past us: nothing to translate, and counted
                // when the kernel sends it on.
                Some(_) => Decision::ToKernel,
                None => self.error_without_connection(packet, meta, key, rx),
            },
        }
    }

    /// The connection of a client's packet whose destination answers past us.
    pub(crate) fn direct_reply_connection(&self, key: &Key) -> Option<ConnId> {
        let (id, direction) = self.conns.find(self.conns.hash(key), key)?;
        (direction == Direction::In && !self.conns.entry(id).flags.has(Flags::NAT)).then_some(id)
    }

    fn error_from_client<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId) -> Decision {
        // That of ICMPv6 is the receiver's business.
        if !parsed.is_ipv6() && !icmp::checksum_is_right(packet.bytes(), parsed) {
            return Decision::Drop(DropReason::BadIcmpChecksum);
        }
        self.count_in(id, parsed.len);
        self.route_to_destination(packet, parsed, id)
    }

    fn error_from_server<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId) -> Decision {
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return route::ttl_exceeded(parsed);
        }
        if !self.passes(packet.bytes(), parsed) {
            return Decision::Drop(DropReason::BadIcmpChecksum);
        }
        let (next, mtu) = self.route_to_client(id);
        if let Some(decision) = route::too_big(packet.bytes(), parsed, mtu) {
            return decision;
        }
        self.count_out(id, parsed.len);
        icmp::translate(packet.bytes_mut(), parsed, &self.rewrite(id, Direction::Out));
        let ipv6 = parsed.is_ipv6();
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        Decision::Forward(Egress { l3: parsed.l3, ipv6, next, mtu })
    }

    /// Whether the checksum of an error from a destination's side is right. Linux 6.1 forgets ICMPv6's pseudo header.
    fn passes(&self, frame: &[u8], parsed: &Parsed) -> bool {
        if self.snapshot.settings.like_linux_6_1 && parsed.is_ipv6() {
            return icmp::checksum_is_right_without_pseudo(frame, parsed);
        }
        icmp::checksum_is_right(frame, parsed)
    }

    /// An error about a packet of no connection: with `schedule_icmp` it opens the one the packet would have been of.
    fn error_without_connection<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        key: Key,
        rx: &RxContext,
    ) -> Decision {
        let (parsed, now) = (&meta.parsed, rx.now);
        if !self.snapshot.settings.schedule_icmp
            || !parsed.ports_quoted
            || self.snapshot.settings.is_off(key.protocol())
        {
            return Decision::ToKernel;
        }
        let fwmark = self.fwmark(&parsed.outer_key(packet.bytes()), parsed, rx.port);
        let Some(service) = self.snapshot.services.lookup(key.dst(), key.protocol(), fwmark) else {
            return Decision::ToKernel;
        };
        if self.drops_at_random(&key) {
            return Decision::Drop(DropReason::Defence);
        }
        let opening = NewFlow { key, service, quoted: true };
        let id = match self.open_for_packet(packet, parsed, &opening, now) {
            Ok(id) => id,
            Err(decision) => return decision,
        };
        let decision = self.error_from_client(packet, parsed, id);
        if self.conns.entry(id).flags.has(Flags::OPS) {
            self.end_after_packet(id, Direction::In);
        }
        decision
    }

    /// An error about a packet that perhaps was in a tunnel of ours. The inner packet's connection says to whom it
    /// matters: the client hears that its packet was too big, or whatever else the error says.
    ///
    /// # Errors
    /// The packet's fate when nothing is said: not ours, or nobody wants to know.
    #[cold]
    pub(crate) fn tunnel_icmp_error(
        &mut self,
        frame: &[u8],
        meta: &PacketMeta,
        now: Tick,
    ) -> Result<(Parsed, Message), Decision> {
        let parsed = &meta.parsed;
        let local = self.snapshot.network.is_local(parsed.ends(frame).1, Policy::default());
        let Some((id, Direction::In)) = self.conns.find(meta.hash, &parsed.key).filter(|_| local) else {
            return Err(Decision::ToKernel);
        };
        if !icmp::checksum_is_right(frame, parsed) {
            return Err(Decision::Drop(DropReason::BadIcmpChecksum));
        }
        let inner = parsed.quoted();
        let message = match icmp::next_mtu(frame, parsed) {
            Some(mtu) => {
                let connection_record = self.learn_pmtu(id, mtu, now)?;
                let dont_fragment =
                    view::<Ipv4Hdr>(frame, inner.l3.into()).is_some_and(|ip| ip.dont_fragment());
                if !dont_fragment {
                    return Err(Decision::Drop(DropReason::PmtuLearnt));
                }
                Message { mtu: connection_record, ..Message::new(IcmpReason::FragmentationNeeded) }
            }
            None => {
                Message { like: icmp::type_code_word(frame, parsed), ..Message::new(IcmpReason::TunnelError) }
            }
        };
        self.count_out(id, inner.len);
        Ok((inner, message))
    }

    /// Takes note of the MTU of the way to a connection's destination; gives the one to tell the client.
    fn learn_pmtu(&mut self, id: ConnId, mtu: u16, now: Tick) -> Result<u16, Decision> {
        let number = DestinationId(self.conns.entry(id).destination);
        let Some(destination) = self.snapshot.services.destination(number) else {
            return Err(Decision::Drop(DropReason::DestinationGone));
        };
        let Some(target) = self.snapshot.target(destination.target) else {
            return Err(Decision::Drop(DropReason::NoRoute));
        };
        let (before, learnt) = self.pmtu.learn(destination.target, target.mtu, mtu, now);
        let (kind, to) = (route::tunnel_kind(destination), destination.endpoint.address);
        if !self.snapshot.settings.like_linux_6_1 {
            return Ok(learnt.saturating_sub(encap::overhead(kind, &to)));
        }
        Ok(if before > LEAST_REDUCED { before - ipv4::LEN as u16 } else { before })
    }
}

//! ICMP errors that quote a packet of ours; spec 6.8.

use super::admit::Opening;
use super::{Arrival, Fate, Line, Work, way};
use crate::config::Policy;
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::{Departure, encap, rewrite};
use crate::icmp::{self, Message};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::service::DestinationId;
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{Answer, DropReason};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::view;

/// Type and code of an ICMP error.
fn icmp_type(frame: &[u8], parsed: &Parsed) -> [u32; 4] {
    let word = |at: usize| frame.get(usize::from(parsed.l4) + at).copied().map_or(0, u32::from);
    [word(0), word(1), 0, 0]
}

/// Linux 6.1 takes an IPv4 header's length off path MTUs above this.
const LEAST_REDUCED: u16 = 68 + ipv4::LEN as u16;

impl Line {
    /// Decides about an ICMP error. It travels against the packet it quotes, so that packet reversed names the flow.
    #[cold]
    pub(super) fn relate<P: Packet>(&mut self, packet: &mut P, work: &Work, arrival: &Arrival) -> Fate {
        let parsed = &work.parsed;
        if !self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            return Fate::ToKernel;
        }
        let key = parsed.key.reversed();
        event!(self, IcmpError, |_| Record::of(&key, icmp_type(packet.bytes(), parsed)));
        match self.conns.find(work.hash, &key) {
            Some((id, Direction::In)) => self.error_inwards(packet, parsed, id),
            Some((id, Direction::Out)) => self.error_outwards(packet, parsed, id),
            None => match self.past_us(&parsed.key) {
                // About a client's packet to a destination that answers past us: nothing to translate, and counted
                // when the kernel sends it on.
                Some(_) => Fate::ToKernel,
                None => self.error_of_nobody(packet, work, key, arrival),
            },
        }
    }

    /// The connection of a client's packet whose destination answers past us.
    pub(super) fn past_us(&self, key: &Key) -> Option<ConnId> {
        let (id, direction) = self.conns.find(self.conns.hash(key), key)?;
        (direction == Direction::In && !self.conns.entry(id).flags.has(Flags::NAT)).then_some(id)
    }

    fn error_inwards<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId) -> Fate {
        // That of ICMPv6 is the receiver's business.
        if !parsed.is_ipv6() && !icmp::checksum_is_right(packet.bytes(), parsed) {
            return Fate::Drop(DropReason::BadIcmpChecksum);
        }
        self.count_in(id, parsed.len);
        self.towards_destination(packet, parsed, id)
    }

    fn error_outwards<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId) -> Fate {
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return way::ttl_exceeded(parsed);
        }
        if !self.passes(packet.bytes(), parsed) {
            return Fate::Drop(DropReason::BadIcmpChecksum);
        }
        let (next, mtu) = self.towards_client(id);
        if let Some(fate) = way::too_big(packet.bytes(), parsed, mtu) {
            return fate;
        }
        self.count_out(id, parsed.len);
        let end = self.end(id, Direction::Out);
        icmp::translate(packet.bytes_mut(), parsed, Direction::Out, end);
        let ipv6 = parsed.is_ipv6();
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        Fate::Forward(Departure { l3: parsed.l3, ipv6, next, mtu })
    }

    /// Whether the checksum of an error from a destination's side is right. Linux 6.1 forgets ICMPv6's pseudo header.
    fn passes(&self, frame: &[u8], parsed: &Parsed) -> bool {
        if self.snapshot.settings.like_linux_6_1 && parsed.is_ipv6() {
            return icmp::checksum_is_right_without_pseudo(frame, parsed);
        }
        icmp::checksum_is_right(frame, parsed)
    }

    /// An error about a packet of no connection: with `schedule_icmp` it opens the one the packet would have been of.
    fn error_of_nobody<P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        key: Key,
        arrival: &Arrival,
    ) -> Fate {
        let (parsed, now) = (&work.parsed, arrival.now);
        if !self.snapshot.settings.schedule_icmp
            || !parsed.ports_quoted
            || self.snapshot.settings.is_off(key.protocol())
        {
            return Fate::ToKernel;
        }
        let mark = self.mark(&parsed.outer_key(packet.bytes()), parsed, arrival.port);
        let Some(service) = self.snapshot.services.lookup(key.dst(), key.protocol(), mark) else {
            return Fate::ToKernel;
        };
        if self.drops_at_random(&key) {
            return Fate::Drop(DropReason::Defence);
        }
        let opening = Opening { key, service, quoted: true };
        let id = match self.open_for(packet, parsed, &opening, now) {
            Ok(id) => id,
            Err(fate) => return fate,
        };
        let fate = self.error_inwards(packet, parsed, id);
        if self.conns.entry(id).flags.has(Flags::ONE_PACKET) {
            self.served_one(id, Direction::In);
        }
        fate
    }

    /// An error about a packet that perhaps was in a tunnel of ours. The inner packet's connection says to whom it
    /// matters: the client hears that its packet was too big, or whatever else the error says.
    ///
    /// # Errors
    /// The packet's fate when nothing is said: not ours, or nobody wants to know.
    #[cold]
    pub(super) fn relate_tunnel(
        &mut self,
        frame: &[u8],
        work: &Work,
        now: Tick,
    ) -> Result<(Parsed, Message), Fate> {
        let parsed = &work.parsed;
        let local = self.snapshot.network.is_local(parsed.ends(frame).1, Policy::default());
        let Some((id, Direction::In)) = self.conns.find(work.hash, &parsed.key).filter(|_| local) else {
            return Err(Fate::ToKernel);
        };
        if !icmp::checksum_is_right(frame, parsed) {
            return Err(Fate::Drop(DropReason::BadIcmpChecksum));
        }
        let inner = parsed.quoted();
        let message = match icmp::next_mtu(frame, parsed) {
            Some(mtu) => {
                let told = self.learn_path(id, mtu, now)?;
                let dont_fragment =
                    view::<Ipv4Hdr>(frame, inner.l3.into()).is_some_and(|ip| ip.dont_fragment());
                if !dont_fragment {
                    return Err(Fate::Drop(DropReason::PathLearnt));
                }
                Message { mtu: told, ..Message::new(Answer::FragmentationNeeded) }
            }
            None => {
                Message { like: icmp::type_code_word(frame, parsed), ..Message::new(Answer::TunnelError) }
            }
        };
        self.count_out(id, inner.len);
        Ok((inner, message))
    }

    /// Takes note of the MTU of the way to a connection's destination; gives the one to tell the client.
    fn learn_path(&mut self, id: ConnId, mtu: u16, now: Tick) -> Result<u16, Fate> {
        let number = DestinationId(self.conns.entry(id).destination);
        let Some(destination) = self.snapshot.services.destination(number) else {
            return Err(Fate::Drop(DropReason::DestinationGone));
        };
        let Some(target) = self.snapshot.target(destination.target) else {
            return Err(Fate::Drop(DropReason::NoRoute));
        };
        let (before, learnt) = self.paths.learn(destination.target, target.mtu, mtu, now);
        let (kind, to) = (way::tunnel_kind(destination), destination.endpoint.address);
        if !self.snapshot.settings.like_linux_6_1 {
            return Ok(learnt.saturating_sub(encap::overhead(kind, &to)));
        }
        Ok(if before > LEAST_REDUCED { before - ipv4::LEN as u16 } else { before })
    }
}

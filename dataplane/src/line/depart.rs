//! How packets leave the line: to their next hop, whole or in pieces, or as an answer to their sender.

use super::outbox::Outbox;
use super::{Arrival, Line};
use crate::config::{HopId, NextHop, Note, Policy};
use crate::forward::{self, Departure, fragment};
use crate::icmp::{self, Message};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::trace::{Record, event};
use crate::verdict::{DropReason, Verdict};

impl Line {
    /// Sends a packet to its next hop. `None` when it waits for the next hop's address.
    #[inline(always)]
    pub(super) fn depart<P: Packet>(
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
    pub(super) fn answer<P: Packet>(
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

//! How packets leave the line: to their next hop, whole or in pieces, or as an answer to their sender.

use crate::config::{HopId, NextHop, Notification, Policy};
use crate::forward::{self, Egress};
use crate::fragments::split;
use crate::icmp::{self, Message};
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::pipeline::egress::tx_buffers::TxBuffers;
use crate::pipeline::{Pipeline, RxContext};
use crate::trace::{Record, event};
use crate::verdict::{DropReason, Verdict};

impl Pipeline {
    /// Sends a packet to its next hop. `None` when it waits for the next hop's address.
    #[inline(always)]
    pub(crate) fn send<P: Packet>(
        &mut self,
        mut packet: P,
        egress: Egress,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) -> Option<Verdict> {
        match egress.next {
            NextHop::Hop(id) => {
                let Some(hop) = self.snapshot.network.hop_at(id) else {
                    return Some(Verdict::Dropped(DropReason::NoRoute));
                };
                if packet.bytes().len() > usize::from(egress.l3) + usize::from(egress.mtu) {
                    return Some(self.send_fragmented(packet, egress, id, out));
                }
                Some(match forward::frame(&mut packet, &egress, hop) {
                    Ok(()) => out.send(hop.port, packet),
                    Err(why) => Verdict::Dropped(why),
                })
            }
            NextHop::Unresolved(link, address) => {
                // A full ring loses only a reminder: the next packet makes another.
                let _ = self.rings.notifications.push(Notification::Resolve(link, address));
                let waits = out.queue_unresolved(packet, egress, rx.now);
                if waits {
                    self.stats.counters.awaiting_neighbour.add(1);
                    return None;
                }
                Some(Verdict::Dropped(DropReason::NeighbourUnresolved))
            }
            NextHop::Local | NextHop::Kernel => Some(out.to_kernel(rx.port, packet)),
            NextHop::None => Some(Verdict::Dropped(DropReason::NoRoute)),
        }
    }

    /// Sends a packet that its way cannot carry whole; the pieces past the first are counted apart.
    #[cold]
    fn send_fragmented<P: Packet>(
        &mut self,
        packet: P,
        egress: Egress,
        to: HopId,
        out: &mut TxBuffers<P>,
    ) -> Verdict {
        self.fragment_id = self.fragment_id.wrapping_add(0x9e37_79b9);
        let Some(hop) = self.snapshot.network.hop_at(to) else {
            return Verdict::Dropped(DropReason::NoRoute);
        };
        let (counters, mut first) = (&self.stats.counters, None);
        let each = |mut fragment: P| {
            let verdict = match forward::frame(&mut fragment, &egress, hop) {
                Ok(()) => out.send(hop.port, fragment),
                Err(why) => Verdict::Dropped(why),
            };
            if first.is_none() {
                first = Some(verdict);
                return;
            }
            counters.fragments_sent.add(1);
            if let Verdict::Dropped(why) = verdict {
                counters.drops[why as usize].add(1);
            }
        };
        match split::cut(packet, egress.l3, egress.ipv6, egress.mtu, self.fragment_id, each) {
            Ok(()) => first.unwrap_or(Verdict::Sent),
            Err(why) => Verdict::Dropped(why),
        }
    }

    /// Turns a packet into an ICMP message to its sender.
    pub(crate) fn send_icmp<P: Packet>(
        &mut self,
        mut packet: P,
        parsed: &Parsed,
        message: Message,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) {
        event!(self, IcmpSent, |_| Record::of(&parsed.key, [message.answer as u32, 0, 0, 0]));
        let network = &self.snapshot.network;
        let (sender, asked) = parsed.ends(packet.bytes());
        let policy = Policy { from: Some(asked), fwmark: 0 };
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
                Policy { from: Some(sender), fwmark: self.fwmark(&parsed.key, parsed, rx.port) },
            )
        {
            // It was taken in by a rule; an address that is not ours cannot be the source of an answer.
            return self.count_verdict(Verdict::Dropped(DropReason::Unanswerable));
        }
        let mut len = 0;
        let made = icmp::answer(&mut packet, parsed, source, message, &mut self.ip_id);
        let verdict = match made {
            Ok(l3) => {
                len = (packet.bytes().len() - usize::from(l3)) as u16;
                let egress = Egress { l3, ipv6: asked.is_ipv6(), next: back.next, mtu: back.mtu };
                self.send(packet, egress, rx, out)
            }
            Err(why) => Some(Verdict::Dropped(why)),
        };
        match verdict {
            None => {}
            Some(Verdict::Sent) => {
                // IPVS sees its own messages pass, as it sees those of others.
                if let Some(id) = self.direct_reply_connection(&parsed.key) {
                    self.count_out(id, len);
                }
                self.count_verdict(Verdict::IcmpSent(message.answer));
            }
            Some(other) => self.count_verdict(other),
        }
    }
}

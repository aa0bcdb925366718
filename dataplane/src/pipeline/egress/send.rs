//! Sends packets to their next hop, fragmented if need be, and ICMP errors to their sender.

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
    /// Sends a packet to its next hop, or holds it until the next hop's address is known.
    #[inline(always)]
    pub(crate) fn send<P: Packet>(
        &mut self,
        mut packet: P,
        egress: Egress,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        match egress.next {
            NextHop::Hop(id) => {
                let Some(hop) = self.snapshot.network.hop_at(id) else {
                    return Verdict::Dropped(DropReason::NoRoute);
                };
                if packet.bytes().len() > usize::from(egress.l3) + usize::from(egress.mtu) {
                    return self.send_fragmented(packet, egress, id, tx);
                }
                hop.used.mark();
                match forward::frame(&mut packet, &egress, hop) {
                    Ok(()) => tx.send(hop.port, packet),
                    Err(why) => Verdict::Dropped(why),
                }
            }
            NextHop::Unresolved(link, address) => {
                // A full ring loses only a reminder; the next packet sends another.
                let _ = self.rings.notifications.push(Notification::Resolve(link, address));
                if !tx.queue_unresolved(packet, egress, rx.now) {
                    return Verdict::Dropped(DropReason::NeighbourUnresolved);
                }
                self.stats.counters.awaiting_neighbour.add(1);
                Verdict::Held
            }
            NextHop::Local | NextHop::Kernel => tx.to_kernel(rx.port, packet),
            NextHop::None => Verdict::Dropped(DropReason::NoRoute),
        }
    }

    /// Fragments a packet for the next hop's MTU. The verdict is the first fragment's; the others have a counter.
    #[cold]
    fn send_fragmented<P: Packet>(
        &mut self,
        packet: P,
        egress: Egress,
        to: HopId,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        self.fragment_id = self.fragment_id.wrapping_add(0x9e37_79b9);
        let Some(hop) = self.snapshot.network.hop_at(to) else {
            return Verdict::Dropped(DropReason::NoRoute);
        };
        let (counters, mut first) = (&self.stats.counters, None);
        let each = |mut fragment: P| {
            let verdict = match forward::frame(&mut fragment, &egress, hop) {
                Ok(()) => tx.send(hop.port, fragment),
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

    /// Turns a packet into an ICMP error to its sender.
    pub(crate) fn send_icmp<P: Packet>(
        &mut self,
        mut packet: P,
        parsed: &Parsed,
        message: Message,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let network = &self.snapshot.network;
        let (sender, dst) = parsed.ends(packet.bytes());
        if message.is_limited(sender.is_ipv6())
            && !self.icmp_limiter.allow(
                self.snapshot.settings.icmp_limits,
                sender,
                network.prefix_len(sender),
                rx.now,
            )
        {
            return Verdict::Dropped(DropReason::IcmpLimited);
        }
        event!(self, IcmpSent, |_| Record::of(&parsed.key, [message.reason as u32, 0, 0, 0]));
        let policy = Policy { from: Some(dst), fwmark: 0 };
        let back = network.target_with_policy(sender, policy);
        // The source is the address that the packet was sent to, if that is ours. For IPv6 it must be an address of this
        // machine; a local route is not enough.
        let ours = if dst.is_ipv4() {
            network.is_local(dst, Policy::default())
        } else {
            network.local.contains(&dst)
        };
        let source = if ours { dst } else { back.source };
        if !ours
            && dst.is_ipv4()
            && network.is_local(
                dst,
                Policy { from: Some(sender), fwmark: self.fwmark(&parsed.key, parsed, rx.port) },
            )
        {
            // A policy rule made it local: the address is not ours and cannot be the source of an ICMP error.
            return Verdict::Dropped(DropReason::Unanswerable);
        }
        let l3 = match icmp::make_error(&mut packet, parsed, source, message, &mut self.ip_id) {
            Ok(l3) => l3,
            Err(why) => return Verdict::Dropped(why),
        };
        let len = (packet.bytes().len() - usize::from(l3)) as u16;
        let egress = Egress { l3, ipv6: dst.is_ipv6(), next: back.next, mtu: back.mtu };
        match self.send(packet, egress, rx, tx) {
            Verdict::Sent => {
                // IPVS counts its own messages when they pass, like those of others.
                if let Some(id) = self.direct_reply_connection(&parsed.key) {
                    self.count_out(id, len);
                }
                Verdict::IcmpSent(message.reason)
            }
            other => other,
        }
    }
}

//! ICMP errors that quote a packet of ours; spec 6.8.

use super::advance::{too_big, ttl_exceeded};
use super::{Fate, Line, Work};
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::{Departure, rewrite};
use crate::icmp;
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::verdict::DropReason;

impl Line {
    /// Decides about an ICMP error. It travels against the packet it quotes, so that packet reversed names the flow.
    #[cold]
    pub(super) fn relate<P: Packet>(&mut self, packet: &mut P, work: &Work) -> Fate {
        let parsed = &work.parsed;
        let key = parsed.key.reversed();
        let Some((id, direction)) = self.conns.find(work.hash, &key) else { return Fate::ToKernel };
        if !icmp::checksum_is_right(packet.bytes(), parsed) {
            return Fate::Drop(DropReason::BadIcmpChecksum);
        }
        match direction {
            Direction::In => self.error_inwards(packet, parsed, id),
            Direction::Out => self.error_outwards(packet, parsed, id),
        }
    }

    fn error_inwards<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId) -> Fate {
        let entry = self.conns.entry_mut(id);
        entry.in_packets = entry.in_packets.wrapping_add(1);
        if let Some(counters) = self.board.destinations.get(entry.destination as usize) {
            counters.in_packets.add(1);
            counters.in_bytes.add(parsed.len.into());
        }
        self.towards_destination(packet, parsed, id)
    }

    fn error_outwards<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId) -> Fate {
        debug_assert!(self.conns.entry(id).flags.has(Flags::NAT));
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return ttl_exceeded(parsed);
        }
        let (next, mtu) = self.towards_client(id);
        if let Some(fate) = too_big(packet.bytes(), parsed, mtu) {
            return fate;
        }
        self.count_out(id, parsed.len);
        let end = self.end(id, Direction::Out);
        icmp::translate(packet.bytes_mut(), parsed, Direction::Out, end);
        let ipv6 = matches!(parsed.key, Key::V6(_));
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        Fate::Forward(Departure { l3: parsed.l3, ipv6, next })
    }
}

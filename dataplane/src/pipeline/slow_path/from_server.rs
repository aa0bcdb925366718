//! Packets from a NAT destination to the client.

use crate::conn::{ConnId, Direction};
use crate::forward::rewrite;
use crate::icmp;
use crate::parse::{Kind, Parsed};
use crate::pipeline::Pipeline;
use crate::pipeline::egress::route;
use crate::pipeline::outcome::{Decision, Flow, Forward, Outcome, Transform, Transit};
use crate::proto::Sender;
use crate::service::DestinationId;
use crate::time::Tick;
use crate::verdict::DropReason;

impl Pipeline {
    /// Decides about a packet that the index has as from the destination of connection `id`.
    pub(crate) fn decide_from_server(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Outcome {
        if !self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            return Decision::ToKernel.into();
        }
        self.forward_to_client(frame, parsed, id, now)
    }

    /// The checklist of every packet on its way to the client: packets of known connections, first packets of calls that
    /// servers open, and ICMP errors from the server's side. [`Pipeline::refusal`] has the reasons to refuse one.
    pub(crate) fn forward_to_client(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Outcome {
        let (next, mtu) = self.route_to_client(id);
        if let Some(refused) = self.refusal(frame, parsed, mtu) {
            return refused.into();
        }
        self.count_out(id, parsed.len);
        if !parsed.is_error() {
            self.advance_state(frame, parsed, id, Sender::Destination, now);
        }
        let transit = Transit { decrement_ttl: true, record_route: false };
        let decision = Decision::Forward(Forward { next, mtu, transit, transform: Transform::Nat });
        Outcome { decision, flow: Some(Flow { id, direction: Direction::Out }), counted: true }
    }

    /// Why a packet may not go on to the client. A router looks at TTL and size before the balancer sees the packet, so
    /// nothing is counted for a packet that is refused.
    pub(crate) fn refusal(&self, frame: &[u8], parsed: &Parsed, mtu: u16) -> Option<Decision> {
        if rewrite::ttl(frame, parsed) <= 1 {
            return Some(route::ttl_exceeded(parsed));
        }
        if parsed.is_error() && !self.icmp_checksum_passes(frame, parsed) {
            return Some(Decision::Drop(DropReason::BadIcmpChecksum));
        }
        if let Some(refused) = route::too_big(frame, parsed, mtu) {
            return Some(refused);
        }
        (parsed.kind == Kind::TruncatedL4).then_some(Decision::Drop(DropReason::Untranslatable))
    }

    /// Whether the checksum of an ICMP error from a destination's side is right. Linux 6.1 leaves the pseudo header out
    /// of ICMPv6's.
    fn icmp_checksum_passes(&self, frame: &[u8], parsed: &Parsed) -> bool {
        if self.snapshot.settings.like_linux_6_1 && parsed.is_ipv6() {
            return icmp::checksum_is_right_without_pseudo(frame, parsed);
        }
        icmp::checksum_is_right(frame, parsed)
    }

    /// Counts a packet to the client. A removed destination counts nothing.
    pub(crate) fn count_out(&self, id: ConnId, len: u16) {
        let destination = DestinationId(self.conns.entry(id).destination);
        let available = self.snapshot.services.destination(destination).is_some_and(|d| d.available);
        if let Some(counters) = self.stats.destinations.get(destination.0 as usize).filter(|_| available) {
            counters.out_packets.add(1);
            counters.out_bytes.add(len.into());
        }
    }
}

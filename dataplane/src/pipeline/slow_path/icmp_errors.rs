//! ICMP errors that quote a packet of ours; spec 6.8.

use crate::config::Policy;
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::encap;
use crate::icmp::{self, Message};
use crate::parse::Parsed;
use crate::pipeline::egress::route;
use crate::pipeline::outcome::{Decision, Flow, Outcome, Transit};
use crate::pipeline::slow_path::schedule::NewFlow;
use crate::pipeline::{PacketMeta, Pipeline, RxContext};
use crate::service::DestinationId;
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::view;

/// Type and code of an ICMP error, as words of a trace record.
fn type_and_code(frame: &[u8], parsed: &Parsed) -> [u32; 4] {
    let word = |at: usize| frame.get(usize::from(parsed.l4) + at).copied().map_or(0, u32::from);
    [word(0), word(1), 0, 0]
}

/// Linux 6.1 takes an IPv4 header's length off path MTUs above this.
const LEAST_REDUCED: u16 = 68 + ipv4::LEN as u16;

impl Pipeline {
    /// Decides about an ICMP error. It travels against the packet that it quotes, so that packet's key reversed names the
    /// flow.
    #[cold]
    pub(crate) fn icmp_error(&mut self, frame: &[u8], meta: &PacketMeta, rx: &RxContext) -> Outcome {
        let parsed = &meta.parsed;
        if !self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            return Decision::ToKernel.into();
        }
        let key = parsed.key.reversed();
        event!(self, IcmpError, |_| Record::of(&key, type_and_code(frame, parsed)));
        match self.conns.find(meta.hash, &key) {
            Some((id, Direction::In)) => self.forward_to_destination(frame, parsed, id, rx.now),
            Some((id, Direction::Out)) => self.forward_to_client(frame, parsed, id, rx.now),
            None => match self.direct_reply_connection(&parsed.key) {
                // It is about a client's packet whose destination replies directly: there is nothing to translate, and it
                // is counted when the kernel sends it on.
                Some(_) => Decision::ToKernel.into(),
                None => self.error_without_connection(frame, meta, key, rx),
            },
        }
    }

    /// The connection of a client's packet with this key, if its destination replies to the client directly.
    pub(crate) fn direct_reply_connection(&self, key: &Key) -> Option<ConnId> {
        let (id, direction) = self.conns.find(self.conns.hash(key), key)?;
        (direction == Direction::In && !self.conns.entry(id).flags.has(Flags::NAT)).then_some(id)
    }

    /// An error about a packet of no connection: with `schedule_icmp` it opens the connection that the packet would have
    /// belonged to.
    fn error_without_connection(
        &mut self,
        frame: &[u8],
        meta: &PacketMeta,
        key: Key,
        rx: &RxContext,
    ) -> Outcome {
        let (parsed, now) = (&meta.parsed, rx.now);
        if !self.snapshot.settings.schedule_icmp
            || !parsed.ports_quoted
            || self.snapshot.settings.is_off(key.protocol())
        {
            return Decision::ToKernel.into();
        }
        let fwmark = self.fwmark(&parsed.outer_key(frame), parsed, rx.port);
        let Some(service) = self.snapshot.services.lookup(key.dst(), key.protocol(), fwmark) else {
            return Decision::ToKernel.into();
        };
        if self.drops_at_random(&key) {
            return Outcome::drop(DropReason::Defence);
        }
        let new_flow = NewFlow { key, service, quoted: true };
        match self.open_for_packet(frame, parsed, &new_flow, now) {
            Ok(id) => {
                let outcome = self.forward_to_destination(frame, parsed, id, now);
                Outcome { flow: Some(Flow { id, direction: Direction::In }), ..outcome }
            }
            Err(outcome) => outcome,
        }
    }

    /// Decides about an error that may concern a tunnel packet of ours. The inner packet's connection names the client,
    /// which gets an error about its own packet: too big, or whatever else the error reports.
    #[cold]
    pub(crate) fn tunnel_error(&mut self, frame: &[u8], meta: &PacketMeta, now: Tick) -> Outcome {
        let parsed = &meta.parsed;
        let local = self.snapshot.network.is_local(parsed.ends(frame).1, Policy::default());
        let Some((id, Direction::In)) = self.conns.find(meta.hash, &parsed.key).filter(|_| local) else {
            return Decision::ToKernel.into();
        };
        if !icmp::checksum_is_right(frame, parsed) {
            return Outcome::drop(DropReason::BadIcmpChecksum);
        }
        let inner = parsed.quoted();
        let message = match icmp::next_mtu(frame, parsed) {
            Some(mtu) => {
                let mtu = match self.learn_pmtu(id, mtu, now) {
                    Ok(mtu) => mtu,
                    Err(why) => return Outcome::drop(why),
                };
                let dont_fragment =
                    view::<Ipv4Hdr>(frame, inner.l3.into()).is_some_and(|ip| ip.dont_fragment());
                if !dont_fragment {
                    return Outcome::drop(DropReason::PmtuLearnt);
                }
                Message { mtu, ..Message::new(IcmpReason::FragmentationNeeded) }
            }
            None => {
                let like = icmp::type_code_word(frame, parsed);
                Message { like, ..Message::new(IcmpReason::TunnelError) }
            }
        };
        self.count_out(id, inner.len);
        Decision::SendIcmp(message, Transit::default()).into()
    }

    /// Remembers the path MTU to a connection's destination. Returns the MTU to report to the client.
    ///
    /// # Errors
    /// When the destination or its route is gone.
    fn learn_pmtu(&mut self, id: ConnId, mtu: u16, now: Tick) -> Result<u16, DropReason> {
        let number = DestinationId(self.conns.entry(id).destination);
        let Some(destination) = self.snapshot.services.destination(number) else {
            return Err(DropReason::DestinationGone);
        };
        let Some(target) = self.snapshot.target(destination.target) else {
            return Err(DropReason::NoRoute);
        };
        let (before, learnt) = self.pmtu.learn(destination.target, target.mtu, mtu, now);
        let (kind, to) = (route::tunnel_kind(destination), destination.endpoint.address);
        if !self.snapshot.settings.like_linux_6_1 {
            return Ok(learnt.saturating_sub(encap::overhead(kind, &to)));
        }
        Ok(if before > LEAST_REDUCED { before - ipv4::LEN as u16 } else { before })
    }
}

//! Packets from the client of a known connection; spec 4.5 and 4.6.

use crate::conn::{ConnId, Direction, Entry, Flags};
use crate::icmp;
use crate::parse::Parsed;
use crate::pipeline::outcome::{Decision, Flow, Outcome};
use crate::pipeline::{PacketMeta, Pipeline, RxContext};
use crate::proto::{Sender, sctp, tcp};
use crate::service::DestinationId;
use crate::time::Tick;
use crate::trace::event;
use crate::verdict::DropReason;
use crate::wire::protocol;
use crate::wire::tcp::SYN;

impl Pipeline {
    /// Decides about a packet that the index has as from the client of connection `id`.
    pub(crate) fn decide_from_client(
        &mut self,
        frame: &[u8],
        meta: &PacketMeta,
        id: ConnId,
        rx: &RxContext,
    ) -> Outcome {
        // The parser shows SCTP's INIT as a SYN.
        if meta.parsed.tcp_flags & SYN != 0 && self.may_be_reused(id) {
            return self.reschedule(frame, meta, id, rx);
        }
        let entry = self.conns.entry(id);
        let destination = self.snapshot.services.destination(DestinationId(entry.destination));
        if destination.is_none_or(|d| !d.available) && !entry.flags.has(Flags::BYPASS) {
            return self.destination_removed(frame, meta, id, rx);
        }
        self.forward_to_destination(frame, &meta.parsed, id, rx.now)
    }

    /// The checks on every packet to a destination: packets of known connections, first packets, and ICMP
    /// errors from the client's side.
    pub(crate) fn forward_to_destination(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Outcome {
        let flow = Flow { id, direction: Direction::In };
        if parsed.is_error() {
            // The receiver checks ICMPv6 itself, as in Linux.
            if !parsed.is_ipv6() && !icmp::checksum_is_right(frame, parsed) {
                return Outcome::drop(DropReason::BadIcmpChecksum);
            }
            self.count_in(id, parsed.len);
        } else {
            let client_only = self.conns.entry(id).flags.has(Flags::NO_OUTPUT);
            let sender = if client_only { Sender::ClientOnly } else { Sender::Client };
            self.count_in(id, parsed.len);
            self.advance_state(frame, parsed, id, sender, now);
        }
        let decision = self.route_to_destination(frame, parsed, id);
        Outcome { decision, flow: Some(flow), counted: true }
    }

    /// A packet of a connection whose destination was removed.
    #[cold]
    fn destination_removed(
        &mut self,
        frame: &[u8],
        meta: &PacketMeta,
        id: ConnId,
        rx: &RxContext,
    ) -> Outcome {
        if !self.snapshot.services.hooked[usize::from(meta.parsed.is_ipv6())] {
            return Decision::ToKernel.into();
        }
        if self.snapshot.settings.expire_nodest_conn {
            return self.reschedule(frame, meta, id, rx);
        }
        Outcome::drop(DropReason::DestinationGone)
    }

    /// Ends a connection and schedules its packet again. The old connection still counts meanwhile, as in IPVS.
    #[cold]
    fn reschedule(&mut self, frame: &[u8], meta: &PacketMeta, id: ConnId, rx: &RxContext) -> Outcome {
        // Its timer fires at the next tick; a packet that arrives before that revives it, as in IPVS.
        self.expire_soon(id, rx.now);
        event!(self, Reused, |pipeline| pipeline.connection_record(id));
        self.schedule(frame, meta, rx)
    }

    /// Whether a packet that opens a connection may replace this one; spec 4.6.
    #[cold]
    fn may_be_reused(&self, id: ConnId) -> bool {
        let (settings, entry) = (&self.snapshot.settings, self.conns.entry(id));
        if !self.snapshot.services.hooked[usize::from(self.conns.is_ipv6(id))] {
            return false;
        }
        let quiesced = || {
            let destination = self.snapshot.services.destination(DestinationId(entry.destination));
            destination.is_some_and(|d| d.weight == 0)
        };
        if settings.expire_nodest_conn && quiesced() {
            return true;
        }
        settings.conn_reuse_mode != 0
            && !entry.flags.has(Flags::CHILD)
            && is_closed(entry, settings.conn_reuse_mode)
    }

    /// Counts a packet from the client.
    fn count_in(&mut self, id: ConnId, len: u16) {
        crate::pipeline::fast_path::count_in(&self.stats, self.conns.entry_mut(id), len);
    }
}

/// Returns whether a connection is so far closed that, by `conn_reuse_mode`, its endpoints may open another; spec 4.6.
fn is_closed(entry: &Entry, mode: u32) -> bool {
    match entry.protocol {
        protocol::TCP => match tcp::State::from_number(entry.state) {
            tcp::State::TimeWait | tcp::State::Close => true,
            tcp::State::FinWait => mode & 2 != 0 && entry.flags.has(Flags::NO_OUTPUT),
            _ => false,
        },
        protocol::SCTP => sctp::State::from_number(entry.state) == sctp::State::Closed,
        _ => false,
    }
}

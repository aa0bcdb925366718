//! A packet of a known connection: count it, advance its state, send it on.
//!
//! This is the long way, for whatever is not plain or changes its connection's state; the others take
//! [`fast_path`](crate::pipeline::express), which a law holds to the same results. What is decided here must hold there too.

use crate::conn::{ConnId, Direction, Entry, Flags};
use crate::forward::{Egress, rewrite};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::pipeline::slow_path::schedule::assures;
use crate::pipeline::{Decision, PacketMeta, Pipeline, RxContext};
use crate::proto::{From, is_half_open, sctp, tcp};
use crate::service::DestinationId;
use crate::time::{Millis, Tick};
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::tcp::SYN;
use crate::wire::{ipv4, protocol};

impl Pipeline {
    /// Decides about a packet of a balanced protocol.
    #[inline]
    pub(crate) fn decide<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        rx: &RxContext,
    ) -> Decision {
        match self.conns.find(meta.hash, &meta.parsed.key) {
            Some((id, Direction::In)) => self.from_client(packet, meta, id, rx),
            Some((id, Direction::Out)) => self.from_server(packet, &meta.parsed, id, rx.now),
            None => self.schedule(packet, meta, rx),
        }
    }

    /// A packet from the client; spec 4.5 and 4.6.
    #[inline(always)]
    fn from_client<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        rx: &RxContext,
    ) -> Decision {
        // INIT of SCTP shows as a SYN.
        if meta.parsed.tcp_flags & SYN != 0 && self.is_reused(id) {
            return self.replace(packet, meta, id, rx);
        }
        let entry = self.conns.entry(id);
        let destination = self.snapshot.services.destination(DestinationId(entry.destination));
        if destination.is_none_or(|d| !d.available) && !entry.flags.has(Flags::BYPASS) {
            return self.destination_removed(packet, meta, id, rx);
        }
        self.serve(packet, &meta.parsed, id, rx.now)
    }

    /// A packet from the client of a connection whose destination was removed.
    #[cold]
    fn destination_removed<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        rx: &RxContext,
    ) -> Decision {
        if !self.snapshot.services.hooked[usize::from(meta.parsed.is_ipv6())] {
            return Decision::ToKernel;
        }
        if self.snapshot.settings.expire_nodest_conn {
            return self.replace(packet, meta, id, rx);
        }
        Decision::Drop(DropReason::DestinationGone)
    }

    /// Ends a connection whose packet is then taken for one of no connection. It still counts while the packet is
    /// scheduled, as in IPVS.
    #[cold]
    fn replace<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        rx: &RxContext,
    ) -> Decision {
        // Its timer goes off with the next tick; a packet that finds it before revives it, as in IPVS.
        self.expire_soon(id, rx.now);
        event!(self, Reused, |pipeline| pipeline.connection_record(id));
        self.schedule(packet, meta, rx)
    }

    /// Whether a packet that opens a connection does so on this old one; spec 4.6.
    #[cold]
    fn is_reused(&self, id: ConnId) -> bool {
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
            && is_over(entry, settings.conn_reuse_mode)
    }

    /// Counts a client's packet, advances its connection and sends it to the destination.
    #[inline(always)]
    pub(crate) fn serve<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Decision {
        let client_only = self.conns.entry(id).flags.has(Flags::NO_OUTPUT);
        let from = if client_only { From::ClientOnly } else { From::Client };
        self.count_in(id, parsed.len);
        self.advance(packet.bytes(), parsed, id, from, now);
        if parsed.options {
            ipv4::record_route(packet.bytes_mut(), parsed.l3);
        }
        self.route_to_destination(packet, parsed, id)
    }

    /// A packet from a NAT destination.
    #[inline]
    pub(crate) fn from_server<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Decision {
        if !self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            return Decision::ToKernel;
        }
        // A router looks at hops and size before the balancer sees the packet, and answers the destination itself.
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return Decision::SendIcmp(Message::new(IcmpReason::TtlExceeded));
        }
        let (next, mtu) = self.route_to_client(id);
        if let Some(decision) = crate::pipeline::egress::route::too_big(packet.bytes(), parsed, mtu) {
            return decision;
        }
        if parsed.kind == Kind::TruncatedL4 {
            return Decision::Drop(DropReason::Untranslatable);
        }
        self.count_out(id, parsed.len);
        self.advance(packet.bytes(), parsed, id, From::Destination, now);
        self.translate(packet.bytes_mut(), parsed, id, Direction::Out);
        let ipv6 = parsed.is_ipv6();
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        Decision::Forward(Egress { l3: parsed.l3, ipv6, next, mtu })
    }

    /// Counts a packet from the client.
    #[inline(always)]
    pub(crate) fn count_in(&mut self, id: ConnId, len: u16) {
        crate::pipeline::fast_path::count_in(&self.stats, self.conns.entry_mut(id), len);
    }

    /// Counts a packet to the client.
    #[inline]
    pub(crate) fn count_out(&self, id: ConnId, len: u16) {
        let destination = DestinationId(self.conns.entry(id).destination);
        let available = self.snapshot.services.destination(destination).is_some_and(|d| d.available);
        if let Some(counters) = self.stats.destinations.get(destination.0 as usize).filter(|_| available) {
            counters.out_packets.add(1);
            counters.out_bytes.add(len.into());
        }
    }

    /// Moves the connection's state on and restarts its timer.
    #[inline(always)]
    pub(crate) fn advance(&mut self, frame: &[u8], parsed: &Parsed, id: ConnId, from: From, now: Tick) {
        let settings = &self.snapshot.settings;
        let entry = self.conns.entry_mut(id);
        let timeout = match parsed.protocol {
            protocol::UDP => settings.timeouts.udp,
            protocol::TCP if parsed.kind != Kind::TruncatedL4 => {
                let state = tcp::State::from_number(entry.state);
                let next = tcp::next(state, from, parsed.state_flags, settings.secure_tcp);
                if next != state {
                    self.enter_state(id, next as u8, next.is_active(), (from, parsed.state_flags));
                }
                self.snapshot.settings.timeouts.tcp[next as usize]
            }
            protocol::SCTP => self.advance_sctp(frame, parsed, id, from),
            // AH, ESP and headers cut short change nothing.
            _ => Millis(entry.timeout),
        };
        if from == From::Destination {
            self.conns.entry_mut(id).flags.set(Flags::REPLIED, true);
            if parsed.protocol != protocol::UDP {
                self.conns.entry_mut(id).flags.set(Flags::NO_OUTPUT, false);
            }
        }
        let entry = self.conns.entry(id);
        if entry.flags.is_unsure() {
            self.assure(id, parsed, from);
        }
        self.conns.touch(id, timeout, now);
    }

    #[inline(never)]
    fn advance_sctp(&mut self, frame: &[u8], parsed: &Parsed, id: ConnId, from: From) -> Millis {
        let packet = parsed.end(frame).and_then(|end| frame.get(parsed.l4.into()..end));
        let event = packet.and_then(sctp::event);
        let entry = self.conns.entry(id);
        let (state, timeout) = (sctp::State::from_number(entry.state), Millis(entry.timeout));
        let Some(event) = event else { return timeout };
        let next = sctp::next(state, from, event);
        if next != state {
            self.enter_state(id, next as u8, next.is_active(), (from, 0));
        }
        self.snapshot.settings.timeouts.sctp[next as usize]
    }

    /// A connection enters another state: who is active and who half-open is counted.
    #[inline(never)]
    fn enter_state(&mut self, id: ConnId, state: u8, active: bool, (from, flags): (From, u8)) {
        let entry = self.conns.entry_mut(id);
        let was = std::mem::replace(&mut entry.state, state);
        let (protocol, inactive) = (entry.protocol, entry.flags.has(Flags::INACTIVE));
        if inactive == active {
            entry.flags.set(Flags::INACTIVE, !inactive);
            if let Some(counters) = self.stats.destinations.get(entry.destination as usize) {
                counters.count(!inactive, -1);
                counters.count(inactive, 1);
            }
        }
        self.half_open += u32::from(is_half_open(protocol, state));
        self.half_open -= u32::from(is_half_open(protocol, was));
        let words = [from as u32, flags.into(), was.into(), state.into()];
        if protocol == protocol::TCP {
            event!(self, TcpState, |pipeline| Record { words, ..pipeline.connection_record(id) });
        } else {
            event!(self, SctpState, |pipeline| Record { words, ..pipeline.connection_record(id) });
        }
    }

    /// Tells the template that one of its connections was really opened.
    #[cold]
    fn assure(&mut self, id: ConnId, parsed: &Parsed, from: From) {
        let entry = self.conns.entry_mut(id);
        if assures(parsed.protocol, entry.state, from) {
            entry.flags.set(Flags::ASSURED, true);
            if let Some(handle) = self.conns.template(id) {
                self.shared.templates.assure(handle);
            }
        }
    }

    /// Puts the other end's address and port into a packet of a NAT connection.
    #[inline(always)]
    pub(crate) fn translate(&self, frame: &mut [u8], parsed: &Parsed, id: ConnId, direction: Direction) {
        if self.in_datagram {
            return; // the fragments are translated together, once it is decided that they go on
        }
        rewrite::apply(frame, parsed, &self.rewrite(id, direction));
    }
}

/// Whether the connection is so far over that its ends may open another; spec 4.6.
fn is_over(entry: &Entry, mode: u32) -> bool {
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

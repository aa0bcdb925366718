//! A packet of a known connection: count it, advance its state, forward it.

use super::{Fate, Line, Work};
use crate::config::{HopId, NextHop, Target};
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::rewrite::{self, NewEnd};
use crate::forward::{Departure, encap};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::proto::tcp;
use crate::service::DestinationId;
use crate::time::{Millis, Tick};
use crate::verdict::{Answer, DropReason};
use crate::wire::{ipv4::Ipv4Hdr, protocol, view};

/// Smallest MTU a tunnel may leave for its payload; spec 6.7.
const MIN_MTU4: u16 = 68;
const MIN_MTU6: u16 = 1280;

impl Line {
    /// Decides about a TCP or UDP packet.
    #[inline]
    pub(super) fn decide<P: Packet>(&mut self, packet: &mut P, work: &Work, now: Tick) -> Fate {
        match self.conns.find(work.hash, &work.parsed.key) {
            Some((id, Direction::In)) => self.inwards(packet, work, id, now),
            Some((id, Direction::Out)) => self.outwards(packet, &work.parsed, id, now),
            None => self.admit(packet, work, now),
        }
    }

    /// A packet from the client; spec 4.5 and 4.6.
    #[inline]
    fn inwards<P: Packet>(&mut self, packet: &mut P, work: &Work, id: ConnId, now: Tick) -> Fate {
        let opens = work.parsed.tcp_flags & crate::wire::tcp::SYN != 0;
        if opens && self.is_reused(id) {
            self.forget(id);
            return self.admit(packet, work, now);
        }
        let destination = DestinationId(self.conns.entry(id).destination);
        match self.snapshot.services.destination(destination) {
            Some(d) if d.available => self.serve(packet, &work.parsed, id, now),
            _ if self.snapshot.settings.expire_nodest_conn => {
                self.forget(id);
                self.admit(packet, work, now)
            }
            _ => Fate::Drop(DropReason::DestinationGone),
        }
    }

    /// Whether a SYN on this connection is the first of a new one; spec 4.6.
    fn is_reused(&self, id: ConnId) -> bool {
        let (settings, entry) = (&self.snapshot.settings, self.conns.entry(id));
        let quiesced = || {
            let destination = self.snapshot.services.destination(DestinationId(entry.destination));
            destination.is_some_and(|d| d.weight == 0)
        };
        if settings.expire_nodest_conn && quiesced() {
            return true;
        }
        match tcp::State::from_number(entry.state) {
            tcp::State::TimeWait | tcp::State::Close => settings.conn_reuse_mode != 0,
            tcp::State::FinWait => settings.conn_reuse_mode & 2 != 0 && entry.flags.has(Flags::NO_OUTPUT),
            _ => false,
        }
    }

    /// Counts a client's packet, advances its connection and sends it to the destination.
    #[inline]
    pub(super) fn serve<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Fate {
        let destination = self.conns.entry(id).destination;
        if let Some(counters) = self.board.destinations.get(destination as usize) {
            counters.in_packets.add(1);
            counters.in_bytes.add(parsed.len.into());
        }
        let from = if self.conns.entry(id).flags.has(Flags::NO_OUTPUT) {
            tcp::From::ClientOnly
        } else {
            tcp::From::Client
        };
        self.advance(parsed, id, from, now);
        let entry = self.conns.entry_mut(id);
        entry.in_packets = entry.in_packets.wrapping_add(1);
        self.towards_destination(packet, parsed, id)
    }

    /// A packet from a NAT destination.
    #[inline]
    fn outwards<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, id: ConnId, now: Tick) -> Fate {
        // A router looks at hops and size before the balancer sees the packet, and answers the destination itself.
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return Fate::Answer(Message::new(Answer::TtlExceeded));
        }
        let (next, mtu) = self.towards_client(id);
        if let Some(fate) = too_big(packet.bytes(), parsed, mtu) {
            return fate;
        }
        self.count_out(id, parsed.len);
        self.advance(parsed, id, tcp::From::Destination, now);
        let end = self.end(id, Direction::Out);
        rewrite::translate(packet.bytes_mut(), parsed, self.conns.entry(id), Direction::Out, end);
        let ipv6 = matches!(parsed.key, Key::V6(_));
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        Fate::Forward(Departure { l3: parsed.l3, ipv6, next })
    }

    /// Counts a packet to the client.
    pub(super) fn count_out(&self, id: ConnId, len: u16) {
        let destination = DestinationId(self.conns.entry(id).destination);
        let available = self.snapshot.services.destination(destination).is_some_and(|d| d.available);
        if let Some(counters) = self.board.destinations.get(destination.0 as usize).filter(|_| available) {
            counters.out_packets.add(1);
            counters.out_bytes.add(len.into());
        }
    }

    /// Moves the connection's state on and restarts its timer.
    #[inline]
    pub(super) fn advance(&mut self, parsed: &Parsed, id: ConnId, from: tcp::From, now: Tick) {
        let timeouts = &self.snapshot.settings.timeouts;
        let entry = self.conns.entry_mut(id);
        if from == tcp::From::Destination {
            entry.flags.set(Flags::NO_OUTPUT, false);
        }
        let timeout = if parsed.key.protocol() == protocol::TCP {
            let next = tcp::next(tcp::State::from_number(entry.state), from, parsed.tcp_flags);
            entry.state = next as u8;
            let inactive = entry.flags.has(Flags::INACTIVE);
            if inactive == next.is_active() {
                entry.flags.set(Flags::INACTIVE, !inactive);
                if let Some(counters) = self.board.destinations.get(entry.destination as usize) {
                    counters.count(!inactive, -1);
                    counters.count(inactive, 1);
                }
            }
            timeouts.tcp[next as usize]
        } else {
            timeouts.udp
        };
        self.conns.touch(id, Millis(timeout.0), now);
    }

    /// The end of a packet that NAT replaces.
    #[inline]
    pub(super) fn end(&self, id: ConnId, direction: Direction) -> NewEnd {
        let entry = self.conns.entry(id);
        let l4_port = match direction {
            Direction::In => entry.destination_port,
            Direction::Out => entry.ports_in().dst(),
        };
        NewEnd { address: self.conns.address(id, direction), l4_port }
    }

    /// The way back to the client: looked up once for each generation of the network, then kept in the entry.
    #[inline]
    pub(super) fn towards_client(&mut self, id: ConnId) -> (NextHop, u16) {
        let (network, entry) = (&self.snapshot.network, self.conns.entry(id));
        if entry.client_hop_generation == network.generation
            && let Some(hop) = network.hop_at(HopId(entry.client_hop))
        {
            return (NextHop::Hop(HopId(entry.client_hop)), hop.mtu);
        }
        let Target { next, mtu, .. } = network.target(self.conns.endpoints(id).client.address);
        if let NextHop::Hop(hop) = next {
            // A route with an MTU of its own is looked up every time: the hop knows only the link's.
            let plain = network.hop_at(hop).is_some_and(|hop| hop.mtu == mtu);
            let generation = if plain { network.generation } else { 0 };
            let entry = self.conns.entry_mut(id);
            (entry.client_hop, entry.client_hop_generation) = (hop.0, generation);
        }
        (next, mtu)
    }

    /// Sends a packet to the connection's destination by its method; spec 6.3, 6.4, 6.6, 6.7.
    #[inline]
    pub(super) fn towards_destination<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        id: ConnId,
    ) -> Fate {
        let destination = DestinationId(self.conns.entry(id).destination);
        let snapshot = &self.snapshot;
        let Some(destination) = snapshot.services.destination(destination) else {
            return Fate::Drop(DropReason::DestinationGone);
        };
        let Some(&target) = snapshot.target(destination.target) else {
            return Fate::Drop(DropReason::NoRoute);
        };
        let ipv6 = parsed_ipv6(parsed);
        let local = target.next == NextHop::Local;
        if !local && rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return ttl_exceeded(parsed);
        }
        let flags = self.conns.entry(id).flags;
        if flags.has(Flags::TUNNEL) && !local {
            return self.tunnel(packet, parsed, destination.endpoint.address, target);
        }
        if let Some(fate) = too_big(packet.bytes(), parsed, target.mtu) {
            rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
            return fate;
        }
        if flags.has(Flags::NAT) {
            let end = self.end(id, Direction::In);
            if parsed.kind == Kind::IcmpError {
                crate::icmp::translate(packet.bytes_mut(), parsed, Direction::In, end);
            } else {
                rewrite::translate(packet.bytes_mut(), parsed, self.conns.entry(id), Direction::In, end);
            }
        }
        if !local {
            rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        }
        Fate::Forward(Departure { l3: parsed.l3, ipv6, next: target.next })
    }

    fn tunnel<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        to: std::net::IpAddr,
        target: Target,
    ) -> Fate {
        let ipv6 = parsed_ipv6(parsed);
        let mtu = target.mtu.saturating_sub(encap::overhead(&to));
        if mtu < if to.is_ipv4() { MIN_MTU4 } else { MIN_MTU6 } {
            return Fate::Drop(DropReason::TunnelMtu);
        }
        let keep_df = self.snapshot.settings.pmtu_disc;
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        if let Some(fate) = too_big(packet.bytes(), parsed, mtu).filter(|_| ipv6 || keep_df) {
            return fate;
        }
        let place = (parsed.l3, ipv6, parsed.len);
        match encap::ipip(packet, place, (target.source, to), keep_df, &mut self.ip_id) {
            Ok(l3) => Fate::Forward(Departure { l3, ipv6: to.is_ipv6(), next: target.next }),
            Err(why) => Fate::Drop(why),
        }
    }
}

#[inline]
fn parsed_ipv6(parsed: &Parsed) -> bool {
    matches!(parsed.key, Key::V6(_))
}

/// The answer to a packet without hops left; none to an error.
pub(super) fn ttl_exceeded(parsed: &Parsed) -> Fate {
    match parsed.kind {
        Kind::IcmpError => Fate::Drop(DropReason::TtlOfError),
        _ => Fate::Answer(Message::new(Answer::TtlExceeded)),
    }
}

/// What becomes of a packet larger than `mtu`, if it is one that may not be fragmented.
#[inline]
pub(super) fn too_big(frame: &[u8], parsed: &Parsed, mtu: u16) -> Option<Fate> {
    if parsed.len <= mtu {
        return None;
    }
    let may_fragment = !parsed_ipv6(parsed)
        && view::<Ipv4Hdr>(frame, parsed.l3.into()).is_some_and(|ip| !ip.dont_fragment());
    if may_fragment {
        return None;
    }
    Some(match parsed.kind {
        Kind::IcmpError => Fate::Drop(DropReason::TooBig),
        _ => Fate::Answer(Message { answer: Answer::FragmentationNeeded, mtu }),
    })
}

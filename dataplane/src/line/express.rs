//! The express way: what a plain packet of a known connection needs, and nothing else.
//!
//! Nearly all packets are plain (see [`Plain`]) and leave their connection's state as it is. For them the
//! decisions of [`advance`](super::advance) and [`way`](super::way) come down to two cache lines, the connection's entry and the
//! [`Lane`](crate::config::Lane) of its destination or the next hop to the client. Whatever is not as usual takes the long way, and
//! nothing has changed before that is known; a law in the tests holds the two to the same results.

use super::Line;
use crate::config::{HopId, Settings};
use crate::conn::{ConnId, Direction, Entry, Flags};
use crate::forward::plain::{self, Change};
use crate::packet::Packet;
use crate::parse::Plain;
use crate::proto::{From, tcp};
use crate::time::{Millis, Tick};
use crate::wire::checksum::Delta;
use crate::wire::tcp::SYN;
use crate::wire::{ether, ipv4, protocol};

impl Line {
    /// Sends a plain packet of a known connection on; gives the port it leaves by. `None`, and nothing has changed, when
    /// it must take the long way.
    #[inline(always)]
    pub(super) fn express<P: Packet>(
        &mut self,
        packet: &mut P,
        of: &Plain,
        (id, direction): (ConnId, Direction),
        now: Tick,
    ) -> Option<u16> {
        match direction {
            Direction::In => self.express_in(packet, of, id, now),
            Direction::Out => self.express_out(packet, of, id, now),
        }
    }

    #[inline(always)]
    fn express_in<P: Packet>(
        &mut self,
        packet: &mut P,
        of: &Plain,
        id: ConnId,
        now: Tick,
    ) -> Option<u16> {
        let (snapshot, entry) = (&self.snapshot, self.conns.entry_mut(id));
        let (lane, flags) = (snapshot.lanes.get(entry.destination as usize)?, entry.flags);
        // A SYN may open a connection anew, and a template may have to hear of this one.
        if !lane.is_open() || of.tcp_flags & SYN != 0 || is_unsure(flags) {
            return None;
        }
        let from = if flags.has(Flags::NO_OUTPUT) { From::ClientOnly } else { From::Client };
        let timeout = steady(&snapshot.settings, entry, of, from)?;
        if flags.has(Flags::TUNNEL) {
            let inner_mtu = lane.mtu.saturating_sub(ipv4::LEN as u16);
            if !lane.is_tunnel() || of.len > inner_mtu || !self.paths.is_empty() {
                return None;
            }
            if plain::split(packet.bytes_mut())?.0.ip.ttl <= 1 {
                return None;
            }
            if !packet.push_front(ipv4::LEN) {
                return None;
            }
            cut(packet, ipv4::LEN as u16 + of.len);
            let (outer, inner) = plain::nested(packet.bytes_mut())?;
            plain::encapsulate(outer, inner, lane, snapshot.settings.pmtu_disc, &mut self.ip_id);
        } else {
            let (head, rest) = plain::split(packet.bytes_mut())?;
            if of.len > lane.mtu || head.ip.ttl <= 1 {
                return None;
            }
            if flags.has(Flags::NAT) {
                let sum = plain::transport_sum(rest, of.key.protocol)?;
                let change = Change {
                    direction: Direction::In,
                    address: entry.destination_address,
                    l4_port: entry.destination_port,
                    delta_l3: Delta(entry.delta_l3),
                    delta_l4: Delta(entry.delta_l4),
                };
                change.apply(head, sum);
            } else {
                plain::take_hop(&mut head.ip, 0);
            }
            head.ether = lane.header;
            cut(packet, of.len);
        }
        entry.in_packets = entry.in_packets.wrapping_add(1);
        if let Some(counters) = self.board.destinations.get(entry.destination as usize) {
            counters.in_packets.add(1);
            counters.in_bytes.add(of.len.into());
        }
        self.conns.touch(id, timeout, now);
        Some(lane.port)
    }

    #[inline(always)]
    fn express_out<P: Packet>(
        &mut self,
        packet: &mut P,
        of: &Plain,
        id: ConnId,
        now: Tick,
    ) -> Option<u16> {
        let (snapshot, entry) = (&self.snapshot, self.conns.entry_mut(id));
        let network = &snapshot.network;
        if !snapshot.services.hooked[0]
            || entry.client_hop_generation != network.generation
            || is_unsure(entry.flags)
        {
            return None;
        }
        let hop = network.hop_at(HopId(entry.client_hop))?;
        let lane = snapshot.lanes.get(entry.destination as usize)?;
        let timeout = steady(&snapshot.settings, entry, of, From::Destination)?;
        let (head, rest) = plain::split(packet.bytes_mut())?;
        if head.ip.ttl <= 1 || of.len > hop.mtu || usize::from(hop.header_len) != ether::LEN {
            return None;
        }
        let sum = plain::transport_sum(rest, of.key.protocol)?;
        let change = Change {
            direction: Direction::Out,
            address: entry.virtual_address,
            l4_port: entry.ports_in().dst(),
            delta_l3: Delta(entry.delta_l3).reversed(),
            delta_l4: Delta(entry.delta_l4).reversed(),
        };
        change.apply(head, sum);
        head.ether.copy_from_slice(hop.header.first_chunk::<{ ether::LEN }>()?);
        cut(packet, of.len);
        entry.flags.set(Flags::REPLIED, true);
        if of.key.protocol != protocol::UDP {
            entry.flags.set(Flags::NO_OUTPUT, false);
        }
        let destination = entry.destination as usize;
        if lane.is_available()
            && let Some(counters) = self.board.destinations.get(destination)
        {
            counters.out_packets.add(1);
            counters.out_bytes.add(of.len.into());
        }
        self.conns.touch(id, timeout, now);
        Some(hop.port)
    }
}

/// Whether a template has yet to hear whether the connection was really opened.
#[inline(always)]
fn is_unsure(flags: Flags) -> bool {
    flags.0 & (Flags::CHILD.0 | Flags::ASSURED.0) == Flags::CHILD.0
}

/// The time-out that a packet leaves its connection with, if it leaves its state as it is.
#[inline(always)]
fn steady(settings: &Settings, entry: &Entry, of: &Plain, from: From) -> Option<Millis> {
    if of.key.protocol == protocol::UDP {
        return Some(settings.timeouts.udp);
    }
    let state = tcp::State::from_number(entry.state);
    let next = tcp::next(state, from, of.tcp_flags, settings.secure_tcp);
    (next == state).then(|| settings.timeouts.tcp[next as usize])
}

/// Cuts off what a frame has behind its IP packet.
#[inline(always)]
fn cut<P: Packet>(packet: &mut P, len: u16) {
    let len = ether::LEN + usize::from(len);
    if packet.bytes().len() != len {
        packet.truncate(len);
    }
}

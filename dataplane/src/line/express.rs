//! The express way: what a plain packet of a known connection needs, and nothing else.
//!
//! Nearly all packets are plain (see [`Plain`]) and leave their connection's state as it is. For them the
//! decisions of [`advance`](super::advance) and [`way`](super::way) come down to two cache lines, the connection's entry and the
//! [`Lane`](crate::config::Lane) of its destination or the next hop to the client. Whatever is not as usual takes the long way, and
//! nothing has changed before that is known; a law in the tests holds the two to the same results.

use super::{Line, Work};
use crate::config::{HopId, Settings};
use crate::conn::{ConnId, Direction, Entry, Flags, Table};
use crate::forward::plain::{self, Change};
use crate::forward::template::Numbers;
use crate::packet::Packet;
use crate::parse::Plain;
use crate::proto::{From, tcp};
use crate::time::{Millis, Tick};
use crate::wire::plain::Ip;
use crate::wire::tcp::SYN;
use crate::wire::{ether, protocol};

/// How a table tells the address that NAT puts into a packet.
type AddressOf<I> = fn(&Table, ConnId, Direction) -> <I as Ip>::Address;

impl Line {
    /// Sends a plain packet of a known connection on; gives the port it leaves by. `None`, and nothing has changed, when
    /// it must take the long way.
    #[inline(always)]
    pub(super) fn express<I: Ip, P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        (id, direction): (ConnId, Direction),
        address: AddressOf<I>,
        now: Tick,
    ) -> Option<u16> {
        match direction {
            Direction::In => self.express_in::<I, P>(packet, work, id, address, now),
            Direction::Out => self.express_out::<I, P>(packet, work, id, address, now),
        }
    }

    #[inline(always)]
    fn express_in<I: Ip, P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        id: ConnId,
        address: AddressOf<I>,
        now: Tick,
    ) -> Option<u16> {
        let (of, snapshot, entry) = (&work.plain, &self.snapshot, self.conns.entry(id));
        let (lane, flags) = (snapshot.lanes.get(entry.destination as usize)?, entry.flags);
        // A SYN may open a connection anew, and a template may have to hear of this one.
        if !lane.is_open() || of.tcp_flags & SYN != 0 || flags.is_unsure() {
            return None;
        }
        let from = if flags.has(Flags::NO_OUTPUT) { From::ClientOnly } else { From::Client };
        let timeout = steady(&snapshot.settings, entry, of, from)?;
        if flags.has(Flags::TUNNEL) {
            return self.express_tunnel::<I, P>(packet, work, (id, lane.template()), timeout, now);
        }
        let nat = flags.has(Flags::NAT);
        let change = nat.then(|| Change::new(entry, Direction::In, address(&self.conns, id, Direction::In)));
        rewrite::<I, P>(packet, of, (&lane.ether, lane.mtu), change)?;
        let port = lane.port;
        self.count_in(id, of.len);
        self.conns.touch(id, timeout, now);
        Some(port)
    }

    /// The rest of the way into a tunnel. It stands apart: inlined, it takes registers from all others.
    #[inline(never)]
    fn express_tunnel<I: Ip, P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        (id, template): (ConnId, usize),
        timeout: Millis,
        now: Tick,
    ) -> Option<u16> {
        let (of, snapshot) = (&work.plain, &self.snapshot);
        let lane = snapshot.lanes.get(self.conns.entry(id).destination as usize)?;
        let template = snapshot.templates.get(template)?;
        let fits = of.len <= lane.mtu - template.overhead() && template.is_for(I::IPV6);
        if !fits || !self.paths.is_empty() || plain::split::<I>(packet.bytes_mut())?.0.ip.hops() <= 1 {
            return None;
        }
        let flow = if template.shows_flow() { self.steering.seed.hash(&work.key()) } else { 0 };
        let numbers = Numbers { keep_df: snapshot.settings.pmtu_disc, ip_id: &mut self.ip_id };
        cut(packet, of.len);
        template.wrap::<I, P>(packet, of.len, flow, numbers)?;
        let port = lane.port;
        self.count_in(id, of.len);
        self.conns.touch(id, timeout, now);
        Some(port)
    }

    #[inline(always)]
    fn express_out<I: Ip, P: Packet>(
        &mut self,
        packet: &mut P,
        work: &Work,
        id: ConnId,
        address: AddressOf<I>,
        now: Tick,
    ) -> Option<u16> {
        let (of, snapshot, entry) = (&work.plain, &self.snapshot, self.conns.entry(id));
        let network = &snapshot.network;
        if !snapshot.services.hooked[usize::from(I::IPV6)]
            || entry.client_hop_generation != network.generation
            || entry.flags.is_unsure()
        {
            return None;
        }
        let hop = network.hop_at(HopId(entry.client_hop))?;
        let lane = snapshot.lanes.get(entry.destination as usize)?;
        let timeout = steady(&snapshot.settings, entry, of, From::Destination)?;
        let ether = hop.header.first_chunk().filter(|_| usize::from(hop.header_len) == ether::LEN)?;
        let change = Change::new(entry, Direction::Out, address(&self.conns, id, Direction::Out));
        rewrite::<I, P>(packet, of, (ether, hop.mtu), Some(change))?;
        let counters = self.board.destinations.get(entry.destination as usize);
        if let Some(counters) = counters.filter(|_| lane.is_available()) {
            counters.out_packets.add(1);
            counters.out_bytes.add(of.len.into());
        }
        let port = hop.port;
        let flags = &mut self.conns.entry_mut(id).flags;
        flags.set(Flags::REPLIED, true);
        if of.protocol != protocol::UDP {
            flags.set(Flags::NO_OUTPUT, false);
        }
        self.conns.touch(id, timeout, now);
        Some(port)
    }
}

/// The time-out that a packet leaves its connection with, if it leaves its state as it is.
#[inline(always)]
fn steady(settings: &Settings, entry: &Entry, of: &Plain, from: From) -> Option<Millis> {
    if of.protocol == protocol::UDP {
        return Some(settings.timeouts.udp);
    }
    let state = tcp::State::from_number(entry.state);
    let next = tcp::next(state, from, of.tcp_flags, settings.secure_tcp);
    (next == state).then(|| settings.timeouts.tcp[next as usize])
}

/// Addresses a frame to the next hop, takes a hop off it and makes NAT's change, if any.
#[inline(always)]
fn rewrite<I: Ip, P: Packet>(
    packet: &mut P,
    of: &Plain,
    (ether, mtu): (&[u8; ether::ADDRESSES], u16),
    change: Option<Change<I::Address>>,
) -> Option<()> {
    let (head, rest) = plain::split::<I>(packet.bytes_mut())?;
    if of.len > mtu || head.ip.hops() <= 1 {
        return None;
    }
    match change {
        Some(change) => change.apply(head, plain::transport_sum(rest, of.protocol)?, of.protocol),
        None => head.ip.take_hop(),
    }
    head.ether = *ether;
    cut(packet, of.len);
    Some(())
}

/// Cuts off what a frame has behind its IP packet.
#[inline(always)]
fn cut<P: Packet>(packet: &mut P, len: u16) {
    let len = ether::LEN + usize::from(len);
    if packet.bytes().len() != len {
        packet.truncate(len);
    }
}

//! The express way: what a plain packet of a known connection needs, and nothing else.
//!
//! Nearly all packets are plain (see [`Plain`]) and leave their connection's state as it is. For them the
//! decisions of [`advance`](super::advance) and [`way`](super::way) come down to two cache lines, the connection's entry and the
//! [`Adjacency`](crate::config::Lane) of its destination or the next hop to the client. Whatever is not as usual takes the long way, and
//! nothing has changed before that is known; a law in the tests holds the two to the same results.

use zerocopy::network_endian::{U16, U32, U128};

use super::processor::Processor;
use super::{Burst, NextStage, PacketMeta, Pipeline};
use crate::config::{HopId, Settings};
use crate::conn::{ConnId, Direction, Entry, Expiry, Flags, Table};
use crate::cpu::Cpu;
use crate::flow::{Key, Seed};
use crate::forward::plain::{self, Change, End, Keep, TcpStart, UdpStart};
use crate::forward::rewrite::{NewEnd, never_zero};
use crate::forward::tunnel_header::Numbers;
use crate::packet::Packet;
use crate::parse::Plain;
use crate::proto::{From, tcp};
use crate::stats::WorkerStats;
use crate::time::{Millis, Tick};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::plain::Ip;
use crate::wire::tcp::SYN;
use crate::wire::{ether, protocol};

/// How a table tells of a connection what plain packets need.
pub(super) trait Family: Ip {
    /// The connection, and the address that NAT puts into packets that go in `direction`.
    fn connection(conns: &mut Table, id: ConnId, direction: Direction)
    -> Option<(&mut Entry, Self::Address)>;
}

impl Family for Ipv4Hdr {
    #[inline(always)]
    fn connection(conns: &mut Table, id: ConnId, direction: Direction) -> Option<(&mut Entry, U32)> {
        conns.connection4(id, direction)
    }
}

impl Family for Ipv6Hdr {
    #[inline(always)]
    fn connection(conns: &mut Table, id: ConnId, direction: Direction) -> Option<(&mut Entry, U128)> {
        conns.connection6(id, direction)
    }
}

impl Pipeline {
    /// Sends a plain packet of a known connection on; gives the port it leaves by. `None`, and nothing has changed, when
    /// it must take the long way.
    #[inline(always)]
    pub(super) fn fast_path<I: Family, C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        (id, direction): (ConnId, Direction),
        burst: &Burst<C>,
    ) -> Option<u16> {
        match direction {
            Direction::In => self.fast_path_from_client::<I, C, P>(packet, meta, id, burst),
            Direction::Out => self.fast_path_from_server::<I, C, P>(packet, meta, id, burst),
        }
    }

    #[inline(always)]
    fn fast_path_from_client<I: Family, C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        burst: &Burst<C>,
    ) -> Option<u16> {
        let (of, snapshot) = (&meta.plain, &self.snapshot);
        let (entry, address) = I::connection(&mut self.conns, id, Direction::In)?;
        let (adjacency, flags) = (snapshot.adjacencies.get(entry.destination as usize)?, entry.flags);
        // A SYN may open a connection anew, and a template may have to hear of this one.
        if !adjacency.is_open() || of.tcp_flags & SYN != 0 || flags.is_unsure() {
            return None;
        }
        let from = if flags.has(Flags::NO_OUTPUT) { From::ClientOnly } else { From::Client };
        let expiry = steady(&snapshot.settings, entry, of, from, burst)?;
        if flags.has(Flags::TUNNEL) {
            return burst.cpu.tunnel::<I, P>(self, packet, meta, (id, expiry.timeout(), burst.rx.now));
        }
        let way = (&adjacency.ether, adjacency.mtu);
        if flags.has(Flags::NAT) {
            let change = Change { src: Keep, dst: NewEnd::destination(entry, address) };
            translate::<I, P, _, _>(packet, of, way, &change)?;
        } else {
            forward::<I, P>(packet, of, way)?;
        }
        let port = adjacency.port;
        count_in(&self.stats, entry, of.len);
        if entry.touch(&expiry) {
            self.conns.rearm(id, expiry.end(burst.rx.now));
        }
        Some(port)
    }

    /// The rest of the way into a tunnel.
    #[inline(always)]
    pub(super) fn fast_path_tunnel<I: Family, C: Cpu, P: Packet>(
        &mut self,
        cpu: C,
        packet: &mut P,
        meta: &PacketMeta,
        (id, timeout, now): (ConnId, Millis, Tick),
    ) -> Option<u16> {
        let (of, snapshot) = (&meta.plain, &self.snapshot);
        let (entry, _) = I::connection(&mut self.conns, id, Direction::In)?;
        let adjacency = snapshot.adjacencies.get(entry.destination as usize)?;
        let tunnel_header = snapshot.tunnel_headers.get(adjacency.tunnel_header())?;
        let fits = of.len <= adjacency.mtu - tunnel_header.overhead() && tunnel_header.is_for(I::IPV6);
        if !fits || !self.pmtu.is_empty() {
            return None;
        }
        let flow = if tunnel_header.shows_flow() { flow_hash(cpu, &self.steering.seed, meta) } else { 0 };
        let numbers = Numbers { keep_df: snapshot.settings.pmtu_disc, ip_id: &mut self.ip_id };
        tunnel_header.wrap::<I, P>(packet, of.len, flow, numbers)?;
        packet.truncate(ether::LEN + usize::from(tunnel_header.overhead() + of.len));
        let port = adjacency.port;
        count_in(&self.stats, entry, of.len);
        let expiry = Expiry::new(timeout, now);
        if entry.touch(&expiry) {
            self.conns.rearm(id, expiry.end(now));
        }
        Some(port)
    }

    #[inline(always)]
    fn fast_path_from_server<I: Family, C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        burst: &Burst<C>,
    ) -> Option<u16> {
        let (of, snapshot) = (&meta.plain, &self.snapshot);
        let network = &snapshot.network;
        let (entry, address) = I::connection(&mut self.conns, id, Direction::Out)?;
        if !snapshot.services.hooked[usize::from(I::IPV6)]
            || entry.client_hop_generation != network.generation
            || entry.flags.is_unsure()
        {
            return None;
        }
        let hop = network.hop_at(HopId(entry.client_hop))?;
        let adjacency = snapshot.adjacencies.get(entry.destination as usize)?;
        let expiry = steady(&snapshot.settings, entry, of, From::Destination, burst)?;
        let ether = hop.header.first_chunk().filter(|_| usize::from(hop.header_len) == ether::LEN)?;
        let change = Change { src: NewEnd::virtual_(entry, address), dst: Keep };
        translate::<I, P, _, _>(packet, of, (ether, hop.mtu), &change)?;
        let port = hop.port;
        let counters = self.stats.destinations.get(entry.destination as usize);
        if let Some(counters) = counters.filter(|_| adjacency.is_available()) {
            counters.out_packets.add(1);
            counters.out_bytes.add(of.len.into());
        }
        entry.flags.set(Flags::REPLIED, true);
        if of.protocol != protocol::UDP {
            entry.flags.set(Flags::NO_OUTPUT, false);
        }
        if entry.touch(&expiry) {
            self.conns.rearm(id, expiry.end(burst.rx.now));
        }
        Some(port)
    }
}

/// What tells a plain packet's flow apart in a tunnel: the hash that [`Seed::hash`] gives.
#[inline(always)]
fn flow_hash<C: Cpu>(cpu: C, seed: &Seed, meta: &PacketMeta) -> u64 {
    match &meta.parsed.key {
        Key::V6(key) if meta.next == NextStage::FastPath6 => cpu.hash6(seed, key),
        _ => cpu.hash4(seed, &meta.key),
    }
}

/// Counts a packet from the client.
#[inline(always)]
pub(super) fn count_in(stats: &WorkerStats, entry: &mut Entry, len: u16) {
    entry.in_packets = entry.in_packets.wrapping_add(1);
    if let Some(counters) = stats.destinations.get(entry.destination as usize) {
        counters.in_packets.add(1);
        counters.in_bytes.add(len.into());
    }
}

/// What a packet's connection lives on, if the packet leaves its state as it is.
#[inline(always)]
fn steady<C>(settings: &Settings, entry: &Entry, of: &Plain, from: From, burst: &Burst<C>) -> Option<Expiry> {
    if of.protocol == protocol::UDP {
        return Some(burst.udp);
    }
    let state = tcp::State::from_number(entry.state);
    let next = tcp::next(state, from, of.tcp_flags, settings.secure_tcp);
    (next == state).then(|| Expiry::new(settings.timeouts.tcp[next as usize], burst.rx.now))
}

/// The addresses in front of frames to a next hop, and the largest IP packet on the way there.
type Way<'a> = (&'a [u8; ether::ADDRESSES], u16);

/// Addresses a frame to the next hop and takes a hop off it.
#[inline(always)]
fn forward<I: Ip, P: Packet>(packet: &mut P, of: &Plain, (ether, mtu): Way) -> Option<()> {
    let (head, _) = plain::split::<I>(packet.bytes_mut())?;
    if of.len > mtu || head.ip.hops() <= 1 {
        return None;
    }
    head.ip.take_hop();
    head.ether = *ether;
    cut(packet, of.len);
    Some(())
}

/// The same with NAT's change.
#[inline(always)]
fn translate<I: Ip, P: Packet, S: End<I::Address>, D: End<I::Address>>(
    packet: &mut P,
    of: &Plain,
    (ether, mtu): Way,
    change: &Change<S, D>,
) -> Option<()> {
    let frame = packet.bytes_mut();
    let head = if of.protocol == protocol::UDP {
        let UdpStart { head, sum, .. } = plain::start::<UdpStart<I>>(frame)?;
        if of.len > mtu || head.ip.hops() <= 1 || *sum == U16::ZERO {
            return None;
        }
        *sum = never_zero(change.patch::<I::Address>(*sum));
        head
    } else {
        let TcpStart { head, sum, .. } = plain::start::<TcpStart<I>>(frame)?;
        if of.len > mtu || head.ip.hops() <= 1 {
            return None;
        }
        *sum = change.patch::<I::Address>(*sum);
        head
    };
    change.apply(head);
    head.ether = *ether;
    cut(packet, of.len);
    Some(())
}

/// Cuts off what a frame has behind its IP packet.
#[inline(always)]
fn cut<P: Packet>(packet: &mut P, len: u16) {
    packet.truncate(ether::LEN + usize::from(len));
}

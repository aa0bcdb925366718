//! The fast path: all that a plain packet of a known connection needs.
//!
//! Nearly all packets are plain (see [`Plain`]) and leave their connection's state as it is. For them the decisions of the
//! slow path come down to two cache lines: the connection's entry, and the [`Adjacency`](crate::config::Adjacency) of its
//! destination or the next hop to the client. Anything unusual is refused with its reason before anything has changed, and
//! takes the slow path; a property test holds the two to the same results.

use zerocopy::network_endian::{U16, U32, U128};

use super::processor::Processor;
use super::{Burst, NextStage, PacketMeta, Pipeline};
use crate::config::{Adjacency, HopId, Settings};
use crate::conn::{ConnId, Direction, Entry, Expiry, Flags, Table};
use crate::cpu::Cpu;
use crate::flow::{Key, Seed};
use crate::forward::plain::{self, End, PlainRewrite, TcpStart, UdpStart, Unchanged};
use crate::forward::rewrite::{NewEnd, never_zero};
use crate::forward::tunnel_header::Numbers;
use crate::packet::Packet;
use crate::parse::Plain;
use crate::proto::{Sender, tcp};
use crate::stats::WorkerStats;
use crate::time::{Millis, Tick};
use crate::verdict::SlowPathReason;
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::plain::Ip;
use crate::wire::tcp::SYN;
use crate::wire::{ether, protocol};

/// An address family, as the connection table has it.
pub(super) trait Family: Ip {
    /// The connection that the packet's candidate names, if it is the packet's.
    fn confirm<C: Cpu>(conns: &Table, cpu: C, meta: &PacketMeta) -> Option<(ConnId, Direction)>;

    /// The connection's entry, and the address that NAT puts into its packets in `direction`.
    fn connection(conns: &mut Table, id: ConnId, direction: Direction)
    -> Option<(&mut Entry, Self::Address)>;
}

impl Family for Ipv4Hdr {
    #[inline(always)]
    fn confirm<C: Cpu>(conns: &Table, cpu: C, meta: &PacketMeta) -> Option<(ConnId, Direction)> {
        conns.confirm(cpu, meta.candidate, &meta.key)
    }

    #[inline(always)]
    fn connection(conns: &mut Table, id: ConnId, direction: Direction) -> Option<(&mut Entry, U32)> {
        conns.connection4(id, direction)
    }
}

impl Family for Ipv6Hdr {
    #[inline(always)]
    fn confirm<C: Cpu>(conns: &Table, cpu: C, meta: &PacketMeta) -> Option<(ConnId, Direction)> {
        let Key::V6(key) = &meta.parsed.key else { return None };
        conns.confirm6(cpu, meta.candidate, key)
    }

    #[inline(always)]
    fn connection(conns: &mut Table, id: ConnId, direction: Direction) -> Option<(&mut Entry, U128)> {
        conns.connection6(id, direction)
    }
}

impl Pipeline {
    /// Sends a plain packet on if its connection is known. Returns the port that it leaves by.
    ///
    /// # Errors
    /// Why it must take the slow path; nothing has changed then.
    #[inline(always)]
    pub(super) fn fast_path<I: Family, C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<C>,
    ) -> Result<u16, SlowPathReason> {
        let unchanged = burst.changes == self.conns.changes();
        let (id, direction) = match I::confirm(&self.conns, burst.cpu, meta).filter(|_| unchanged) {
            Some(found) => found,
            None => self.look_up_again(meta)?,
        };
        match direction {
            Direction::In => self.fast_path_from_client::<I, C, P>(packet, meta, id, burst),
            Direction::Out => self.fast_path_from_server::<I, C, P>(packet, meta, id, burst),
        }
    }

    /// The candidate was wrong: the flow's first index bucket is full, or the table changed during the burst.
    #[inline(never)]
    fn look_up_again(&self, meta: &PacketMeta) -> Result<(ConnId, Direction), SlowPathReason> {
        self.conns.find(meta.hash, &meta.key()).ok_or_else(|| refuse(SlowPathReason::NoConnection))
    }

    #[inline(always)]
    fn fast_path_from_client<I: Family, C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        burst: &Burst<C>,
    ) -> Result<u16, SlowPathReason> {
        let (plain, snapshot) = (&meta.plain, &self.snapshot);
        let (entry, address) = I::connection(&mut self.conns, id, Direction::In)
            .ok_or_else(|| refuse(SlowPathReason::NoConnection))?;
        let adjacency = snapshot
            .adjacencies
            .get(entry.destination as usize)
            .ok_or_else(|| refuse(SlowPathReason::Adjacency))?;
        let flags = entry.flags;
        if !adjacency.is_open() || plain.tcp_flags & SYN != 0 || flags.needs_slow_path() {
            return Err(why_not_from_client(adjacency, plain));
        }
        let sender = if flags.has(Flags::NO_OUTPUT) { Sender::ClientOnly } else { Sender::Client };
        let expiry = unchanged_state(&snapshot.settings, entry, plain, sender, burst)?;
        if flags.has(Flags::TUNNEL) {
            return burst.cpu.tunnel::<I, P>(self, packet, meta, (id, expiry.timeout(), burst.rx.now));
        }
        let hop = (&adjacency.ether, adjacency.mtu);
        if flags.has(Flags::NAT) {
            let change = PlainRewrite { src: Unchanged, dst: NewEnd::destination(entry, address) };
            rewrite::<I, P, _, _>(packet, plain, hop, &change)?;
        } else {
            forward::<I, P>(packet, plain, hop)?;
        }
        let port = adjacency.port;
        count_in(&self.stats, entry, plain.len);
        if entry.touch(&expiry) {
            self.conns.rearm(id, expiry.end(burst.rx.now));
        }
        Ok(port)
    }

    /// The end of the fast path into a tunnel.
    #[inline(always)]
    pub(super) fn fast_path_tunnel<I: Family, C: Cpu, P: Packet>(
        &mut self,
        cpu: C,
        packet: &mut P,
        meta: &PacketMeta,
        (id, timeout, now): (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        let (plain, snapshot) = (&meta.plain, &self.snapshot);
        let (entry, _) = I::connection(&mut self.conns, id, Direction::In)
            .ok_or_else(|| refuse(SlowPathReason::NoConnection))?;
        let adjacency = snapshot
            .adjacencies
            .get(entry.destination as usize)
            .ok_or_else(|| refuse(SlowPathReason::Adjacency))?;
        let header = snapshot
            .tunnel_headers
            .get(adjacency.tunnel_header())
            .ok_or_else(|| refuse(SlowPathReason::Adjacency))?;
        if plain.len > adjacency.mtu - header.overhead() {
            return Err(refuse(SlowPathReason::SizeOrTtl));
        }
        if !header.is_for(I::IPV6) || !self.pmtu.is_empty() {
            return Err(refuse(SlowPathReason::Adjacency));
        }
        let flow = if header.shows_flow() { flow_hash(cpu, &self.steering.seed, meta) } else { 0 };
        let numbers = Numbers { keep_df: snapshot.settings.pmtu_disc, ip_id: &mut self.ip_id };
        header
            .wrap::<I, P>(packet, plain.len, flow, numbers)
            .ok_or_else(|| refuse(SlowPathReason::SizeOrTtl))?;
        packet.truncate(ether::LEN + usize::from(header.overhead() + plain.len));
        let port = adjacency.port;
        count_in(&self.stats, entry, plain.len);
        let expiry = Expiry::new(timeout, now);
        if entry.touch(&expiry) {
            self.conns.rearm(id, expiry.end(now));
        }
        Ok(port)
    }

    #[inline(always)]
    fn fast_path_from_server<I: Family, C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        id: ConnId,
        burst: &Burst<C>,
    ) -> Result<u16, SlowPathReason> {
        let (plain, snapshot) = (&meta.plain, &self.snapshot);
        let network = &snapshot.network;
        let (entry, address) = I::connection(&mut self.conns, id, Direction::Out)
            .ok_or_else(|| refuse(SlowPathReason::NoConnection))?;
        if !snapshot.services.hooked[usize::from(I::IPV6)]
            || entry.client_hop_generation != network.generation
        {
            return Err(refuse(SlowPathReason::ClientRoute));
        }
        if entry.flags.needs_slow_path() {
            return Err(refuse(SlowPathReason::Feature));
        }
        let hop = network.hop_at(HopId(entry.client_hop)).ok_or_else(|| refuse(SlowPathReason::Adjacency))?;
        let adjacency = snapshot
            .adjacencies
            .get(entry.destination as usize)
            .ok_or_else(|| refuse(SlowPathReason::Adjacency))?;
        let expiry = unchanged_state(&snapshot.settings, entry, plain, Sender::Destination, burst)?;
        let ether = hop.header.first_chunk().filter(|_| usize::from(hop.header_len) == ether::LEN);
        let ether = ether.ok_or_else(|| refuse(SlowPathReason::Adjacency))?;
        let change = PlainRewrite { src: NewEnd::virtual_(entry, address), dst: Unchanged };
        rewrite::<I, P, _, _>(packet, plain, (ether, hop.mtu), &change)?;
        let port = hop.port;
        let counters = self.stats.destinations.get(entry.destination as usize);
        if let Some(counters) = counters.filter(|_| adjacency.is_available()) {
            counters.out_packets.add(1);
            counters.out_bytes.add(plain.len.into());
        }
        entry.flags.set(Flags::REPLIED, true);
        if plain.protocol != protocol::UDP {
            entry.flags.set(Flags::NO_OUTPUT, false);
        }
        if entry.touch(&expiry) {
            self.conns.rearm(id, expiry.end(burst.rx.now));
        }
        Ok(port)
    }
}

/// The reason for which the fast path refuses a packet. A call, so that the compiler does not prepare reasons on the path
/// of packets that are not refused; that costs an instruction for each.
#[cold]
#[inline(never)]
fn refuse(why: SlowPathReason) -> SlowPathReason {
    why
}

/// Why [`Pipeline::fast_path_from_client`] refuses a packet. The fast path tests all three conditions at once; only a refused
/// packet pays for finding out which.
#[cold]
#[inline(never)]
fn why_not_from_client(adjacency: &Adjacency, plain: &Plain) -> SlowPathReason {
    if !adjacency.is_open() {
        SlowPathReason::Adjacency
    } else if plain.tcp_flags & SYN != 0 {
        // A SYN may open the connection again.
        SlowPathReason::State
    } else {
        SlowPathReason::Feature
    }
}

/// The flow's entropy in an outer header: the hash that [`Seed::hash`] gives.
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

/// The connection's expiry after a packet that leaves its state as it is.
///
/// # Errors
/// When the packet changes the state.
#[inline(always)]
fn unchanged_state<C>(
    settings: &Settings,
    entry: &Entry,
    plain: &Plain,
    sender: Sender,
    burst: &Burst<C>,
) -> Result<Expiry, SlowPathReason> {
    if plain.protocol == protocol::UDP {
        return Ok(burst.udp_expiry);
    }
    let state = tcp::State::from_number(entry.state);
    let next = tcp::next(state, sender, plain.tcp_flags, settings.secure_tcp);
    if next != state {
        return Err(refuse(SlowPathReason::State));
    }
    Ok(Expiry::new(settings.timeouts.tcp[next as usize], burst.rx.now))
}

/// Ethernet addresses of frames to a next hop, and the largest IP packet that its link takes.
type Hop<'a> = (&'a [u8; ether::ADDRESSES], u16);

/// Addresses a frame to the next hop and decrements its TTL.
#[inline(always)]
fn forward<I: Ip, P: Packet>(packet: &mut P, plain: &Plain, (ether, mtu): Hop) -> Result<(), SlowPathReason> {
    let (head, _) = plain::split::<I>(packet.bytes_mut()).ok_or_else(|| refuse(SlowPathReason::NotPlain))?;
    if plain.len > mtu || head.ip.ttl() <= 1 {
        return Err(refuse(SlowPathReason::SizeOrTtl));
    }
    head.ip.decrement_ttl();
    head.ether = *ether;
    cut(packet, plain.len);
    Ok(())
}

/// Rewrites a packet of a NAT connection and addresses its frame to the next hop.
#[inline(always)]
fn rewrite<I: Ip, P: Packet, S: End<I::Address>, D: End<I::Address>>(
    packet: &mut P,
    plain: &Plain,
    (ether, mtu): Hop,
    change: &PlainRewrite<S, D>,
) -> Result<(), SlowPathReason> {
    let frame = packet.bytes_mut();
    let head = if plain.protocol == protocol::UDP {
        let UdpStart { head, sum, .. } =
            plain::start::<UdpStart<I>>(frame).ok_or_else(|| refuse(SlowPathReason::NotPlain))?;
        if plain.len > mtu || head.ip.ttl() <= 1 || *sum == U16::ZERO {
            let summed = *sum != U16::ZERO;
            return Err(refuse(if summed { SlowPathReason::SizeOrTtl } else { SlowPathReason::NoChecksum }));
        }
        *sum = never_zero(change.patch::<I::Address>(*sum));
        head
    } else {
        let TcpStart { head, sum, .. } =
            plain::start::<TcpStart<I>>(frame).ok_or_else(|| refuse(SlowPathReason::NotPlain))?;
        if plain.len > mtu || head.ip.ttl() <= 1 {
            return Err(refuse(SlowPathReason::SizeOrTtl));
        }
        *sum = change.patch::<I::Address>(*sum);
        head
    };
    change.apply(head);
    head.ether = *ether;
    cut(packet, plain.len);
    Ok(())
}

/// Cuts off the padding behind the IP packet.
#[inline(always)]
fn cut<P: Packet>(packet: &mut P, len: u16) {
    packet.truncate(ether::LEN + usize::from(len));
}

//! The packet's way through a worker: stages over a whole burst, then a decision for each packet.
//!
//! Memory is slow and flows are many, so a burst is parsed and hashed first while the index lines are on their way,
//! then the entries are asked for, and only then is each packet looked at again.

pub mod egress;
mod fast_path;
pub mod maintenance;
mod parse;
mod processor;
mod slow_path;
#[cfg(test)]
mod tests;
mod trace;

use std::sync::Arc;

use crate::config::{ConfigEvents, Snapshot, WorkerRings};
use crate::conn::slab::prefetch_at;
use crate::conn::{ConnId, Direction, Expiry, Quotas, Shared, Table};
use crate::cpu::Cpu;
use crate::flow::Key;
use crate::forward::Egress;
use crate::icmp::Message;
use crate::io::Batch;
use crate::packet::Packet;
use crate::parse::Kind;
use crate::sched::{self, Load, SchedulerState};
use crate::service::DestinationId;
use crate::stats::WorkerStats;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::MacBytes;
use crate::wire::{ipv4::Ipv4Hdr, ipv6::Ipv6Hdr};

use egress::pmtu::PmtuCache;
pub use egress::{KernelRing, TxBuffers};
use maintenance::defence::Defence;
use maintenance::deferred_expiry::DeferredExpiry;
use maintenance::flush::Flush;
use parse::NextStage;
pub use parse::{PacketMeta, metas};
use processor::Processor;

/// How many packets ahead a header is asked for while another is parsed.
const AHEAD: usize = 4;

/// What is decided about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It leaves.
    Forward(Egress),
    /// It becomes an answer to its sender.
    SendIcmp(Message),
    /// The kernel gets it.
    ToKernel,
    /// It is dropped.
    Drop(DropReason),
}

/// Where and when a burst came in.
#[derive(Clone, Copy, Debug)]
pub struct RxContext {
    /// Number of the port.
    pub port: u16,
    /// The port's hardware address.
    pub mac: MacBytes,
    /// The time.
    pub now: Tick,
    /// Another worker has gathered the fragments that come now; they are ours.
    pub relayed: bool,
}

/// What is the same for all packets of a burst.
struct Burst<'a, C> {
    cpu: C,
    rx: &'a RxContext,
    /// How many connections had come and gone when the packets' connections were guessed.
    changes: u32,
    /// What a datagram's connection lives on.
    udp: Expiry,
}

/// One worker's state, packets and queues aside.
pub struct Pipeline {
    /// Number of this worker.
    pub me: WorkerId,
    /// The rule by which flows are shared out.
    pub steering: Steering,
    /// All connections.
    pub conns: Table,
    /// What is configured.
    pub snapshot: Box<Snapshot>,
    /// Schedulers' memory, by service.
    pub scheduler_states: Box<[SchedulerState]>,
    /// What all workers share: templates, and the counts behind thresholds.
    pub shared: Arc<Shared>,
    /// MTUs learnt of tunnels' ways.
    pub pmtu: PmtuCache,
    /// What the defences remember.
    pub defence: Defence,
    /// Connections that are half open.
    pub half_open: u32,
    /// Connections opened in this turn.
    pub opened: u32,
    /// The connection that served the packet in hand and no other, and which way that went.
    pub last_ops: Option<(ConnId, Direction)>,
    /// The packet in hand is the first fragment of several.
    pub in_datagram: bool,
    /// When schedulers, templates and paths were last seen to.
    pub maintained: Tick,
    /// Connections that are to expire now.
    pub ending: DeferredExpiry,
    /// Connections of removed destinations are looked for from here on.
    pub flush: Option<Flush>,
    /// What came with the snapshot and was not heard yet.
    pub config_events: ConfigEvents,
    /// Counters.
    pub stats: Arc<WorkerStats>,
    /// To and from control.
    pub rings: Arc<WorkerRings>,
    /// Last IPv4 identification used for headers of our own.
    pub ip_id: u16,
    /// Identification of the IPv6 packet that was sent in pieces last.
    pub fragment_id: u32,
    /// Room for the first stage's findings; see [`metas`].
    pub metas: Box<[PacketMeta]>,
}

/// Loads as schedulers see them: counts from the board, overload from what workers share.
struct LoadView<'a> {
    stats: &'a WorkerStats,
    quotas: &'a Quotas,
}

impl sched::Loads for LoadView<'_> {
    fn load(&self, id: DestinationId) -> Load {
        self.stats.load(id)
    }

    fn is_overloaded(&self, id: DestinationId) -> bool {
        self.quotas.is_overloaded(id)
    }
}

impl Pipeline {
    /// First stage: parse, hash, ask for the index lines.
    #[inline(always)]
    fn parse_burst<C: Cpu, P: Packet>(
        &self,
        cpu: C,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        let start = cpu.start(&rx.mac);
        for (place, (packet, meta)) in packets.iter().zip(metas).enumerate() {
            if let Some(ahead) = packets.get(place + AHEAD) {
                prefetch_at(ahead.bytes(), 0);
            }
            self.read((cpu, start), packet.bytes(), rx, meta);
        }
    }

    /// Second stage: ask for the entries.
    #[inline(always)]
    fn prefetch_entries<C: Cpu>(&self, cpu: C, metas: &mut [PacketMeta]) {
        for meta in metas {
            if matches!(meta.next, NextStage::FastPath4 | NextStage::FastPath6 | NextStage::Lookup) {
                meta.candidate = self.conns.prefetch_entry(cpu, meta.spot);
            }
        }
    }

    /// Last stage: decide, and make it so. `SIX` is for bursts of IPv6: its way is part of the loop.
    #[inline(always)]
    fn dispatch_burst<const SIX: bool, C: Processor, P: Packet>(
        &mut self,
        cpu: C,
        packets: &mut Batch<P>,
        (rx, metas): (&RxContext, &[PacketMeta]),
        out: &mut TxBuffers<P>,
    ) {
        let udp = Expiry::new(self.snapshot.settings.timeouts.udp, rx.now);
        let burst = Burst { cpu, rx, changes: self.conns.changes(), udp };
        for (packet, meta) in packets.drain(..).zip(metas) {
            self.dispatch::<SIX, C, P>(packet, meta, &burst, out);
        }
    }

    /// Last stage for one packet: decide, then make it so and count its verdict.
    #[inline(always)]
    fn dispatch<const SIX: bool, C: Processor, P: Packet>(
        &mut self,
        mut packet: P,
        meta: &PacketMeta,
        burst: &Burst<C>,
        out: &mut TxBuffers<P>,
    ) {
        let port = match meta.next {
            NextStage::FastPath4 => self.dispatch4(&mut packet, meta, burst),
            NextStage::FastPath6 if SIX => self.dispatch6(&mut packet, meta, burst),
            NextStage::FastPath6 => burst.cpu.dispatch6(self, &mut packet, meta, burst),
            _ => return self.slow_path(packet, meta, burst.rx, out),
        };
        let Some(port) = port else {
            let parsed = meta.plain.parsed(meta.key());
            let meta = PacketMeta { next: self.steer(&parsed, burst.rx.port), parsed, ..*meta };
            return self.slow_path(packet, &meta, burst.rx, out);
        };
        let verdict = out.send(port, packet);
        if verdict != Verdict::Sent {
            self.count_verdict(verdict);
        }
    }

    #[inline(always)]
    fn dispatch4<C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<C>,
    ) -> Option<u16> {
        let sure = burst.changes == self.conns.changes();
        let found = match self.conns.confirm(burst.cpu, meta.candidate, &meta.key).filter(|_| sure) {
            Some(found) => found,
            None => self.look_up_again(meta)?,
        };
        self.fast_path::<Ipv4Hdr, C, P>(packet, meta, found, burst)
    }

    #[inline(always)]
    fn dispatch6<C: Processor, P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<C>,
    ) -> Option<u16> {
        let Key::V6(key) = &meta.parsed.key else { return None };
        let sure = burst.changes == self.conns.changes();
        let found = match self.conns.confirm6(burst.cpu, meta.candidate, key).filter(|_| sure) {
            Some(found) => found,
            None => self.look_up_again(meta)?,
        };
        self.fast_path::<Ipv6Hdr, C, P>(packet, meta, found, burst)
    }

    /// A guess was wrong: the flow's home line is full, or something came or went during the burst.
    #[inline(never)]
    fn look_up_again(&self, meta: &PacketMeta) -> Option<(ConnId, Direction)> {
        self.conns.find(meta.hash, &meta.key())
    }

    /// Decides about any packet, and makes it so.
    #[inline(never)]
    fn slow_path<P: Packet>(
        &mut self,
        mut packet: P,
        meta: &PacketMeta,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) {
        let port = rx.port;
        // What a frame has behind its IP packet is not the packet's.
        let end = usize::from(meta.parsed.l3) + usize::from(meta.parsed.len);
        let trail = packet.bytes().len().saturating_sub(end);
        let decision = match meta.next {
            NextStage::Lookup | NextStage::FastPath4 | NextStage::FastPath6 => match meta.parsed.kind {
                Kind::IcmpError => self.icmp_error(&mut packet, meta, rx),
                Kind::TunnelError => match self.tunnel_icmp_error(packet.bytes(), meta, rx.now) {
                    Ok((inner, message)) => return self.send_icmp(packet, &inner, message, rx, out),
                    Err(decision) => decision,
                },
                _ => self.decide(&mut packet, meta, rx),
            },
            NextStage::Reassemble => return self.reassemble(packet, &meta.parsed, rx, out),
            NextStage::ToKernel => Decision::ToKernel,
            NextStage::HandOff(owner) => return self.count_verdict(out.hand_off(owner, port, packet)),
            NextStage::Drop(why) => return self.unreadable(why),
        };
        match decision {
            Decision::Forward(egress) => {
                if trail > 0 {
                    packet.truncate(packet.bytes().len() - trail);
                }
                if let Some(verdict) = self.send(packet, egress, rx, out) {
                    self.trace_not_sent(verdict);
                    self.count_verdict(verdict);
                }
            }
            Decision::SendIcmp(message) => self.send_icmp(packet, &meta.parsed, message, rx, out),
            Decision::ToKernel => self.count_verdict(out.to_kernel(port, packet)),
            Decision::Drop(why) => self.dropped(&meta.parsed, why),
        }
    }

    /// Counts what became of a packet.
    fn count_verdict(&self, verdict: Verdict) {
        let counters = &self.stats.counters;
        match verdict {
            Verdict::Sent => {} // counted when the port has taken it
            Verdict::IcmpSent(why) => counters.icmp_sent[why as usize].add(1),
            Verdict::ToKernel => counters.to_kernel.add(1),
            Verdict::HandedOff => counters.handoff_sent.add(1),
            Verdict::Dropped(why) => counters.drops[why as usize].add(1),
        }
    }
}

//! A burst's path through a worker: [`Pipeline::run`] has its stages in order.
//!
//! Memory is slow and flows are many, so each stage runs over the whole burst and prefetches what the next one reads. A
//! plain packet of a known connection takes the fast path ([`fast_path`]); all others take the [`slow_path`].

pub mod egress;
mod fast_path;
pub mod maintenance;
pub mod outcome;
mod parse;
mod processor;
mod slow_path;
#[cfg(test)]
mod tests;
mod trace;

use std::sync::Arc;

use crate::config::{ConfigEvents, Snapshot, WorkerRings};
use crate::conn::slab::prefetch_at;
use crate::conn::{Expiry, Quotas, Shared, Table};
use crate::cpu::{Cpu, Generic};
use crate::flow::Key;
use crate::icmp::rate_limit::RateLimiter;
use crate::io::Batch;
use crate::packet::Packet;
use crate::parse::{Parsed, Plain};
use crate::sched::{self, Load, SchedulerState};
use crate::service::DestinationId;
use crate::stats::WorkerStats;
use crate::steer::{Steering, WorkerId};
use crate::time::Tick;
use crate::verdict::{SlowPathReason, Verdict};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;

use egress::pmtu::PmtuCache;
pub use egress::{KernelRing, TxBuffers};
use maintenance::Maintenance;
use parse::NextStage;
pub use parse::PacketMeta;
use processor::Processor;

/// How many packets ahead the parse stage prefetches headers.
const PREFETCH_DISTANCE: usize = 4;

/// Where and when a burst was received.
#[derive(Clone, Copy, Debug)]
pub struct RxContext {
    /// Number of the port.
    pub port: u16,
    /// Time of the poll iteration.
    pub now: Tick,
    /// Another worker has reassembled these fragments and found this worker to own their flows.
    pub relayed: bool,
}

/// Constants of a burst.
struct Burst<'a, C> {
    cpu: C,
    rx: &'a RxContext,
    /// [`Table::changes`] when the candidates were prefetched.
    changes: u32,
    /// Expiry of UDP connections whose packet is in this burst.
    udp_expiry: Expiry,
}

impl Pipeline {
    /// Takes every packet of a burst to its verdict.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, rx: &RxContext, tx: &mut TxBuffers<P>) {
        self.conns.flush_pending();
        // Taken out, so that the pipeline can be changed while they are read.
        let mut metas = std::mem::take(&mut self.metas);
        if let Some(metas) = metas.get_mut(..packets.len()) {
            processor::run_stages(self, packets, rx, metas, tx);
        }
        self.metas = metas;
    }

    /// Takes one packet to its verdict, which the caller counts.
    fn run_one<P: Packet>(&mut self, packet: P, rx: &RxContext, tx: &mut TxBuffers<P>) -> Verdict {
        self.conns.flush_pending();
        let mut meta = PacketMeta::of(Parsed::NOTHING, 0, NextStage::ToKernel);
        match self.snapshot.receivers.plain(rx.port) {
            Some(mac) => self.parse_packet((Generic, Generic.start(&mac)), packet.bytes(), rx, &mut meta),
            None => self.parse_any(packet.bytes(), rx, &mut meta),
        }
        self.prefetch_entries(Generic, std::slice::from_mut(&mut meta));
        self.decide_packet::<false, Generic, P, Verdict>(
            packet,
            &meta,
            &self.burst(Generic, rx),
            tx,
            |_, verdict| verdict,
        )
    }

    fn burst<'a, C>(&self, cpu: C, rx: &'a RxContext) -> Burst<'a, C> {
        let udp_expiry = Expiry::new(self.snapshot.settings.timeouts.udp, rx.now);
        Burst { cpu, rx, changes: self.conns.changes(), udp_expiry }
    }

    /// The stages of a burst, in order. What is compiled for a kind of processor is in [`processor`], one name a stage.
    #[inline(always)]
    fn stages<C: Processor, P: Packet>(
        &mut self,
        cpu: C,
        packets: &mut Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
        tx: &mut TxBuffers<P>,
    ) {
        cpu.parse(self, packets, rx, metas); // headers → flow key and hash; prefetches index buckets
        self.prefetch_entries(cpu, metas); // index bucket → candidate; prefetches its entry
        cpu.decide(self, packets, rx, metas, tx); // fast path or slow path → verdict, each packet into its TX buffer
    }

    /// First stage: parses each packet, hashes its key and prefetches its index bucket.
    #[inline(always)]
    fn parse_burst<C: Cpu, P: Packet>(
        &self,
        cpu: C,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        let Some(mac) = self.snapshot.receivers.plain(rx.port) else {
            return self.parse_without_link(packets, rx, metas);
        };
        let start = cpu.start(&mac);
        for (place, (packet, meta)) in packets.iter().zip(metas).enumerate() {
            if let Some(ahead) = packets.get(place + PREFETCH_DISTANCE) {
                prefetch_at(ahead.bytes(), 0);
            }
            self.parse_packet((cpu, start), packet.bytes(), rx, meta);
        }
    }

    /// Parses a packet. A plain packet is steered only if its connection is not found: a connection is in its owner's
    /// table and no other, and the lookup costs less than computing the owner.
    #[inline(always)]
    fn parse_packet<C: Cpu>(
        &self,
        (cpu, start): (C, C::Start),
        frame: &[u8],
        rx: &RxContext,
        meta: &mut PacketMeta,
    ) {
        let Some((plain, key)) = Plain::read(cpu, frame, start) else {
            if !self.parse_plain6(cpu, start, frame, meta) {
                self.parse_any(frame, rx, meta);
            }
            return;
        };
        (meta.plain, meta.key, meta.next) = (plain, key, NextStage::FastPath4);
        meta.hash = cpu.hash4(self.conns.seed(), &key);
        meta.probe_start = self.conns.prefetch_bucket(meta.hash);
    }

    /// Parses a plain packet of IPv6. Returns false, and changes nothing, for any other packet.
    #[inline(always)]
    fn parse_plain6<C: Cpu>(&self, cpu: C, start: C::Start, frame: &[u8], meta: &mut PacketMeta) -> bool {
        let Some((plain, key)) = Plain::read6(cpu, frame, start) else { return false };
        (meta.plain, meta.parsed.key, meta.next) = (plain, Key::V6(key), NextStage::FastPath6);
        meta.hash = cpu.hash6(self.conns.seed(), &key);
        meta.probe_start = self.conns.prefetch_bucket(meta.hash);
        true
    }

    /// Second stage: prefetches the entries that the index buckets most probably name. A packet that needs no lookup has the
    /// `probe_start` of an earlier one; prefetching for it costs less than a test for every packet.
    #[inline(always)]
    fn prefetch_entries<C: Cpu>(&self, cpu: C, metas: &mut [PacketMeta]) {
        for meta in metas {
            meta.candidate = self.conns.prefetch_entry(cpu, meta.probe_start);
        }
    }

    /// Last stage: takes each packet to its verdict. `SIX` inlines the fast path of IPv6 into the loop, and not that of
    /// IPv4: for bursts that begin with IPv6.
    #[inline(always)]
    fn decide_burst<const SIX: bool, C: Processor, P: Packet>(
        &mut self,
        cpu: C,
        packets: &mut Batch<P>,
        (rx, metas): (&RxContext, &[PacketMeta]),
        tx: &mut TxBuffers<P>,
    ) {
        let burst = self.burst(cpu, rx);
        for (packet, meta) in packets.drain(..).zip(metas) {
            self.decide_packet::<SIX, C, P, ()>(packet, meta, &burst, tx, |pipeline, verdict| {
                if verdict != Verdict::Sent {
                    pipeline.count_verdict(verdict);
                }
            });
        }
    }

    /// Takes one packet to its verdict: by the fast path, or by the slow path if that has a reason to refuse it. `done`
    /// gets the verdict where it arises, so that packets of the fast path need no test for the others.
    #[inline(always)]
    fn decide_packet<const SIX: bool, C: Processor, P: Packet, R>(
        &mut self,
        mut packet: P,
        meta: &PacketMeta,
        burst: &Burst<C>,
        tx: &mut TxBuffers<P>,
        done: impl Fn(&Pipeline, Verdict) -> R,
    ) -> R {
        let port = match meta.next {
            NextStage::FastPath4 if !SIX => self.fast_path::<Ipv4Hdr, C, P>(&mut packet, meta, burst),
            NextStage::FastPath4 => burst.cpu.fast_path::<Ipv4Hdr, P>(self, &mut packet, meta, burst),
            NextStage::FastPath6 if SIX => self.fast_path::<Ipv6Hdr, C, P>(&mut packet, meta, burst),
            NextStage::FastPath6 => burst.cpu.fast_path::<Ipv6Hdr, P>(self, &mut packet, meta, burst),
            _ => {
                let verdict = self.slow_path(packet, meta, SlowPathReason::NotPlain, burst.rx, tx);
                return done(self, verdict);
            }
        };
        match port {
            Ok(port) => done(self, tx.send(port, packet)),
            Err(why) => {
                let verdict = self.leave_fast_path(packet, meta, why, burst.rx, tx);
                done(self, verdict)
            }
        }
    }

    /// Takes a plain packet, which the fast path refused, to its verdict by the slow path.
    #[inline(never)]
    fn leave_fast_path<P: Packet>(
        &mut self,
        packet: P,
        meta: &PacketMeta,
        why: SlowPathReason,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) -> Verdict {
        let parsed = meta.plain.parsed(meta.key());
        let meta = PacketMeta { next: self.steer(&parsed, rx.port), parsed, ..*meta };
        self.slow_path(packet, &meta, why, rx, tx)
    }

    /// Counts what became of a packet. Sent packets are counted when the port has taken them, and packets that are held
    /// when they are released.
    #[cold]
    #[inline(never)]
    fn count_verdict(&self, verdict: Verdict) {
        let counters = &self.stats.counters;
        match verdict {
            Verdict::Sent | Verdict::Held => {}
            Verdict::IcmpSent(why) => counters.icmp_sent[why as usize].add(1),
            Verdict::ToKernel => counters.to_kernel.add(1),
            Verdict::HandedOff => counters.handoff_sent.add(1),
            Verdict::Dropped(why) => counters.drops[why as usize].add(1),
        }
    }
}

/// One worker's state for one namespace, without packets and queues.
pub struct Pipeline {
    /// Number of this worker.
    pub worker_id: WorkerId,
    /// The rule that assigns flows to workers.
    pub steering: Steering,
    /// The connection table.
    pub conns: Table,
    /// The configuration in force.
    pub snapshot: Box<Snapshot>,
    /// Scheduler states, by service.
    pub(crate) scheduler_states: Box<[SchedulerState]>,
    /// State shared by all workers: persistence templates and the counts behind thresholds.
    pub shared: Arc<Shared>,
    /// Path MTUs learnt for tunnels.
    pub(crate) pmtu: PmtuCache,
    /// Limits the rate of ICMP errors.
    pub(crate) icmp_limiter: RateLimiter,
    /// State of the work between bursts.
    pub(crate) maintenance: Maintenance,
    /// Configuration events of the snapshot that are not applied yet.
    pub(crate) config_events: ConfigEvents,
    /// Counters.
    pub stats: Arc<WorkerStats>,
    /// Rings to and from control.
    pub rings: Arc<WorkerRings>,
    /// IPv4 identification of the last header of our own.
    pub ip_id: u16,
    /// Identification of the last IPv6 packet that was fragmented here.
    pub(crate) fragment_id: u32,
    /// One record per packet of a burst.
    metas: Box<[PacketMeta]>,
}

/// The parts of a pipeline.
pub struct PipelineSetup {
    /// Number of the worker.
    pub worker_id: WorkerId,
    /// The rule that assigns flows to workers.
    pub steering: Steering,
    /// The connection table.
    pub conns: Table,
    /// Maximum number of services.
    pub services: usize,
    /// Data shared by all workers.
    pub shared: Arc<Shared>,
    /// Counters.
    pub stats: Arc<WorkerStats>,
    /// Rings to and from control.
    pub rings: Arc<WorkerRings>,
}

impl Pipeline {
    /// A pipeline with an empty configuration: it has no links, so nothing is balanced.
    pub fn new(setup: PipelineSetup) -> Pipeline {
        let PipelineSetup { worker_id, steering, conns, services, shared, stats, rings } = setup;
        let crate::flow::Seed(seed, step) = crate::flow::Seed::random();
        let state =
            |service: usize| SchedulerState::new(seed.wrapping_add(step.wrapping_mul(service as u64)));
        let icmp_limiter = RateLimiter::new(steering.workers);
        Pipeline {
            worker_id,
            steering,
            fragment_id: conns.seed().1 as u32,
            conns,
            snapshot: Box::default(),
            scheduler_states: (0..services).map(state).collect(),
            shared,
            pmtu: PmtuCache::new(),
            icmp_limiter,
            maintenance: Maintenance::default(),
            config_events: ConfigEvents::default(),
            stats,
            rings,
            ip_id: 0,
            metas: parse::metas(),
        }
    }
}

/// Loads as schedulers see them: counts of this worker and the others, overload from what all workers share.
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

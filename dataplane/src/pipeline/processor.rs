//! The stages of a burst, compiled twice: for any processor, and for those with AVX2 and AES. [`Processor`] has one name for
//! each stage, whichever version runs.
//!
//! For processors with AVX2 each stage, and what only some packets need, is a function of its own, so that they do not
//! compete for registers.
#![allow(unsafe_code, reason = "code for AVX2 must run only where there is AVX2")]

use super::fast_path::Family;
use super::{Burst, NextStage, PacketMeta, Pipeline, RxContext, TxBuffers};
use crate::conn::ConnId;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Avx2;
use crate::cpu::{Cpu, Generic};
use crate::io::Batch;
use crate::packet::Packet;
use crate::time::{Millis, Tick};
use crate::verdict::SlowPathReason;

/// A kind of processor that the stages are compiled for. The bodies here are for any processor.
pub(super) trait Processor: Cpu {
    /// See [`Pipeline::parse_burst`].
    #[inline(always)]
    fn parse<P: Packet>(
        self,
        pipeline: &Pipeline,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        pipeline.parse_burst(self, packets, rx, metas);
    }

    /// See [`Pipeline::decide_burst`].
    #[inline(always)]
    fn decide<P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packets: &mut Batch<P>,
        rx: &RxContext,
        metas: &[PacketMeta],
        tx: &mut TxBuffers<P>,
    ) {
        pipeline.decide_burst::<false, Self, P>(self, packets, (rx, metas), tx);
    }

    /// See [`Pipeline::fast_path`].
    #[inline(never)]
    fn fast_path<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Self>,
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path::<I, Self, P>(packet, meta, burst)
    }

    /// See [`Pipeline::fast_path_tunnel`].
    #[inline(never)]
    fn tunnel<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        connection: (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path_tunnel::<I, Self, P>(self, packet, meta, connection)
    }
}

impl Processor for Generic {}

/// Runs the stages as compiled for this processor.
pub(super) fn run_stages<P: Packet>(
    pipeline: &mut Pipeline,
    packets: &mut Batch<P>,
    rx: &RxContext,
    metas: &mut [PacketMeta],
    tx: &mut TxBuffers<P>,
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Avx2::found() {
        // SAFETY: this processor has the features that the function is compiled for.
        return unsafe { avx2::stages(pipeline, cpu, packets, rx, metas, tx) };
    }
    pipeline.stages(Generic, packets, rx, metas, tx);
}

#[cfg(target_arch = "x86_64")]
impl Processor for Avx2 {
    #[inline(always)]
    fn parse<P: Packet>(
        self,
        pipeline: &Pipeline,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        // SAFETY: an `Avx2` exists only where the processor has the features; so below.
        unsafe { avx2::parse(pipeline, self, packets, rx, metas) }
    }

    #[inline(always)]
    fn decide<P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packets: &mut Batch<P>,
        rx: &RxContext,
        metas: &[PacketMeta],
        tx: &mut TxBuffers<P>,
    ) {
        if metas.first().is_some_and(|first| first.next == NextStage::FastPath6) {
            // SAFETY: see above.
            unsafe { avx2::decide::<true, P>(pipeline, self, packets, (rx, metas), tx) }
        } else {
            // SAFETY: see above.
            unsafe { avx2::decide::<false, P>(pipeline, self, packets, (rx, metas), tx) }
        }
    }

    #[inline(always)]
    fn fast_path<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Avx2>,
    ) -> Result<u16, SlowPathReason> {
        // SAFETY: see above.
        unsafe { avx2::fast_path::<I, P>(pipeline, packet, meta, burst) }
    }

    #[inline(always)]
    fn tunnel<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        connection: (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        // SAFETY: see above.
        unsafe { avx2::tunnel::<I, P>(pipeline, self, packet, meta, connection) }
    }
}

/// The stages for processors with the features that [`Avx2::found`] looks for.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    pub(super) fn stages<P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Avx2,
        packets: &mut Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
        tx: &mut TxBuffers<P>,
    ) {
        pipeline.stages(cpu, packets, rx, metas, tx);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn parse<P: Packet>(
        pipeline: &Pipeline,
        cpu: Avx2,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        pipeline.parse_burst(cpu, packets, rx, metas);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn decide<const SIX: bool, P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Avx2,
        packets: &mut Batch<P>,
        burst: (&RxContext, &[PacketMeta]),
        tx: &mut TxBuffers<P>,
    ) {
        pipeline.decide_burst::<SIX, Avx2, P>(cpu, packets, burst, tx);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn fast_path<I: Family, P: Packet>(
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Avx2>,
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path::<I, Avx2, P>(packet, meta, burst)
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn tunnel<I: Family, P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Avx2,
        packet: &mut P,
        meta: &PacketMeta,
        connection: (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path_tunnel::<I, Avx2, P>(cpu, packet, meta, connection)
    }
}

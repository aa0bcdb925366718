//! The stages of a burst, compiled twice: for any processor, and for those with AVX2 and AES. [`Processor`] has one name for
//! each stage, whichever version runs.
//!
//! For modern processors each stage, and what only some packets need, is a function of its own, so that they do not
//! compete for registers.
#![allow(unsafe_code, reason = "code for modern processors must run only there")]

use super::fast_path::Family;
use super::{Burst, NextStage, PacketMeta, Pipeline, RxContext, TxBuffers};
use crate::conn::ConnId;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Modern;
use crate::cpu::{Any, Cpu};
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
        of: (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path_tunnel::<I, Self, P>(self, packet, meta, of)
    }
}

impl Processor for Any {}

/// Runs the stages as compiled for this processor.
pub(super) fn run_stages<P: Packet>(
    pipeline: &mut Pipeline,
    packets: &mut Batch<P>,
    rx: &RxContext,
    metas: &mut [PacketMeta],
    tx: &mut TxBuffers<P>,
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Modern::found() {
        // SAFETY: this processor has the features that the function is compiled for.
        return unsafe { modern::stages(pipeline, cpu, packets, rx, metas, tx) };
    }
    pipeline.stages(Any, packets, rx, metas, tx);
}

#[cfg(target_arch = "x86_64")]
impl Processor for Modern {
    #[inline(always)]
    fn parse<P: Packet>(
        self,
        pipeline: &Pipeline,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        // SAFETY: a `Modern` exists only where the processor has the features; so below.
        unsafe { modern::parse(pipeline, self, packets, rx, metas) }
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
            unsafe { modern::decide::<true, P>(pipeline, self, packets, (rx, metas), tx) }
        } else {
            // SAFETY: see above.
            unsafe { modern::decide::<false, P>(pipeline, self, packets, (rx, metas), tx) }
        }
    }

    #[inline(always)]
    fn fast_path<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Modern>,
    ) -> Result<u16, SlowPathReason> {
        // SAFETY: see above.
        unsafe { modern::fast_path::<I, P>(pipeline, packet, meta, burst) }
    }

    #[inline(always)]
    fn tunnel<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        of: (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        // SAFETY: see above.
        unsafe { modern::tunnel::<I, P>(pipeline, self, packet, meta, of) }
    }
}

/// The stages for processors with the features that [`Modern::found`] looks for.
#[cfg(target_arch = "x86_64")]
mod modern {
    use super::*;

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    pub(super) fn stages<P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Modern,
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
        cpu: Modern,
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
        cpu: Modern,
        packets: &mut Batch<P>,
        of: (&RxContext, &[PacketMeta]),
        tx: &mut TxBuffers<P>,
    ) {
        pipeline.decide_burst::<SIX, Modern, P>(cpu, packets, of, tx);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn fast_path<I: Family, P: Packet>(
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Modern>,
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path::<I, Modern, P>(packet, meta, burst)
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn tunnel<I: Family, P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Modern,
        packet: &mut P,
        meta: &PacketMeta,
        of: (ConnId, Millis, Tick),
    ) -> Result<u16, SlowPathReason> {
        pipeline.fast_path_tunnel::<I, Modern, P>(cpu, packet, meta, of)
    }
}

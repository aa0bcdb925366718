//! The stages of a burst, compiled twice: for every processor, and for those that have what all of the last ten years have.
//!
//! Each stage of the latter, and what only some packets need, is a function of its own, so that what one needs in
//! registers is not kept from another.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

use super::fast_path::Family;
use super::{Burst, NextStage, PacketMeta, Pipeline, RxContext, TxBuffers};
use crate::conn::ConnId;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Modern;
use crate::cpu::{Any, Cpu};
use crate::io::Batch;
use crate::packet::Packet;
use crate::time::{Millis, Tick};

/// What stands apart from the stages, as it is compiled for a kind of processor.
pub(super) trait Processor: Cpu {
    /// See [`Pipeline::dispatch6`].
    fn dispatch6<P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Self>,
    ) -> Option<u16>;

    /// See [`Pipeline::fast_path_tunnel`].
    fn tunnel<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16>;
}

impl Pipeline {
    /// Takes a burst to its verdicts.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, rx: &RxContext, out: &mut TxBuffers<P>) {
        self.conns.flush_pending();
        // Taken out for the burst, so that the line itself can be changed while they are looked at.
        let mut metas = std::mem::take(&mut self.metas);
        if let Some(metas) = metas.get_mut(..packets.len()) {
            self.run_stages(packets, (rx, metas), out);
        }
        self.metas = metas;
    }

    fn run_stages<P: Packet>(
        &mut self,
        packets: &mut Batch<P>,
        (rx, metas): (&RxContext, &mut [PacketMeta]),
        out: &mut TxBuffers<P>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(cpu) = Modern::found() {
            // SAFETY: this processor has what the function needs.
            return unsafe { modern::run(self, cpu, packets, (rx, metas), out) };
        }
        self.parse_burst(Any, packets, rx, metas);
        self.prefetch_entries(Any, metas);
        self.dispatch_burst::<false, Any, P>(Any, packets, (rx, metas), out);
    }
}

impl Processor for Any {
    #[inline(never)]
    fn dispatch6<P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Any>,
    ) -> Option<u16> {
        pipeline.dispatch6(packet, meta, burst)
    }

    #[inline(never)]
    fn tunnel<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16> {
        pipeline.fast_path_tunnel::<I, Any, P>(Any, packet, meta, of)
    }
}

#[cfg(target_arch = "x86_64")]
impl Processor for Modern {
    #[inline(always)]
    fn dispatch6<P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Modern>,
    ) -> Option<u16> {
        // SAFETY: there is a `Modern` only where the processor has what it needs; so below.
        unsafe { modern::dispatch6(pipeline, packet, meta, burst) }
    }

    #[inline(always)]
    fn tunnel<I: Family, P: Packet>(
        self,
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16> {
        // SAFETY: see above.
        unsafe { modern::tunnel::<I, P>(pipeline, self, packet, meta, of) }
    }
}

/// The features are those that [`Modern::found`] looks for.
#[cfg(target_arch = "x86_64")]
mod modern {
    use super::*;

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    pub(super) fn run<P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Modern,
        packets: &mut Batch<P>,
        (rx, metas): (&RxContext, &mut [PacketMeta]),
        out: &mut TxBuffers<P>,
    ) {
        read(pipeline, cpu, packets, rx, metas);
        pipeline.prefetch_entries(cpu, metas);
        if metas.first().is_some_and(|first| first.next == NextStage::FastPath6) {
            dispatch::<true, P>(pipeline, cpu, packets, (rx, metas), out);
        } else {
            dispatch::<false, P>(pipeline, cpu, packets, (rx, metas), out);
        }
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    fn read<P: Packet>(
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
    fn dispatch<const SIX: bool, P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Modern,
        packets: &mut Batch<P>,
        of: (&RxContext, &[PacketMeta]),
        out: &mut TxBuffers<P>,
    ) {
        pipeline.dispatch_burst::<SIX, Modern, P>(cpu, packets, of, out);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn dispatch6<P: Packet>(
        pipeline: &mut Pipeline,
        packet: &mut P,
        meta: &PacketMeta,
        burst: &Burst<Modern>,
    ) -> Option<u16> {
        pipeline.dispatch6(packet, meta, burst)
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn tunnel<I: Family, P: Packet>(
        pipeline: &mut Pipeline,
        cpu: Modern,
        packet: &mut P,
        meta: &PacketMeta,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16> {
        pipeline.fast_path_tunnel::<I, Modern, P>(cpu, packet, meta, of)
    }
}

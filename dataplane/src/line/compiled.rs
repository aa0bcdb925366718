//! The stages of a burst, compiled twice: for every processor, and for those that have what all of the last ten years have.
//!
//! Each stage of the latter, and what only some packets need, is a function of its own, so that what one needs in
//! registers is not kept from another.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

use super::express::Family;
use super::{Arrival, Burst, Line, Outbox, Step, Work};
use crate::conn::ConnId;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Modern;
use crate::cpu::{Any, Cpu};
use crate::io::Batch;
use crate::packet::Packet;
use crate::time::{Millis, Tick};

/// What stands apart from the stages, as it is compiled for a kind of processor.
pub(super) trait Compiled: Cpu {
    /// See [`Line::dispatch6`].
    fn dispatch6<P: Packet>(
        self,
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        burst: &Burst<Self>,
    ) -> Option<u16>;

    /// See [`Line::express_tunnel`].
    fn tunnel<I: Family, P: Packet>(
        self,
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16>;
}

impl Line {
    /// Takes a burst to its verdicts.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        self.conns.settle_all();
        // Taken out for the burst, so that the line itself can be changed while they are looked at.
        let mut works = std::mem::take(&mut self.works);
        if let Some(works) = works.get_mut(..packets.len()) {
            self.run_stages(packets, (arrival, works), out);
        }
        self.works = works;
    }

    fn run_stages<P: Packet>(
        &mut self,
        packets: &mut Batch<P>,
        (arrival, works): (&Arrival, &mut [Work]),
        out: &mut Outbox<P>,
    ) {
        #[cfg(target_arch = "x86_64")]
        if let Some(cpu) = Modern::found() {
            // SAFETY: this processor has what the function needs.
            return unsafe { modern::run(self, cpu, packets, (arrival, works), out) };
        }
        self.read_burst(Any, packets, arrival, works);
        self.guess_burst(Any, works);
        self.dispatch_burst::<false, Any, P>(Any, packets, (arrival, works), out);
    }
}

impl Compiled for Any {
    #[inline(never)]
    fn dispatch6<P: Packet>(
        self,
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        burst: &Burst<Any>,
    ) -> Option<u16> {
        line.dispatch6(packet, work, burst)
    }

    #[inline(never)]
    fn tunnel<I: Family, P: Packet>(
        self,
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16> {
        line.express_tunnel::<I, Any, P>(Any, packet, work, of)
    }
}

#[cfg(target_arch = "x86_64")]
impl Compiled for Modern {
    #[inline(always)]
    fn dispatch6<P: Packet>(
        self,
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        burst: &Burst<Modern>,
    ) -> Option<u16> {
        // SAFETY: there is a `Modern` only where the processor has what it needs; so below.
        unsafe { modern::dispatch6(line, packet, work, burst) }
    }

    #[inline(always)]
    fn tunnel<I: Family, P: Packet>(
        self,
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16> {
        // SAFETY: see above.
        unsafe { modern::tunnel::<I, P>(line, self, packet, work, of) }
    }
}

/// The features are those that [`Modern::found`] looks for.
#[cfg(target_arch = "x86_64")]
mod modern {
    use super::*;

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    pub(super) fn run<P: Packet>(
        line: &mut Line,
        cpu: Modern,
        packets: &mut Batch<P>,
        (arrival, works): (&Arrival, &mut [Work]),
        out: &mut Outbox<P>,
    ) {
        read(line, cpu, packets, arrival, works);
        line.guess_burst(cpu, works);
        if works.first().is_some_and(|first| first.step == Step::Express6) {
            dispatch::<true, P>(line, cpu, packets, (arrival, works), out);
        } else {
            dispatch::<false, P>(line, cpu, packets, (arrival, works), out);
        }
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    fn read<P: Packet>(line: &Line, cpu: Modern, packets: &Batch<P>, arrival: &Arrival, works: &mut [Work]) {
        line.read_burst(cpu, packets, arrival, works);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    fn dispatch<const SIX: bool, P: Packet>(
        line: &mut Line,
        cpu: Modern,
        packets: &mut Batch<P>,
        of: (&Arrival, &[Work]),
        out: &mut Outbox<P>,
    ) {
        line.dispatch_burst::<SIX, Modern, P>(cpu, packets, of, out);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn dispatch6<P: Packet>(
        line: &mut Line,
        packet: &mut P,
        work: &Work,
        burst: &Burst<Modern>,
    ) -> Option<u16> {
        line.dispatch6(packet, work, burst)
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    pub(super) fn tunnel<I: Family, P: Packet>(
        line: &mut Line,
        cpu: Modern,
        packet: &mut P,
        work: &Work,
        of: (ConnId, Millis, Tick),
    ) -> Option<u16> {
        line.express_tunnel::<I, Modern, P>(cpu, packet, work, of)
    }
}

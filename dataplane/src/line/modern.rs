//! The three stages of a burst, compiled twice: for every processor, and for those that have what all of the last ten years have.
//!
//! Each stage of the latter is a function of its own, so that what one loop needs in registers is not kept from another's.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

use super::{Arrival, Line, Outbox, Work};
use crate::cpu::Any;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Modern;
use crate::io::Batch;
use crate::packet::Packet;

impl Line {
    /// Takes a burst to its verdicts.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
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
            return unsafe { self.run_modern(cpu, packets, (arrival, works), out) };
        }
        self.read_burst(Any, packets, arrival, works);
        self.guess_burst(Any, works);
        self.dispatch_burst(Any, packets, (arrival, works), out);
    }
}

/// The features are those that [`Modern::found`] looks for.
#[cfg(target_arch = "x86_64")]
impl Line {
    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    fn run_modern<P: Packet>(
        &mut self,
        cpu: Modern,
        packets: &mut Batch<P>,
        (arrival, works): (&Arrival, &mut [Work]),
        out: &mut Outbox<P>,
    ) {
        self.read_modern(cpu, packets, arrival, works);
        self.guess_burst(cpu, works);
        self.dispatch_modern(cpu, packets, (arrival, works), out);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    fn read_modern<P: Packet>(&self, cpu: Modern, packets: &Batch<P>, arrival: &Arrival, works: &mut [Work]) {
        self.read_burst(cpu, packets, arrival, works);
    }

    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    #[inline(never)]
    fn dispatch_modern<P: Packet>(
        &mut self,
        cpu: Modern,
        packets: &mut Batch<P>,
        of: (&Arrival, &[Work]),
        out: &mut Outbox<P>,
    ) {
        self.dispatch_burst(cpu, packets, of, out);
    }
}

//! A burst's way compiled twice: for every processor, and for those that have what all of the last ten years have.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

use super::{Arrival, Line, Outbox};
use crate::cpu::Any;
#[cfg(target_arch = "x86_64")]
use crate::cpu::Modern;
use crate::io::Batch;
use crate::packet::Packet;

impl Line {
    /// Takes a burst to its verdicts.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        #[cfg(target_arch = "x86_64")]
        if let Some(cpu) = Modern::found() {
            // SAFETY: this processor has what the function needs.
            return unsafe { self.run_modern(cpu, packets, arrival, out) };
        }
        self.run_burst(Any, packets, arrival, out);
    }

    /// The features are those that [`Modern::found`] looks for.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,aes,bmi1,bmi2,movbe")]
    fn run_modern<P: Packet>(
        &mut self,
        cpu: Modern,
        packets: &mut Batch<P>,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        self.run_burst(cpu, packets, arrival, out);
    }
}

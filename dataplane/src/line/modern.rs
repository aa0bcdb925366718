//! A burst's way compiled twice: for every processor, and for those that read words of either byte order and shift without
//! flags, as all of the last ten years do.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

use super::{Arrival, Line, Outbox};
use crate::io::Batch;
use crate::packet::Packet;

impl Line {
    /// Takes a burst to its verdicts.
    pub fn run<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        #[cfg(target_arch = "x86_64")]
        if is_modern() {
            // SAFETY: this processor has what the function needs.
            return unsafe { self.run_modern(packets, arrival, out) };
        }
        self.run_burst(packets, arrival, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1,bmi2,movbe")]
    fn run_modern<P: Packet>(&mut self, packets: &mut Batch<P>, arrival: &Arrival, out: &mut Outbox<P>) {
        self.run_burst(packets, arrival, out);
    }
}

/// Looked up once; later calls read a word.
#[cfg(target_arch = "x86_64")]
fn is_modern() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("bmi1") && has!("bmi2") && has!("movbe")
}

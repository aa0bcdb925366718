//! Time from the processor's time stamp counter: about 25 cycles, without a system call.

use dpdk_sys as sys;

use super::eal::Eal;
use crate::time::{Clock, Tick};

/// A clock that counts from its creation. Copies agree, so create one and give each worker a copy.
#[derive(Clone, Copy, Debug)]
pub struct Tsc {
    start: u64,
    scale: Scale,
    latest: u64,
}

/// Milliseconds per cycle in units of 2^-64. A multiplication takes 4 cycles, a division by the frequency up to 40.
#[derive(Clone, Copy, Debug)]
struct Scale(u64);

impl Scale {
    fn new(hertz: u64) -> Scale {
        let units = (1000_u128 << 64) / u128::from(hertz.max(1));
        Scale(u64::try_from(units).unwrap_or(u64::MAX))
    }

    #[inline]
    fn millis(self, cycles: u64) -> u64 {
        ((u128::from(cycles) * u128::from(self.0)) >> 64) as u64
    }
}

impl Tsc {
    /// A clock that starts now. EAL measured the counter's frequency when it started.
    pub fn new(_eal: &Eal) -> Tsc {
        Tsc { start: read(), scale: Scale::new(Tsc::hertz(_eal)), latest: 0 }
    }

    /// Cycles in a second.
    pub fn hertz(_eal: &Eal) -> u64 {
        // SAFETY: EAL is up, as its borrow shows.
        unsafe { sys::rte_get_tsc_hz() }
    }
}

impl Clock for Tsc {
    #[inline]
    fn now(&mut self) -> Tick {
        // The counters of two sockets may differ slightly; time must not go back when a thread moves.
        self.latest = self.latest.max(read().saturating_sub(self.start));
        Tick(self.scale.millis(self.latest))
    }

    #[inline]
    fn cycles(&self) -> u64 {
        read()
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn read() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and Linux lets user space use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn read() -> u64 {
    // SAFETY: reads a counter and nothing else.
    unsafe { sys::pollux_tsc() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn multiplication_is_within_one_millisecond_of_division(
            hertz in 1_000_000_u64..10_000_000_000, cycles in 0_u64..1 << 60,
        ) {
            let exact = (u128::from(cycles) * 1000 / u128::from(hertz)) as u64;
            let scaled = Scale::new(hertz).millis(cycles);
            prop_assert!(scaled == exact || scaled + 1 == exact, "{scaled} for {exact}");
        }
    }
}

//! One queue pair of a started port. DPDK writes bursts directly into a worker's batch, and reads them from it.

use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dpdk_sys as sys;

use super::mbuf::Mbuf;
use super::rx_interrupt::RxInterrupt;
use super::started::Running;
use crate::io::{Batch, QueuePair};

/// Receive queue N and transmit queue N of a port. The port runs until its last queue is dropped.
pub struct Queue {
    pub(super) running: Arc<Running>,
    /// The port's number; a copy, so that the hot path does not read the shared state.
    pub(super) id: u16,
    pub(super) number: u16,
}

impl QueuePair for Queue {
    type Packet = Mbuf;

    #[inline]
    fn receive(&mut self, batch: &mut Batch<Mbuf>) {
        let had = batch.len();
        let room = batch.remaining_capacity() as u16;
        // SAFETY: `had` is at most the capacity.
        let free = unsafe { batch.as_mut_ptr().add(had) };
        // SAFETY: the port runs while we hold it, we own the queue, and there is room for `room` pointers.
        let received = unsafe { sys::pollux_rx_burst(self.id, self.number, free.cast(), room) };
        // SAFETY: DPDK wrote `received` buffers, which we own now; an `Mbuf` is a pointer to one.
        unsafe { batch.set_len(had + usize::from(received)) };
        // No branch per packet: the bitwise or is 1 if all have one segment, as nearly always.
        if batch[had..].iter().fold(1, |all, packet| all | packet.segments()) != 1 {
            self.linearize(batch);
        }
    }

    #[inline]
    fn transmit(&mut self, batch: &mut Batch<Mbuf>) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        let first = batch.as_mut_ptr();
        // SAFETY: the port runs while we hold it, and we own the queue and the buffers.
        let sent = unsafe { sys::pollux_tx_burst(self.id, self.number, first.cast(), count as u16) };
        let sent = usize::from(sent);
        if sent < count {
            // SAFETY: `sent` is within the batch.
            let rest = unsafe { first.add(sent) };
            // SAFETY: both ranges are within the batch; the driver owns the overwritten buffers.
            unsafe { ptr::copy(rest, first, count - sent) };
        }
        // SAFETY: the first `count - sent` elements are the refused buffers; the driver owns the rest.
        unsafe { batch.set_len(count - sent) };
    }

    fn rx_interrupt(&self) -> Option<BorrowedFd<'_>> {
        self.own_rx_interrupt().map(RxInterrupt::descriptor)
    }

    fn arm(&mut self) {
        if let Some(rx_interrupt) = self.own_rx_interrupt() {
            rx_interrupt.arm();
        }
    }

    fn disarm(&mut self) {
        if let Some(rx_interrupt) = self.own_rx_interrupt() {
            rx_interrupt.disarm();
        }
    }
}

impl Queue {
    fn own_rx_interrupt(&self) -> Option<&RxInterrupt> {
        self.running.rx_interrupts.get(usize::from(self.number))
    }

    /// Moves each frame in several segments into one, and drops those that are longer than a buffer. Devices that use less
    /// of a buffer than it has split frames below the MTU; longer ones come from virtual devices only.
    #[cold]
    fn linearize(&self, batch: &mut Batch<Mbuf>) {
        let counts = &self.running.counts;
        batch.retain(|packet| {
            if packet.segments() == 1 {
                return true;
            }
            let fits = packet.linearize();
            let count = if fits { &counts.linearized } else { &counts.too_long };
            count.fetch_add(1, Ordering::Relaxed);
            fits
        });
    }
}

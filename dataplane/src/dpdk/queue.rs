//! One queue pair of a started port: bursts go straight from DPDK into a worker's batch and back, a call for each.

use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dpdk_sys as sys;

use super::mbuf::Mbuf;
use super::rx_interrupt::RxInterrupt;
use super::started::Running;
use crate::io::{Batch, QueuePair};

/// Receive queue N and transmit queue N of a port. The port runs until its last queue is gone.
pub struct Queue {
    pub(super) running: Arc<Running>,
    /// The port's number: kept here, since what queues share may change.
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
        // SAFETY: the port runs while we hold it, the queue is ours alone, and there is room for so many pointers.
        let came = unsafe { sys::pollux_rx_burst(self.id, self.number, free.cast(), room) };
        // SAFETY: DPDK wrote `came` buffers, which are ours now; an `Mbuf` is a pointer to one.
        unsafe { batch.set_len(had + usize::from(came)) };
        // No branch for each: what they say together is 1 when each says so, as nearly always.
        if batch[had..].iter().fold(1, |all, packet| all | packet.segments()) != 1 {
            self.drop_segmented(batch);
        }
    }

    #[inline]
    fn transmit(&mut self, batch: &mut Batch<Mbuf>) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        let first = batch.as_mut_ptr();
        // SAFETY: the port runs while we hold it, the queue is ours alone, and the pointers are of buffers we own.
        let sent = unsafe { sys::pollux_tx_burst(self.id, self.number, first.cast(), count as u16) };
        let sent = usize::from(sent);
        if sent < count {
            // SAFETY: `sent` is within the batch.
            let rest = unsafe { first.add(sent) };
            // SAFETY: both ranges are within the batch; what they overwrite is the driver's already.
            unsafe { ptr::copy(rest, first, count - sent) };
        }
        // SAFETY: the first `count - sent` places hold what was refused; the rest is the driver's.
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

    /// Drops frames that lie in several buffers: their first buffer is full, so that they cannot be put into one.
    /// It takes a frame longer than the pool's room, which `PortSetup` and the MTU let through on virtual ports only.
    #[cold]
    fn drop_segmented(&self, batch: &mut Batch<Mbuf>) {
        let had = batch.len();
        batch.retain(|packet| packet.segments() == 1);
        self.running.segmented.fetch_add((had - batch.len()) as u64, Ordering::Relaxed);
    }
}

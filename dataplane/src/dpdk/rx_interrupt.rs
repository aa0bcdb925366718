//! The interrupt of a receive queue as a descriptor to poll. Each queue has its own epoll set, to which DPDK adds the
//! interrupt's descriptor, so that the waiting code need not know its kind.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use dpdk_sys as sys;
use rustix::event::epoll;

use super::eal::checked;

/// The interrupt of one receive queue.
pub(super) struct RxInterrupt {
    port: u16,
    queue: u16,
    set: OwnedFd,
}

impl RxInterrupt {
    /// The interrupt of a queue of a port that was started with interrupts.
    pub(super) fn new(port: u16, queue: u16) -> io::Result<RxInterrupt> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: the port runs and has the queue.
        checked(unsafe { sys::pollux_rx_interrupt_watch(port, queue, set.as_raw_fd()) })?;
        Ok(RxInterrupt { port, queue, set })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    /// Enables the interrupt, and discards a pending one.
    pub(super) fn arm(&self) {
        self.discard();
        // Fails on devices whose interrupts are always enabled, which is fine.
        // SAFETY: the port runs and has the queue.
        unsafe { sys::rte_eth_dev_rx_intr_enable(self.port, self.queue) };
    }

    pub(super) fn disarm(&self) {
        // SAFETY: the port runs and has the queue.
        unsafe { sys::rte_eth_dev_rx_intr_disable(self.port, self.queue) };
        self.discard();
    }

    fn discard(&self) {
        // SAFETY: the set is open, and the call does not wait.
        unsafe { sys::pollux_rx_interrupt_discard(self.set.as_raw_fd()) };
    }
}

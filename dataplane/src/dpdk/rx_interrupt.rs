//! A receive queue's interrupt, as something to wait for. Each queue has an epoll set of its own that DPDK puts the
//! interrupt's descriptor into; whoever waits for the set needs not know what kind of descriptor that is.

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
    /// The bell of a queue of a port that was started with interrupts.
    pub(super) fn new(port: u16, queue: u16) -> io::Result<RxInterrupt> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // SAFETY: the port runs and has the queue.
        checked(unsafe { sys::pollux_rx_interrupt_watch(port, queue, set.as_raw_fd()) })?;
        Ok(RxInterrupt { port, queue, set })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }

    /// From now on it rings when frames come; what it told before is forgotten.
    pub(super) fn arm(&self) {
        self.forget();
        // A device that has no such switch rings always.
        // SAFETY: the port runs and has the queue.
        unsafe { sys::rte_eth_dev_rx_intr_enable(self.port, self.queue) };
    }

    pub(super) fn disarm(&self) {
        // SAFETY: the port runs and has the queue.
        unsafe { sys::rte_eth_dev_rx_intr_disable(self.port, self.queue) };
        self.forget();
    }

    fn forget(&self) {
        // SAFETY: the set is open, and the call does not wait.
        unsafe { sys::pollux_interrupts_heard(self.set.as_raw_fd()) };
    }
}

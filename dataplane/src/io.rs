//! The interface between a worker and its ports: one queue pair of one port, polled in bursts.

pub mod mem;

use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;

use crate::packet::Packet;

/// Maximum number of packets in a burst.
pub const BURST: usize = 64;

/// Packets that were received together, or are to be sent together.
pub type Batch<P> = ArrayVec<P, BURST>;

/// One receive queue and one transmit queue of a port, used by one worker only.
pub trait QueuePair: Send + 'static {
    /// The type of packets.
    type Packet: Packet;

    /// Appends received packets while `batch` has room. Never blocks.
    fn receive(&mut self, batch: &mut Batch<Self::Packet>);

    /// Sends the packets of `batch` in order and removes them. Packets that the device refuses stay in `batch`.
    fn transmit(&mut self, batch: &mut Batch<Self::Packet>);

    /// A descriptor that becomes readable when frames arrive while the interrupt is armed; `None` if the device has no
    /// receive interrupts.
    fn rx_interrupt(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Enables the receive interrupt. Frames that are already queued do not raise it.
    fn arm(&mut self) {}

    /// Disables the receive interrupt.
    fn disarm(&mut self) {}
}

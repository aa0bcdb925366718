//! The edge between a worker and its ports: one queue pair of one port, polled in bursts.

pub mod mem;

use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;

use crate::packet::Packet;

/// Most packets a worker handles at once; the arrays of a burst live on its stack.
pub const BURST: usize = 64;

/// Packets received together, or waiting to leave together.
pub type Batch<P> = ArrayVec<P, BURST>;

/// One receive queue and one transmit queue of a port, used by one worker alone.
pub trait QueuePair: Send + 'static {
    /// The packets this queue carries.
    type Packet: Packet;

    /// Appends what has arrived, as far as `batch` has room, and never waits.
    fn receive(&mut self, batch: &mut Batch<Self::Packet>);

    /// Sends what it can of `batch`, in order, and takes it out; what the device refused stays in `batch`.
    fn transmit(&mut self, batch: &mut Batch<Self::Packet>);

    /// What becomes readable when frames come while the queue is armed; none where the device cannot tell.
    fn rx_interrupt(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// From now on the device tells when frames come; those that are there already have to be looked for.
    fn arm(&mut self) {}

    /// Ends that.
    fn disarm(&mut self) {}
}

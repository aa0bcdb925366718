//! Ports in memory, which tests, replay and benchmarks use in place of a NIC.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Batch, QueuePair};
use crate::packet::Packet;
use crate::time::{Clock, Tick};

/// Bytes free in front of a new frame, as in DPDK.
const HEADROOM: usize = 128;

/// Bytes of a buffer behind its headroom, as in DPDK. A frame that is made longer has no room behind it.
const ROOM: usize = 2048;

/// A frame on the heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    buffer: Vec<u8>,
    start: usize,
}

impl Frame {
    /// A copy of `bytes`, with headroom.
    pub fn new(bytes: &[u8]) -> Frame {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(bytes);
        Frame { buffer, start: HEADROOM }
    }
}

impl Packet for Frame {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    fn push_front(&mut self, count: usize) -> bool {
        match self.start.checked_sub(count) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    fn pull_front(&mut self, count: usize) -> bool {
        let fits = count <= self.bytes().len();
        if fits {
            self.start += count;
        }
        fits
    }

    fn extend(&mut self, count: usize) -> bool {
        let fits = count <= (HEADROOM + ROOM).saturating_sub(self.buffer.len());
        if fits {
            self.buffer.resize(self.buffer.len() + count, 0);
        }
        fits
    }

    fn sibling(&self, len: usize) -> Option<Frame> {
        Some(Frame { buffer: vec![0; HEADROOM + len], start: HEADROOM })
    }

    fn truncate(&mut self, len: usize) {
        self.buffer.truncate(self.start + len);
    }
}

/// Both ends of a wire: frames to receive and frames sent.
#[derive(Clone, Debug, Default)]
pub struct Wire(Arc<Mutex<(VecDeque<Frame>, VecDeque<Frame>)>>);

impl Wire {
    /// Queues a frame that the port will receive.
    pub fn put(&self, bytes: &[u8]) {
        self.put_frame(Frame::new(bytes));
    }

    /// Queues a frame that is already in a buffer.
    pub fn put_frame(&self, frame: Frame) {
        self.lock().0.push_back(frame);
    }

    /// Takes the next frame that the port sent.
    pub fn take(&self) -> Option<Vec<u8>> {
        self.lock().1.pop_front().map(|frame| frame.bytes().to_vec())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (VecDeque<Frame>, VecDeque<Frame>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuePair for Wire {
    type Packet = Frame;

    fn receive(&mut self, batch: &mut Batch<Frame>) {
        let mut wire = self.lock();
        while !batch.is_full()
            && let Some(frame) = wire.0.pop_front()
        {
            batch.push(frame);
        }
    }

    fn transmit(&mut self, batch: &mut Batch<Frame>) {
        self.lock().1.extend(batch.drain(..));
    }
}

/// A clock that tests and replay set.
#[derive(Clone, Copy, Debug, Default)]
pub struct ManualClock(pub Tick);

impl Clock for ManualClock {
    fn now(&mut self) -> Tick {
        self.0
    }

    fn cycles(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_grows_at_its_end_as_far_as_its_buffer_reaches() {
        let mut frame = Frame::new(&[7; 100]);
        assert!(frame.extend(ROOM - 100) && frame.bytes().len() == ROOM);
        assert!(!frame.extend(1));
        assert_eq!((&frame.bytes()[..100], frame.bytes().len()), (&[7; 100][..], ROOM));
        assert!(!frame.extend(usize::MAX));
        frame.truncate(60);
        assert!(frame.extend(1));
        assert!(!Frame::new(&[0; ROOM + 1]).extend(1));
    }
}

//! A packet buffer without DPDK: of fixed size, with the generator's metadata next to the frame.

use std::collections::VecDeque;

use pollux_dataplane::packet::Packet;

/// Headroom of a new frame; the longest IPv6 tunnel header fits.
const HEADROOM: usize = 64;
const ROOM: usize = 256;
/// Buffers that are used in rotation, as those of a port's queue; together as large as an L2 cache.
const BUFFERS: usize = 2048;

#[repr(align(64))]
struct Inner {
    bytes: [u8; ROOM],
    start: usize,
    end: usize,
    note: Notification,
}

/// Metadata of a packet in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// When it was due, in nanoseconds of the script's clock.
    pub due: u64,
    /// Number of the source that generated it.
    pub source: u8,
}

/// A frame and its metadata.
pub struct Buffer(Box<Inner>);

impl Buffer {
    fn new() -> Buffer {
        Buffer(Box::new(Inner {
            bytes: [0; ROOM],
            start: HEADROOM,
            end: HEADROOM,
            note: Notification::default(),
        }))
    }

    /// Fills the buffer with a frame of at most 192 bytes.
    pub fn fill(&mut self, frame: &[u8], note: Notification) -> &mut [u8] {
        let end = (HEADROOM + frame.len()).min(ROOM);
        (self.0.start, self.0.end, self.0.note) = (HEADROOM, end, note);
        let place = &mut self.0.bytes[HEADROOM..end];
        place.copy_from_slice(&frame[..end - HEADROOM]);
        place
    }

    /// Returns the metadata.
    pub fn note(&self) -> Notification {
        self.0.note
    }
}

impl Packet for Buffer {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.0.bytes[self.0.start..self.0.end]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0.bytes[self.0.start..self.0.end]
    }

    #[inline]
    fn push_front(&mut self, count: usize) -> bool {
        let start = self.0.start.checked_sub(count);
        start.inspect(|&start| self.0.start = start).is_some()
    }

    #[inline]
    fn pull_front(&mut self, count: usize) -> bool {
        let fits = count <= self.bytes().len();
        if fits {
            self.0.start += count;
        }
        fits
    }

    fn extend(&mut self, count: usize) -> bool {
        let fits = count <= ROOM - self.0.end;
        if fits {
            self.0.end += count;
        }
        fits
    }

    fn sibling(&self, len: usize) -> Option<Buffer> {
        let mut buffer = Buffer::new();
        buffer.0.end = HEADROOM.checked_add(len).filter(|&end| end <= ROOM)?;
        Some(buffer)
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.0.end = self.0.end.min(self.0.start + len);
    }
}

/// Free buffers, longest free first.
pub struct Pool(VecDeque<Buffer>);

impl Pool {
    /// A pool of the usual size.
    pub fn new() -> Pool {
        Pool((0..BUFFERS).map(|_| Buffer::new()).collect())
    }

    /// Returns a free buffer, or a new one if all are in use.
    #[inline]
    pub fn take(&mut self) -> Buffer {
        self.0.pop_front().unwrap_or_else(Buffer::new)
    }

    /// Returns a buffer to the pool.
    #[inline]
    pub fn give(&mut self, buffer: Buffer) {
        self.0.push_back(buffer);
    }
}

/// Restores pools among which packets were handed over: each has the usual size again, in memory of its own, since
/// processors prefetch adjacent lines.
pub fn apart(pools: Vec<Pool>) -> Vec<Pool> {
    let count = pools.len();
    if count < 2 {
        return pools;
    }
    let mut all: Vec<Buffer> = pools.into_iter().flat_map(|pool| pool.0).collect();
    all.resize_with(all.len().max(count * BUFFERS), Buffer::new);
    all.sort_by_key(|buffer| std::ptr::from_ref(&*buffer.0).addr());
    let each = all.len() / count;
    let mut all = all.into_iter();
    (0..count)
        .map(|_| Pool(all.by_ref().take(each).collect::<VecDeque<_>>().into_iter().take(BUFFERS).collect()))
        .collect()
}

impl Default for Pool {
    /// A pool without buffers.
    fn default() -> Pool {
        Pool(VecDeque::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_in_front_and_is_used_again() {
        let mut pool = Pool::new();
        let mut buffer = pool.take();
        buffer.fill(&[7; 60], Notification { due: 5, source: 1 });
        assert!(buffer.push_front(56) && !buffer.push_front(56));
        assert!(buffer.pull_front(100) && buffer.bytes() == [7; 16]);
        buffer.truncate(3);
        assert_eq!((buffer.bytes().len(), buffer.note().due), (3, 5));
        buffer.fill(&[1; 62], Notification::default());
        assert_eq!(buffer.bytes(), [1; 62]);
    }

    #[test]
    fn pools_get_what_lies_together() {
        let mut mixed = [Pool::new(), Pool::new()];
        for _ in 0..BUFFERS / 2 {
            let [one, other] = &mut mixed;
            let (here, there) = (one.take(), other.take());
            (0..2).for_each(|_| one.give(Buffer::new()));
            one.give(there);
            other.give(here);
        }
        let address = |buffer: &Buffer| std::ptr::from_ref(&*buffer.0).addr();
        let pools = apart(mixed.into());
        let [one, other] = <[Pool; 2]>::try_from(pools).map_err(|_| "two").unwrap();
        assert_eq!((one.0.len(), other.0.len()), (BUFFERS, BUFFERS));
        assert!(one.0.iter().map(address).max() < other.0.iter().map(address).min());
    }
}

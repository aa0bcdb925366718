//! A packet in DPDK's memory: one owned mbuf with one segment.
//!
//! Invariants: an [`Mbuf`] has the only reference to its buffer (reference count 1), the frame is in one segment, and
//! `data_off + data_len <= buf_len`. [`Queue`](super::queue::Queue) makes all others such, or drops them, so that reading
//! a frame takes three loads and no call.

use std::ptr::NonNull;
use std::slice;

use dpdk_sys as sys;

use crate::packet::Packet;

/// A frame in a buffer of a [`Pool`](super::mempool::Pool). Dropping it returns the buffer to the pool.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<sys::rte_mbuf>,
}

// SAFETY: the buffer has one owner, and any thread may use and free it.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes ownership of a buffer.
    ///
    /// # Safety
    /// The buffer is allocated and initialised, and the caller owns it. It has one segment, unless the packet is only
    /// dropped.
    pub(super) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Mbuf {
        Mbuf { raw }
    }

    /// Number of segments of the frame, at least one.
    #[inline]
    pub(super) fn segments(&self) -> u16 {
        self.head().nb_segs
    }

    /// Moves the frame into its first buffer. Returns false, and changes nothing, if that has not enough room.
    #[must_use]
    pub(super) fn linearize(&mut self) -> bool {
        // SAFETY: we own all buffers of the frame.
        unsafe { sys::pollux_mbuf_linearize(self.raw.as_ptr()) }
    }

    #[inline]
    fn head(&self) -> &sys::pollux_mbuf {
        // SAFETY: we own the buffer, and `pollux_mbuf` has the layout of its start (shim.c asserts it).
        unsafe { self.raw.cast().as_ref() }
    }

    #[inline]
    fn head_mut(&mut self) -> &mut sys::pollux_mbuf {
        // SAFETY: as in `head`, and `self` is borrowed for writing.
        unsafe { self.raw.cast().as_mut() }
    }

    #[inline]
    fn data(&self) -> (*mut u8, usize) {
        let head = self.head();
        // SAFETY: `data_off` is at most `buf_len`, the length of the buffer at `buf_addr`.
        let start = unsafe { head.buf_addr.add(usize::from(head.data_off)) };
        (start, usize::from(head.data_len))
    }
}

/// Changes a frame's length, which the mbuf has twice.
trait SetLen {
    fn set_len(&mut self, len: u16);
}

impl SetLen for sys::pollux_mbuf {
    #[inline]
    fn set_len(&mut self, len: u16) {
        self.data_len = len;
        self.pkt_len = u32::from(len);
    }
}

impl Packet for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let (start, len) = self.data();
        // SAFETY: the frame is inside the buffer, which is initialised memory and borrowed through `self`.
        unsafe { slice::from_raw_parts(start, len) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, len) = self.data();
        // SAFETY: as in `bytes`, and `self` is borrowed for writing.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }

    #[inline]
    fn push_front(&mut self, count: usize) -> bool {
        let head = self.head_mut();
        match u16::try_from(count) {
            Ok(count) if count <= head.data_off => {
                head.data_off -= count;
                head.set_len(head.data_len + count);
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn pull_front(&mut self, count: usize) -> bool {
        let head = self.head_mut();
        match u16::try_from(count) {
            Ok(count) if count <= head.data_len => {
                head.data_off += count;
                head.set_len(head.data_len - count);
                true
            }
            _ => false,
        }
    }

    fn extend(&mut self, count: usize) -> bool {
        let head = self.head_mut();
        let room = head.buf_len.saturating_sub(head.data_off).saturating_sub(head.data_len);
        match u16::try_from(count) {
            Ok(count) if count <= room => {
                head.set_len(head.data_len + count);
                true
            }
            _ => false,
        }
    }

    fn sibling(&self, len: usize) -> Option<Mbuf> {
        // SAFETY: we own the buffer, and its pool lives as long as EAL.
        let raw = NonNull::new(unsafe { sys::pollux_mbuf_sibling(self.raw.as_ptr()) })?;
        // SAFETY: a buffer fresh from its pool is initialised, has one segment, and no other owner.
        let mut packet = unsafe { Mbuf::from_raw(raw) };
        packet.extend(len).then_some(packet)
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        let head = self.head_mut();
        if len < usize::from(head.data_len) {
            head.set_len(len as u16);
        }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own the buffer, and do not use it again.
        unsafe { sys::pollux_mbuf_free(self.raw.as_ptr()) }
    }
}

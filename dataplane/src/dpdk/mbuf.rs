//! A packet in DPDK's memory: one mbuf of one segment, owned.
//!
//! Invariants: an [`Mbuf`] is the only one to know its buffer (reference count 1), its frame lies in one segment, and
//! `data_off + data_len <= buf_len`. [`Queue`](super::queue::Queue) lets in no other, so that reading a frame is three
//! loads and no call.

use std::ptr::NonNull;
use std::slice;

use dpdk_sys as sys;

use crate::io::Batch;
use crate::packet::Packet;

/// A frame in a buffer of a [`Pool`](super::mempool::Pool), to which it returns when dropped.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<sys::rte_mbuf>,
}

// SAFETY: the buffer has one owner, and DPDK lets any thread use and free it.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes a buffer over.
    ///
    /// # Safety
    /// The buffer is allocated, whole, and the caller's alone to give. Unless all it does with the packet is drop it,
    /// the buffer has one segment.
    pub(super) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Mbuf {
        Mbuf { raw }
    }

    /// In how many pieces the frame lies, at least one.
    #[inline]
    pub(super) fn segments(&self) -> u16 {
        self.head().nb_segs
    }

    #[inline]
    fn head(&self) -> &sys::pollux_mbuf {
        // SAFETY: the buffer is ours, and the mirror has its layout (shim.c asserts it).
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

/// The one place that changes a frame's length, since the mbuf states it twice.
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
        // SAFETY: the frame lies within the buffer, which is initialised memory and borrowed through `self`.
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
        // SAFETY: the buffer is ours, and the pool it came from lives as long as EAL does.
        let raw = NonNull::new(unsafe { sys::pollux_mbuf_sibling(self.raw.as_ptr()) })?;
        // SAFETY: a buffer fresh from its pool is whole, of one segment, and nobody else's.
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
        // SAFETY: the buffer is ours, and gone with us.
        unsafe { sys::pollux_mbuf_free(self.raw.as_ptr()) }
    }
}

/// Gives a whole batch back to its pools in one call; dropping the packets one by one means a call for each.
pub fn free_batch(batch: &mut Batch<Mbuf>) {
    let count = batch.len();
    // SAFETY: zero packets are initialised; from here on the first `count` places are DPDK's to free.
    unsafe { batch.set_len(0) };
    let first = batch.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
    // SAFETY: an `Mbuf` is a pointer to an mbuf, and these were ours and are nobody's now.
    unsafe { sys::rte_pktmbuf_free_bulk(first, count as u32) };
}

//! An allocator whose larger blocks do not share cache lines, so that a write by one worker does not invalidate a line
//! that another one uses. On the packet path, workers only write to blocks of at least [`OWN_LINES`] bytes. Smaller
//! blocks, of which the control thread has very many, are packed as usual.
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe to write; this one only asks the system's for larger blocks"
)]

use std::alloc::{GlobalAlloc, Layout, System};

/// Two cache lines of 64 bytes: processors fetch them in pairs.
pub const PAIR: usize = 128;
/// Blocks of at least this many bytes have cache lines of their own.
pub const OWN_LINES: usize = 256;

/// The allocator. A program that runs workers makes it its `#[global_allocator]`.
pub struct CacheAlignedAlloc;

/// The layout that is requested from the system for a block.
fn widened(layout: Layout) -> Layout {
    if layout.size() < OWN_LINES {
        return layout;
    }
    // A block too large to be widened is too large for any memory, and the system refuses it.
    layout.align_to(PAIR).map_or(layout, |layout| layout.pad_to_align())
}

// SAFETY: every call goes to the system's allocator. All calls for a block use the same layout there, because that
// depends only on the caller's.
unsafe impl GlobalAlloc for CacheAlignedAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the size is no less than the caller's, which is not 0.
        unsafe { System.alloc(widened(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(widened(layout)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was taken with this layout.
        unsafe { System.dealloc(block, widened(layout)) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the size is valid with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (had, wanted) = (widened(layout), widened(new));
        if had.align() == wanted.align() {
            // SAFETY: the block was taken with this layout; the size is no less than the caller's.
            return unsafe { System.realloc(block, had, wanted.size()) };
        }
        // SAFETY: as in `alloc`.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: both blocks have at least this many bytes, and one of them is new.
            unsafe { moved.copy_from_nonoverlapping(block, layout.size().min(size)) };
            // SAFETY: the block is the caller's, who does not use it any more.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn large_blocks_are_widened_to_whole_lines_and_small_ones_are_not() {
        assert_eq!(widened(layout(OWN_LINES - 1, 8)), layout(OWN_LINES - 1, 8));
        assert_eq!(widened(layout(OWN_LINES + 1, 8)), layout(OWN_LINES + PAIR, PAIR));
        assert_eq!(widened(layout(4096, 4096)), layout(4096, 4096));
    }

    /// A block keeps its bytes when it grows beyond `OWN_LINES` and when it shrinks again.
    #[test]
    fn blocks_keep_their_bytes() {
        let sizes = [8, OWN_LINES - 1, OWN_LINES, 1000, 1100, 100_000, 300, 16];
        let mut size = sizes[0];
        // SAFETY: the size is not 0.
        let mut block = unsafe { CacheAlignedAlloc.alloc_zeroed(layout(size, 8)) };
        for next in sizes {
            // SAFETY: the block was taken with this layout.
            block = unsafe { CacheAlignedAlloc.realloc(block, layout(size, 8), next) };
            assert!(!block.is_null());
            assert!(next < OWN_LINES || block.addr().is_multiple_of(PAIR));
            // SAFETY: this much of it was written or zeroed.
            let kept = unsafe { std::slice::from_raw_parts(block, size.min(next)) };
            let first = kept[0];
            assert!(kept.iter().all(|&byte| byte == first));
            // SAFETY: the block is that long.
            unsafe { block.write_bytes(first + 1, next) };
            size = next;
        }
        // SAFETY: the block was taken with this layout.
        unsafe { CacheAlignedAlloc.dealloc(block, layout(size, 8)) };
    }
}

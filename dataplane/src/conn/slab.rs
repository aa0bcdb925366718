//! Fixed arrays of plain records in memory taken at start, on huge pages if there are any, and prefetching of such
//! records.
//!
//! No other file of the connection table has `unsafe` in it.
#![allow(unsafe_code, reason = "memory from mmap seen as records, and prefetch")]

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use memmap2::{MmapMut, MmapOptions};
use zerocopy::FromZeros;

/// Huge pages of x86-64 and of most arm64 kernels have 2^21 bytes.
const HUGE_SHIFT: u8 = 21;

/// An array of `len` records, zero at first. The alignment of `T` is at most a page.
pub struct Slab<T> {
    map: MmapMut,
    len: usize,
    record: PhantomData<T>,
}

impl<T: FromZeros> Slab<T> {
    /// Takes memory for `len` records: reserved huge pages if there are enough, else ordinary ones, which the kernel may
    /// merge into huge ones.
    ///
    /// # Errors
    /// The kernel's, if there is not enough memory.
    pub fn new(len: usize) -> std::io::Result<Slab<T>> {
        if len == 0 {
            return Ok(Slab { map: MmapMut::map_anon(1)?, len, record: PhantomData });
        }
        let bytes = (len * size_of::<T>()).next_multiple_of(1 << HUGE_SHIFT);
        // A small table, as in tests, would waste most of a reserved huge page.
        let reserved = if bytes > 4 << HUGE_SHIFT {
            MmapOptions::new().len(bytes).huge(Some(HUGE_SHIFT)).populate().map_anon().ok()
        } else {
            None
        };
        let map = match reserved {
            Some(map) => map,
            None => Slab::<T>::ordinary(bytes)?,
        };
        Ok(Slab { map, len, record: PhantomData })
    }

    fn ordinary(bytes: usize) -> std::io::Result<MmapMut> {
        let mut map = MmapMut::map_anon(bytes)?;
        #[cfg(target_os = "linux")]
        {
            // Both are hints, which a kernel without transparent huge pages or with little memory may refuse.
            let _ = map.advise(memmap2::Advice::HugePage);
            let _ = map.advise(memmap2::Advice::PopulateWrite);
        }
        debug_assert!((map.as_mut_ptr() as usize).is_multiple_of(align_of::<T>()));
        Ok(map)
    }

    /// Bytes taken from the machine; an empty array's mapping of one byte does not count.
    pub fn bytes(&self) -> usize {
        if self.len == 0 { 0 } else { self.map.len() }
    }
}

impl<T: FromZeros> Deref for Slab<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the map is page-aligned and holds `len` records (made so in `new`); zeroes are a valid `T`.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<T>(), self.len) }
    }
}

impl<T: FromZeros> DerefMut for Slab<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only view.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().cast::<T>(), self.len) }
    }
}

/// Prefetches the cache line of `record`, which is read or written soon.
#[inline]
pub fn prefetch<T>(record: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint and touches no memory that the program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(record).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = record;
}

/// Prefetches the record at `place`. A place outside the slice does no harm, so callers need not check it.
#[inline]
pub fn prefetch_at<T>(records: &[T], place: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint that touches no memory the program can see, whatever its address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(records.as_ptr().wrapping_add(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (records, place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_array_takes_no_bytes() {
        let none = Slab::<u64>::new(0).unwrap();
        assert_eq!((none.len(), none.bytes()), (0, 0));
        assert_eq!(Slab::<u64>::new(1).unwrap().bytes(), 1 << HUGE_SHIFT);
    }
}

//! Pools of packet buffers, created at start. A packet comes from a pool and returns to it when it is dropped.

use std::ffi::CString;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use super::eal::{Eal, Shared, last_error};
use super::mbuf::Mbuf;
use crate::packet::Packet;

/// Settings of a new pool.
#[derive(Clone, Debug)]
pub struct PoolSetup {
    /// Its name in DPDK; unique, at most 24 characters.
    pub name: String,
    /// Number of packets; 2^n - 1 wastes no memory. When the pool is empty, received frames are lost, so allow for the
    /// descriptors of all queues, a burst and `cache` for each worker, and packets that wait.
    pub packets: u32,
    /// Free packets that each registered thread caches, at most 512; 0 if threads are not registered.
    pub cache: u32,
    /// Bytes for the frame itself, not counting headroom.
    pub frame_room: u16,
}

/// Errors when creating a pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// DPDK refused, usually because there is not enough memory.
    #[error(
        "pool {name}: {packets} packets of {frame_room} bytes: {why}; give EAL more memory (-m, or more huge pages) \
         or the pool fewer packets"
    )]
    Create {
        /// The pool's name.
        name: String,
        /// Requested number of packets.
        packets: u32,
        /// Requested bytes per frame.
        frame_room: u16,
        /// DPDK's error.
        why: io::Error,
    },
    /// The name contains a zero byte.
    #[error("pool {name:?}: the name contains a zero byte; remove it")]
    Name {
        /// The name.
        name: String,
    },
    /// The frames are too long: the length of a buffer is a 16-bit number in DPDK.
    #[error("pool {name}: frames of {frame_room} bytes requested; the maximum is {max}")]
    Room {
        /// The pool's name.
        name: String,
        /// Requested bytes per frame.
        frame_room: u16,
        /// Maximum bytes per frame.
        max: u16,
    },
}

/// A pool of packet buffers. A clone refers to the same pool. The memory stays until EAL is shut down.
#[derive(Clone)]
pub struct Pool {
    raw: NonNull<sys::rte_mempool>,
    frame_room: u16,
    /// Keeps EAL running.
    _shared: Arc<Shared>,
}

// SAFETY: any thread may use DPDK's pools, and this one outlives every handle (see `Shared`).
unsafe impl Send for Pool {}
// SAFETY: as above; all operations of a shared handle are thread-safe.
unsafe impl Sync for Pool {}

impl Pool {
    /// Creates a pool.
    ///
    /// # Errors
    /// When there is not enough memory, or the name or a size is invalid.
    pub fn create(eal: &Eal, setup: &PoolSetup) -> Result<Pool, PoolError> {
        let PoolSetup { name, packets, cache, frame_room } = setup;
        let c_name = CString::new(name.as_str()).map_err(|_| PoolError::Name { name: name.clone() })?;
        let room = data_room(setup)?;
        // Memory of any NUMA node.
        let socket = -1;
        // SAFETY: EAL is up, and the name is a C string that DPDK copies.
        let raw = unsafe { sys::rte_pktmbuf_pool_create(c_name.as_ptr(), *packets, *cache, 0, room, socket) };
        let raw = NonNull::new(raw).ok_or_else(|| PoolError::Create {
            name: name.clone(),
            packets: *packets,
            frame_room: *frame_room,
            why: last_error(),
        })?;
        eal.shared.pools().all.push(raw);
        Ok(Pool { raw, frame_room: *frame_room, _shared: Arc::clone(&eal.shared) })
    }

    /// A new packet with the bytes of `frame`; `None` if the pool is empty or the frame does not fit.
    pub fn packet(&self, frame: &[u8]) -> Option<Mbuf> {
        // SAFETY: the pool is alive.
        let raw = NonNull::new(unsafe { sys::pollux_mbuf_alloc(self.raw.as_ptr()) })?;
        // SAFETY: a buffer fresh from the pool is initialised, has one segment, and no other owner.
        let mut packet = unsafe { Mbuf::from_raw(raw) };
        packet.extend(frame.len()).then(|| {
            packet.bytes_mut().copy_from_slice(frame);
            packet
        })
    }

    /// Number of packets in use, by queues, workers or others.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    /// Length of the longest frame that fits.
    pub fn frame_room(&self) -> u16 {
        self.frame_room
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}

/// The buffer size for DPDK, which includes headroom.
fn data_room(setup: &PoolSetup) -> Result<u16, PoolError> {
    let max = largest_room();
    if setup.frame_room > max {
        return Err(PoolError::Room { name: setup.name.clone(), frame_room: setup.frame_room, max });
    }
    Ok(setup.frame_room + (u16::MAX - max))
}

/// Bytes of the longest frame that a buffer can have room for: DPDK counts its length, headroom included, in 16 bits.
pub(super) fn largest_room() -> u16 {
    // SAFETY: reads a constant.
    u16::MAX - unsafe { sys::pollux_headroom() }
}

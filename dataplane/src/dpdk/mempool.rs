//! Pools of packet buffers, made at start; a packet comes from a pool and returns to it when it is dropped.

use std::ffi::CString;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use super::eal::{Eal, Shared, last_error};
use super::mbuf::Mbuf;
use crate::packet::Packet;

/// What a pool is to be.
#[derive(Clone, Debug)]
pub struct PoolSetup {
    /// Its name, known to DPDK's tools; unique, at most 24 letters.
    pub name: String,
    /// How many packets it holds; 2^n - 1 wastes no memory. One short and a burst is lost, so count descriptors of
    /// all queues, a burst and `cache` for each worker, and what is held back.
    pub packets: u32,
    /// How many free packets each thread keeps for itself, at most 512; 0 is right where threads are not registered.
    pub cache: u32,
    /// Bytes for the frame itself, the room for growing in front not counted.
    pub frame_room: u16,
    /// The NUMA node to take memory from; none for any.
    pub socket: Option<u16>,
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// DPDK refused: too little memory, mostly.
    #[error(
        "pool {name}: {packets} packets of {frame_room} bytes: {why}; give EAL more memory (-m, or more huge pages) \
         or the pool fewer packets"
    )]
    Create {
        /// The pool's name.
        name: String,
        /// How many packets were asked for.
        packets: u32,
        /// Their room.
        frame_room: u16,
        /// DPDK's reason.
        why: io::Error,
    },
    /// The name cannot be a C string.
    #[error("pool {name:?}: the name contains a zero byte; remove it")]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// The length of a buffer is a 16-bit number in DPDK.
    #[error("pool {name}: frames of {frame_room} bytes wanted, {most} is the most")]
    Room {
        /// The pool's name.
        name: String,
        /// What was asked for.
        frame_room: u16,
        /// What is possible.
        most: u16,
    },
    /// See [`PortSetup::fast_free`](super::port::PortSetup::fast_free).
    #[error("pool {name}: a port that frees fast is running and needs the first pool to be the only one")]
    Sealed {
        /// The pool's name.
        name: String,
    },
}

/// A pool of packet buffers. A clone is the same pool; the memory stays until EAL ends, for packets point into it.
#[derive(Clone)]
pub struct Pool {
    raw: NonNull<sys::rte_mempool>,
    frame_room: u16,
    shared: Arc<Shared>,
}

// SAFETY: DPDK's pools may be used from any thread, and this one outlives every handle (see `Shared`).
unsafe impl Send for Pool {}
// SAFETY: as above; a shared handle offers only what any thread may do at any time.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes a pool.
    ///
    /// # Errors
    /// When the memory, the name or the sizes are not to be had.
    pub fn create(eal: &Eal, setup: &PoolSetup) -> Result<Pool, PoolError> {
        let PoolSetup { name, packets, cache, frame_room, socket } = setup;
        let c_name = CString::new(name.as_str()).map_err(|_| PoolError::Name { name: name.clone() })?;
        let room = data_room(setup)?;
        let socket = socket.map_or(-1, i32::from);
        let mut pools = eal.shared.pools();
        if pools.sealed {
            return Err(PoolError::Sealed { name: name.clone() });
        }
        // SAFETY: EAL is up, and the name is a C string that DPDK copies.
        let raw = unsafe { sys::rte_pktmbuf_pool_create(c_name.as_ptr(), *packets, *cache, 0, room, socket) };
        let raw = NonNull::new(raw).ok_or_else(|| PoolError::Create {
            name: name.clone(),
            packets: *packets,
            frame_room: *frame_room,
            why: last_error(),
        })?;
        pools.all.push(raw);
        Ok(Pool { raw, frame_room: *frame_room, shared: Arc::clone(&eal.shared) })
    }

    /// A new packet with the bytes of `frame`; none when the pool is empty or the frame does not fit.
    pub fn packet(&self, frame: &[u8]) -> Option<Mbuf> {
        // SAFETY: the pool is alive.
        let raw = NonNull::new(unsafe { sys::pollux_mbuf_alloc(self.raw.as_ptr()) })?;
        // SAFETY: a buffer fresh from the pool is whole, of one segment, and nobody else's.
        let mut packet = unsafe { Mbuf::from_raw(raw) };
        packet.extend(frame.len()).then(|| {
            packet.bytes_mut().copy_from_slice(frame);
            packet
        })
    }

    /// How many packets are out: held by a queue, a worker or anyone.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    /// The longest frame that fits.
    pub fn frame_room(&self) -> u16 {
        self.frame_room
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }

    /// Seals the list of pools if this one is the only one, so that it stays so. Returns whether it is.
    pub(super) fn seal(&self) -> bool {
        let mut pools = self.shared.pools();
        let only = pools.all == [self.raw];
        pools.sealed |= only;
        only
    }
}

/// The size DPDK wants to hear, which includes the room in front.
fn data_room(setup: &PoolSetup) -> Result<u16, PoolError> {
    // SAFETY: reads a constant.
    let headroom = unsafe { sys::pollux_headroom() };
    setup.frame_room.checked_add(headroom).ok_or_else(|| PoolError::Room {
        name: setup.name.clone(),
        frame_room: setup.frame_room,
        most: u16::MAX - headroom,
    })
}

//! Safe interface to DPDK: packet memory, ports and time stamps of real network cards.
//!
//! Start with [`Eal::init`], create a [`Pool`], choose from [`Port::all`] and start the ports: each queue pair is a
//! [`QueuePair`](crate::io::QueuePair) to move into a worker's thread. Dropping frees everything, in any order.

#![allow(unsafe_code, reason = "DPDK is C; all calls into it are in this module")]

pub mod clock;
pub mod eal;
pub mod mbuf;
pub mod mempool;
pub mod port;
pub mod queue;
mod rx_interrupt;
pub mod started;

pub use clock::Tsc;
pub use eal::{Eal, EalError, ThreadGuard};
pub use mbuf::Mbuf;
pub use mempool::{Pool, PoolError, PoolSetup};
pub use port::{Link, Port, PortError};
pub use queue::Queue;
pub use started::{PortSetup, PortStats, RX_DESCRIPTORS, StartedPort, TX_DESCRIPTORS, frame_room};

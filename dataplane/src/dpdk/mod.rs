//! The edge to DPDK, and the only `unsafe` of the packet's way: memory, ports and time of real network cards.
//!
//! Start with [`Eal::init`], make a [`Pool`], look at [`Port::all`] and start the ports you want: each queue pair is
//! then a [`QueuePair`](crate::io::QueuePair) to move into a worker's thread. Everything is given back by dropping it,
//! in any order.

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
pub use mbuf::{Mbuf, free_batch};
pub use mempool::{Pool, PoolError, PoolSetup};
pub use port::{Link, Port, PortError};
pub use queue::Queue;
pub use started::{PortSetup, PortStats, StartedPort};

//! From a decision to the next hop: routes, MTUs, tunnels, fragmentation and the buffers packets leave from.

pub mod pmtu;
pub mod route;
mod send;
pub mod tx_buffers;

pub use tx_buffers::{KernelRing, TxBuffers};

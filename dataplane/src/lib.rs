//! One core of a layer-4 load balancer, as a library: packets and time go in, packets and verdicts come out.
//!
//! There is no JSON, no logging call and no socket in this crate, and no `unsafe` outside `dpdk` and `conn::slab`.

pub mod conn;
pub mod flow;
pub mod io;
pub mod packet;
pub mod parse;
pub mod time;
pub mod verdict;
pub mod wire;

//! One core of a layer-4 load balancer, as a library: packets and time go in, packets and verdicts come out.
//!
//! There is no JSON, no logging call and no socket in this crate, and no `unsafe` outside `dpdk`, `conn::slab`, `cpu`,
//! `line::processor` and `apart`.

pub mod cache_aligned_alloc;
pub mod config;
pub mod conn;
pub mod cpu;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod flow;
pub mod forward;
pub mod fragments;
#[cfg(feature = "testkit")]
pub mod fuzz;
pub mod helper;
pub mod icmp;
pub mod io;
pub mod network;
pub mod packet;
pub mod parse;
pub mod pipeline;
pub mod proto;
pub mod sched;
pub mod service;
pub mod stats;
pub mod steer;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod time;
pub mod trace;
pub mod verdict;
pub mod wire;
pub mod work_budget;
pub mod worker;

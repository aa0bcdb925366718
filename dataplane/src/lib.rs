//! The packet path of a layer-4 load balancer for one core, as a library: packets and time in, packets and verdicts
//! out.
//!
//! This crate has no JSON, no logging and no sockets. `unsafe` is confined to `dpdk`, `conn::slab`, `cpu`,
//! `pipeline::processor` and `cache_aligned_alloc`.

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

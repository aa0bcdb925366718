//! The daemon `polluxd`: its arguments, its start, the control thread's loop, and reloading on SIGHUP.

pub mod announce;
pub mod arguments;
#[cfg(feature = "dpdk")]
mod cores;
#[cfg(feature = "dpdk")]
pub mod error;
#[cfg(feature = "dpdk")]
mod idle;
#[cfg(feature = "dpdk")]
mod ports;
pub mod reload;
#[cfg(feature = "dpdk")]
pub mod run;
#[cfg(feature = "dpdk")]
mod twin_changes;
#[cfg(feature = "dpdk")]
mod twins;
#[cfg(feature = "dpdk")]
mod workers;

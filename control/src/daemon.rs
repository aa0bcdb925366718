//! The daemon `polluxd`: its arguments, its start, the control thread's loop, and reloading on SIGHUP.

pub mod announce;
pub mod arguments;
pub mod reload;
#[cfg(feature = "dpdk")]
pub mod run;

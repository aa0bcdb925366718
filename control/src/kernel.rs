//! Integration with Linux: every DPDK port has a TAP twin in the kernel, and the kernel's tables are the control plane.
//!
//! - [`netlink`]: the mirror, which follows the kernel's tables and publishes a
//!   [`NetworkState`](crate::model::network::NetworkState).
//! - [`tap`]: the twin, a TAP interface with the port's MAC address.
//! - [`exception`]: carries frames between twins and data plane, so that workers make no system calls.
//! - [`namespace`]: the same for namespaces, each in its own Linux network namespace ([`netns`]).
//!
//! Pollux implements no ARP, neighbour discovery or routing protocol: frames that are not balanced go to the twin, and
//! the kernel's responses leave through the port.

pub mod exception;
pub mod namespace;
pub mod netlink;
pub mod netns;
pub mod tap;

mod parse;
mod rtnetlink;
mod tables;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Adds one to a counter.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

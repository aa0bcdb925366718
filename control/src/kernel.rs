//! How Pollux lives with Linux: every DPDK port has a twin in the kernel, and the kernel's tables are our control plane.
//!
//! - [`netlink`]: the mirror, which keeps a [`NetworkConfig`](crate::model::network_config::NetworkConfig) up to date.
//! - [`tap`]: the twin itself, a TAP interface with the port's hardware address.
//! - [`exception`]: carries frames between the twins and the data plane, so that no worker enters the kernel.
//! - [`realm`]: the same for namespaces, each in a network namespace of its own ([`netns`]).
//!
//! We write no ARP, no neighbour discovery and no routing daemon: frames that are not ours to balance go to the twin,
//! and the kernel's answers come back out of the port.

pub mod exception;
pub mod namespace;
pub mod netlink;
pub mod netns;
pub mod tap;

mod parse;
mod rtnetlink;
mod tables;

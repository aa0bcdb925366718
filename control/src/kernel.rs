//! How Pollux lives with Linux: every DPDK port has a twin in the kernel, and the kernel's tables are our control plane.
//!
//! - [`facts`]: what the data plane needs to know of the kernel, as plain data; a file can hold it too.
//!
//! We write no ARP, no neighbour discovery and no routing daemon: frames that are not ours to balance go to the twin,
//! and the kernel's answers come back out of the port.

pub mod facts;
mod mac;

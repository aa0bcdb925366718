//! Why the daemon does not run.

use thiserror::Error;

/// Why the daemon does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] pollux_dataplane::dpdk::EalError),
    /// A port could not be used.
    #[error(transparent)]
    Port(#[from] pollux_dataplane::dpdk::PortError),
    /// No packet buffers.
    #[error(transparent)]
    Pool(#[from] pollux_dataplane::dpdk::PoolError),
    /// There is nothing to forward between.
    #[error(
        "DPDK found no port; name one with `-a 0000:3b:00.0` or `--vdev=net_af_packet0,iface=eth1` before the `--`"
    )]
    NoPorts,
    /// The configuration speaks of a port that is not there.
    #[error("ports: DPDK has no port {name}; it has {known}")]
    UnknownPort {
        /// The name that was written.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A twin could not be made.
    #[error("the twin of port {port}: {why}")]
    Twin {
        /// The port.
        port: String,
        /// Why.
        why: crate::kernel::tap::TapError,
    },
    /// The kernel cannot be mirrored.
    #[error(transparent)]
    Netlink(#[from] crate::kernel::netlink::NetlinkError),
    /// Not enough memory for connections.
    #[error(
        "{ipv4} IPv4 and {ipv6} IPv6 connections do not fit into memory: {why}; lower start.connections_ipv4"
    )]
    Memory {
        /// IPv4 connections wanted.
        ipv4: u32,
        /// IPv6 connections wanted.
        ipv6: u32,
        /// What the kernel said.
        why: std::io::Error,
    },
    /// A thread or the socket could not be made.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        why: std::io::Error,
    },
    /// The first configuration could not be brought to the workers.
    #[error(transparent)]
    Start(#[from] crate::api::error::Failure),
    /// A worker could not be pinned to its core.
    #[error(
        "core {0}: the worker could not be pinned to it; is it among the cores of this process's cpuset?"
    )]
    Pin(usize),
}

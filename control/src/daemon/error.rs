//! Reasons why the daemon cannot start.

use thiserror::Error;

/// Reason why the daemon cannot start.
#[derive(Debug, Error)]
pub enum RunError {
    /// EAL could not be initialized.
    #[error(transparent)]
    Eal(#[from] pollux_dataplane::dpdk::EalError),
    /// An interface could not be used.
    #[error(transparent)]
    Interface(#[from] crate::interface::InterfaceError),
    /// The MTU of an interface is beyond what its port supports.
    #[error(
        "interface {interface} has MTU {mtu}, but DPDK's driver {driver} supports at most {max}; lower it, here and at its \
         neighbours, with `ip link set dev {interface} mtu {max}`"
    )]
    InterfaceMtu {
        /// Name of the interface.
        interface: String,
        /// Driver of the port.
        driver: String,
        /// MTU of the interface.
        mtu: u16,
        /// Largest MTU of the port.
        max: u16,
    },
    /// A port could not be used.
    #[error(transparent)]
    Port(#[from] pollux_dataplane::dpdk::PortError),
    /// The packet buffers could not be allocated.
    #[error(transparent)]
    Pool(#[from] pollux_dataplane::dpdk::PoolError),
    /// DPDK has no port.
    #[error(
        "DPDK found no port; check the errors of EAL above, or use a kernel interface with `--interface eth1`, or a \
         PCI device with `-a 0000:3b:00.0` before the `--`"
    )]
    NoPorts,
    /// The configuration names a port that does not exist.
    #[error("ports: DPDK has no port {name:?}; use one of {known}")]
    UnknownPort {
        /// The name in the configuration.
        name: String,
        /// Names of the existing ports.
        known: String,
    },
    /// A twin could not be created.
    #[error("TAP twin of port {port}: {why}")]
    Twin {
        /// The port.
        port: String,
        /// The error.
        why: crate::kernel::tap::TapError,
    },
    /// The mirror of the kernel's tables could not be started.
    #[error(transparent)]
    Netlink(#[from] crate::kernel::netlink::NetlinkError),
    /// There is not enough memory for the connection tables.
    #[error(
        "not enough memory for {ipv4} IPv4 and {ipv6} IPv6 connections per worker: {why}; lower \
         start.connections_ipv4 or start.connections_ipv6"
    )]
    Memory {
        /// IPv4 connections per worker.
        ipv4: u32,
        /// IPv6 connections per worker.
        ipv6: u32,
        /// The system's error.
        why: std::io::Error,
    },
    /// The control socket could not be created.
    #[error(transparent)]
    Socket(#[from] crate::api::socket::server::ServerError),
    /// A thread could not be created, or a signal not be caught.
    #[error("cannot {what}: {why}; check the limits of processes and threads (`ulimit -u`, TasksMax)")]
    System {
        /// The operation.
        what: &'static str,
        /// The system's error.
        why: std::io::Error,
    },
    /// The first configuration could not be installed.
    #[error(transparent)]
    Start(#[from] crate::api::error::Failure),
    /// A worker could not be pinned to its core.
    #[error("cannot pin a worker to core {0}; select cores of this process's cpuset with `-l`")]
    Pin(usize),
}

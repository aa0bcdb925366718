//! Ordinary kernel interfaces as DPDK ports: `polluxd --interface eth1`.
//!
//! A kernel interface is not a bare NIC: frames may carry unfinished checksums, may be merged beyond the MTU, and reach
//! the host's own stack, too. [`take`] prepares an interface so that Pollux alone handles its frames, and restores it.
//!
//! - [`request`]: the option, `IFACE[,MODE]`.
//! - [`link`]: the kernel's interfaces.
//! - [`plan`]: which changes an interface needs, or why it is refused. [`change`] is one change and how it is undone.
//! - [`journal`]: the file with the changes, written before they are made, so that they can be undone after a crash.
//! - [`claim`]: one `polluxd` for each interface.
//! - [`route`]: routes, which move to the twin with the addresses.
//! - [`eal`]: the arguments for DPDK.
//! - [`follow`]: carriers and hardware addresses, while the daemon runs.
//! - [`system`]: running programs and writing sysctls.

pub mod change;
pub mod claim;
pub mod eal;
pub mod follow;
pub mod journal;
pub mod link;
pub mod plan;
pub mod request;
pub mod route;
pub mod system;
pub mod take;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

/// Reason why an interface cannot be used or restored.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// No such interface.
    #[error("--interface {name}: there is no such interface; this network namespace has {known}")]
    Unknown {
        /// Name of the interface.
        name: String,
        /// The Ethernet interfaces.
        known: String,
    },
    /// The option was given twice for an interface.
    #[error("--interface {name} is given twice; give it once")]
    Twice {
        /// Name of the interface.
        name: String,
    },
    /// Not an Ethernet interface.
    #[error("--interface {name}: this is a {what} interface; use an Ethernet interface")]
    NotEthernet {
        /// Name of the interface.
        name: String,
        /// Its type.
        what: String,
    },
    /// The interface is a port of a bridge, bond or team.
    #[error(
        "--interface {name}: it is a port of {master}, which would lose its frames; take it out with `ip link set \
         {name} nomaster`, or use {master} itself"
    )]
    Port {
        /// Name of the interface.
        name: String,
        /// Name of the bridge or bond.
        master: String,
    },
    /// Other interfaces use the interface.
    #[error(
        "--interface {name}: {uppers} on top of it would stop working; delete with `ip link delete`, and create it \
         again on the port's twin after the start"
    )]
    Uppers {
        /// Name of the interface.
        name: String,
        /// Names of the interfaces on top of it.
        uppers: String,
    },
    /// The interface has addresses.
    #[error(
        "--interface {name}: its addresses {addresses} would stop working, since polluxd takes every frame of the \
         interface; add --take-over, which moves them and the routes through {name} to the port's twin until polluxd \
         stops, or remove them with `ip address flush dev {name}`"
    )]
    Addresses {
        /// Name of the interface.
        name: String,
        /// Its addresses.
        addresses: String,
    },
    /// Somebody else's filters are on the interface.
    #[error(
        "--interface {name}: it has tc ingress filters of another program, which polluxd's would override; remove them \
         (`tc filter show dev {name} ingress` lists them)"
    )]
    Filters {
        /// Name of the interface.
        name: String,
    },
    /// Somebody else's XDP program is on the interface.
    #[error(
        "--interface {name}: an XDP program is attached to it already; detach it with `ip link set dev {name} xdp off`, \
         or use mode tap"
    )]
    Program {
        /// Name of the interface.
        name: String,
    },
    /// The name of the TAP is in use.
    #[error("--interface {name}: an interface {tap} exists; remove it with `ip link delete {tap}`")]
    TapExists {
        /// Name of the interface.
        name: String,
        /// Name of the TAP.
        tap: String,
    },
    /// Another polluxd has the interface.
    #[error("interface {name} is used by the polluxd with process ID {pid}; stop that one first")]
    InUse {
        /// Name of the interface.
        name: String,
        /// Process ID, or `?`.
        pid: String,
    },
    /// A program failed.
    #[error("`{command}` failed: {why}{hint}")]
    Command {
        /// The command line.
        command: String,
        /// Its error message.
        why: String,
        /// How to fix it.
        hint: &'static str,
    },
    /// A program printed something else than expected.
    #[error("`{command}` printed something unexpected: {why}; is iproute2 5.0 or newer installed?")]
    Output {
        /// The command line.
        command: String,
        /// The error.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {doing} {path}: {source}; run polluxd as root, and check the directory", path = path.display())]
    File {
        /// The operation, such as `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file with changes cannot be understood.
    #[error(
        "{path}: {why}; it lists changes to interfaces that a polluxd left behind. Restore them with the polluxd \
         that wrote it, or delete the file", path = path.display()
    )]
    Journal {
        /// The file.
        path: PathBuf,
        /// The error.
        why: String,
    },
    /// Some changes could not be undone.
    #[error("not everything could be restored; the warnings above name the commands")]
    NotRestored,
}

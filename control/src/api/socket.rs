//! The control socket: JSON-RPC 2.0 over a UNIX socket, one message per line.
//!
//! - [`rpc`]: encoding and decoding of messages, without I/O.
//! - [`server`]: the daemon's end; each client has a thread ([`serve`]), so that a slow one does not delay others.
//! - [`limits`]: limits of the resources that clients use.
//! - [`client`]: the client's end, for `pollux`.

use std::path::{Path, PathBuf};

pub mod client;
pub mod limits;
pub mod rpc;
pub mod serve;
pub mod server;
#[cfg(test)]
mod tests;

/// Default path of the control socket.
pub const DEFAULT_PATH: &str = "/run/pollux/control.sock";

/// The control socket: the given one, or that of `POLLUX_SOCKET` unless it is empty, or the default.
pub fn path(given: Option<&Path>) -> PathBuf {
    let environment = || std::env::var_os("POLLUX_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.map(Path::to_owned).or_else(environment).unwrap_or_else(|| PathBuf::from(DEFAULT_PATH))
}

//! The control socket: JSON-RPC 2.0 over a UNIX socket, one message per line.
//!
//! - [`rpc`]: encoding and decoding of messages, without I/O.
//! - [`server`]: the daemon's end; each client has a thread ([`serve`]), so that a slow one does not delay others.
//! - [`limits`]: limits of the resources that clients use.
//! - [`client`]: the client's end, for `pollux`.

pub mod client;
pub mod limits;
pub mod rpc;
pub mod serve;
pub mod server;
#[cfg(test)]
mod tests;

/// Default path of the control socket.
pub const DEFAULT_PATH: &str = "/run/pollux/control.sock";

//! The control socket: JSON-RPC 2.0 over a UNIX socket, one message a line.
//!
//! - [`rpc`]: bytes ↔ requests and answers, with nothing that waits.
//! - [`server`]: the daemon's end; a thread for each client ([`serve`]), so that a slow one delays nobody.
//! - [`limits`]: what clients may take of it.
//! - [`client`]: the other end, for `pollux`.

pub mod client;
pub mod limits;
pub mod rpc;
pub mod serve;
pub mod server;
#[cfg(test)]
mod tests;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_PATH: &str = "/run/pollux/control.sock";

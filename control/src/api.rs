//! The control socket: requests, replies and errors as types, and JSON-RPC over a Unix socket.

pub mod error;
pub mod follow;
pub mod request;
pub mod schema;
pub mod socket;
pub mod view;

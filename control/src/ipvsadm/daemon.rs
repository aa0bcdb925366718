//! The daemon that carries commands out, or a substitute in tests.

use std::io;

use serde::de::DeserializeOwned;

use crate::api::request::Request;
use crate::api::socket::client::{Client, ClientError};

/// A connection to the daemon.
pub trait Daemon {
    /// Sends a request and waits for the reply.
    ///
    /// # Errors
    /// If the daemon refuses or does not reply.
    fn request<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError>;
}

impl Daemon for Client {
    fn request<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.call(request)
    }
}

/// No daemon, for commands that need none.
#[derive(Debug)]
pub struct NoDaemon;

impl Daemon for NoDaemon {
    fn request<T: DeserializeOwned>(&mut self, _: &Request) -> Result<T, ClientError> {
        Err(ClientError::NoReply(io::ErrorKind::NotConnected.into()))
    }
}

//! Who carries commands out: a daemon, or whoever stands for one.

use std::io;

use serde::de::DeserializeOwned;

use crate::request::Request;
use crate::socket::client::{Client, ClientError};

/// Who is asked: the daemon.
pub trait Ask {
    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// When the daemon says no, or nothing.
    fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError>;
}

impl Ask for Client {
    fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.call(request)
    }
}

/// Nobody: for what can be said without a daemon.
#[derive(Debug)]
pub struct Nobody;

impl Ask for Nobody {
    fn ask<T: DeserializeOwned>(&mut self, _: &Request) -> Result<T, ClientError> {
        Err(ClientError::NoAnswer(io::ErrorKind::NotConnected.into()))
    }
}

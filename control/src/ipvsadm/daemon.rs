//! The daemon that carries commands out, or a substitute in tests.

use std::io;

use serde::de::DeserializeOwned;

use crate::api::request::{ConnectionQuery, Request};
use crate::api::socket::client::{Client, ClientError};
use crate::api::view::ConnectionPage;

/// A connection to the daemon.
pub trait Daemon {
    /// Sends a request and waits for the reply.
    ///
    /// # Errors
    /// If the daemon refuses or does not reply.
    fn request<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError>;

    /// Reads pages of connections up to `limit` or the end. The cursor of the last page stays, so that the caller sees
    /// whether there are more.
    ///
    /// # Errors
    /// If the daemon refuses or does not reply.
    fn connections(&mut self, limit: Option<usize>) -> Result<ConnectionPage, ClientError> {
        let mut all = ConnectionPage::default();
        loop {
            let left = limit.map_or(usize::MAX, |limit| limit.saturating_sub(all.connections.len()));
            if left == 0 {
                return Ok(all);
            }
            let limit = u32::try_from(left).unwrap_or(u32::MAX).min(ConnectionQuery::MAX_LIMIT);
            let query = ConnectionQuery { limit, cursor: all.next.take(), ..ConnectionQuery::default() };
            let page: ConnectionPage = self.request(&Request::ConnectionList(query))?;
            all.connections.extend(page.connections);
            all.next = page.next;
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }
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

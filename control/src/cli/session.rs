//! Requests to the daemon, and replies as text.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cli;
use super::error::CliError;
use crate::api::request::{ConnectionQuery, Done, Request};
use crate::api::socket::client::{Client, ClientError};
use crate::api::view::ConnectionPage;

/// Long enough for an apply of ten thousand services.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Access to the daemon, and the form in which its replies are printed.
pub(super) struct Session {
    socket: PathBuf,
    namespace: Option<String>,
    pub(super) json: bool,
}

impl Session {
    pub(super) fn new(cli: &Cli) -> Session {
        Session { socket: cli.socket(), namespace: cli.namespace(), json: cli.json }
    }

    pub(super) fn client(&self) -> Result<Client, ClientError> {
        Ok(Client::connect(&self.socket, TIMEOUT)?.in_namespace(self.namespace.clone()))
    }

    pub(super) fn show<T: DeserializeOwned + Serialize>(
        &self,
        request: &Request,
        text: impl Fn(&T) -> String,
    ) -> Result<String, CliError> {
        let reply = self.client()?.call(request)?;
        if self.json { pretty(&reply) } else { Ok(text(&reply)) }
    }

    pub(super) fn send(&self, request: &Request) -> Result<String, CliError> {
        self.show(request, |_: &Done| String::new())
    }

    /// Reads pages up to `limit` or the end. The cursor of the last page stays, so that `--json` shows whether there are more.
    pub(super) fn connections(&self, limit: Option<usize>) -> Result<ConnectionPage, CliError> {
        let mut client = self.client()?;
        let mut all = ConnectionPage::default();
        loop {
            let left = limit.map_or(10_000, |limit| limit.saturating_sub(all.connections.len()).min(10_000));
            if left == 0 {
                return Ok(all);
            }
            let query = ConnectionQuery {
                limit: u32::try_from(left).unwrap_or(u32::MAX),
                cursor: all.next.take(),
                ..ConnectionQuery::default()
            };
            let page: ConnectionPage = client.call(&Request::ConnectionList(query))?;
            all.connections.extend(page.connections);
            all.next = page.next;
            if all.next.is_none() {
                return Ok(all);
            }
        }
    }
}

pub(super) fn pretty(value: &impl Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

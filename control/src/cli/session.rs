//! Requests to the daemon, and replies as text.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cli;
use super::error::CliError;
use crate::api::request::{Done, Request};
use crate::api::socket::client::{Client, ClientError};

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
        Ok(Client::connect(&self.socket)?.in_namespace(self.namespace.clone()))
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
}

pub(super) fn pretty(value: &impl Serialize) -> Result<String, CliError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

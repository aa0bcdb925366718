//! The asking end of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::rpc::{self, RpcError};
use crate::api::request::Request;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "cannot reach polluxd at {path}: {source}; is it running? start it with `polluxd -- --config FILE`, \
         or name its socket with --socket"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon went away, or took too long.
    #[error("polluxd did not answer: {0}; see its log")]
    NoAnswer(#[from] io::Error),
    /// The answer is not what was asked for.
    #[error("polluxd's answer is not understood: {0}; are pollux and polluxd of one version?")]
    Odd(#[from] serde_json::Error),
    /// The daemon says no.
    #[error("{}", .0.message)]
    Refused(RpcError),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    namespace: Option<String>,
    last_id: u64,
}

/// What comes back: `result` or `error`. A null result counts as one.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// A message that answers nothing.
#[derive(Deserialize)]
struct Notification<T> {
    params: T,
}

impl Client {
    /// Connects. Each answer may take `patience`.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(path: &Path, patience: Duration) -> Result<Client, ClientError> {
        let unreachable = |source| ClientError::Unreachable { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(unreachable)?;
        stream.set_read_timeout(Some(patience)).map_err(unreachable)?;
        stream.set_write_timeout(Some(patience)).map_err(unreachable)?;
        Ok(Client { stream: BufReader::with_capacity(1 << 16, stream), namespace: None, last_id: 0 })
    }

    /// Everything that is asked is about this namespace from now on.
    #[must_use]
    pub fn in_namespace(self, namespace: Option<String>) -> Client {
        Client { namespace, ..self }
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// When the daemon says no, or nothing.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.last_id += 1;
        // A refused connection is closed by the other end before we write: the reason still waits to be read.
        let written =
            self.stream.get_mut().write_all(&rpc::call(self.last_id, self.namespace.as_deref(), request));
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            written?;
            return Err(ClientError::NoAnswer(io::ErrorKind::UnexpectedEof.into()));
        }
        let answer: Answer<'_> = serde_json::from_str(&line)?;
        match answer.error {
            Some(error) => Err(ClientError::Refused(error)),
            None => Ok(serde_json::from_str(answer.result.map_or("null", RawValue::get))?),
        }
    }

    /// Waits for the next notification, as long as it takes. `None` when the daemon has closed the connection.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is not understood.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        self.stream.get_ref().set_read_timeout(None)?;
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Notification { params } = serde_json::from_str(&line)?;
        Ok(Some(params))
    }
}

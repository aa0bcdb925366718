//! The client's end of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::rpc::{self, RpcError};
use crate::api::request::Request;

/// Time to wait for a reply: enough for an apply of ten thousand services, or a restore of a hundred thousand lines.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reason why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The daemon is not running, uses another socket, or its socket belongs to another user.
    #[error("cannot reach polluxd at {path}: {source}; {}", hint(source))]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The connection broke, or the daemon did not reply in time.
    #[error("no reply from polluxd: {0}; see its log")]
    NoReply(#[from] io::Error),
    /// The reply is invalid.
    #[error("invalid reply from polluxd: {0}; use the same version of pollux and polluxd")]
    InvalidReply(#[from] serde_json::Error),
    /// The daemon refused the request.
    #[error("{}", .0.message)]
    Refused(RpcError),
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run pollux as the owner of the socket, usually root",
        _ => "start it with `polluxd -- --config FILE`, or give the path of its socket with --socket",
    }
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    namespace: Option<String>,
    last_id: u64,
}

/// A response: `result` or `error`. The result may be null.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// A notification.
#[derive(Deserialize)]
struct Notification<T> {
    params: T,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If there is no daemon, or no permission for its socket.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let unreachable = |source| ClientError::Unreachable { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(unreachable)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(unreachable)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(unreachable)?;
        Ok(Client { stream: BufReader::with_capacity(1 << 16, stream), namespace: None, last_id: 0 })
    }

    /// Sends all requests to this namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: Option<String>) -> Client {
        Client { namespace, ..self }
    }

    /// Sends a request and waits for the reply.
    ///
    /// # Errors
    /// If the daemon refuses the request, or does not reply.
    pub fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.last_id += 1;
        // The daemon may have refused the connection and closed it before this write: its error can still be read.
        let written =
            self.stream.get_mut().write_all(&rpc::call(self.last_id, self.namespace.as_deref(), request));
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            written?;
            return Err(ClientError::NoReply(io::ErrorKind::UnexpectedEof.into()));
        }
        let response: Response<'_> = serde_json::from_str(&line)?;
        match response.error {
            Some(error) => Err(ClientError::Refused(error)),
            None => Ok(serde_json::from_str(response.result.map_or("null", RawValue::get))?),
        }
    }

    /// Waits for the next notification, without a timeout. `None` if the daemon closed the connection.
    ///
    /// # Errors
    /// If the connection breaks, or the notification is invalid.
    pub fn next_notification<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        self.stream.get_ref().set_read_timeout(None)?;
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Notification { params } = serde_json::from_str(&line)?;
        Ok(Some(params))
    }
}

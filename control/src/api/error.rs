//! Why a request was refused: what the daemon answers instead of a reply, and how it looks in JSON-RPC.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::edit::{EditError, Errno};
use crate::model::input_error::{InputError, InputErrors};

/// Why the daemon did not do what a request asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense.
    #[error(transparent)]
    InputErrors(#[from] InputErrors),
    /// A single edit does not fit what is there.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The daemon was started with less room than is asked for.
    #[error("{0}")]
    NoRoom(String),
    /// A cursor of an earlier page means nothing any more.
    #[error("cursor {0:?} is unknown or too old; ask again without a cursor")]
    BadCursor(String),
    /// There is not enough memory for a namespace.
    #[error(
        "there is no memory for {ipv4} IPv4 and {ipv6} IPv6 connections: {why}; lower start.connections_ipv4"
    )]
    NoMemory {
        /// IPv4 connections wanted.
        ipv4: u32,
        /// IPv6 connections wanted.
        ipv6: u32,
        /// What the kernel said.
        why: String,
    },
    /// The daemon is on its way down.
    #[error("polluxd is stopping; try again when it is back")]
    Stopping,
    /// The workers did not adopt the change in time.
    #[error(
        "not every worker took the change within {waited_ms} ms; see the daemon's log and `pollux stats`"
    )]
    WorkersLate {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The daemon itself failed; the text says at what.
    #[error("polluxd failed: {0}")]
    Internal(String),
}

/// What a JSON-RPC error object carries in `data`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorData {
    /// The error Linux IPVS gives in the same case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<Errno>,
    /// Everything wrong with what was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InputError>,
    /// The limit of the control socket that is met: `clients`, `line`, `requests`, `answers`, `half_line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl Failure {
    /// The JSON-RPC error code: -32602 for what can never work, -32603 for our own failures, and codes of our own for
    /// what depends on the state the daemon is in.
    pub fn code(&self) -> i32 {
        match self {
            Failure::InputErrors(_) | Failure::Edit(EditError::Invalid(_)) | Failure::BadCursor(_) => -32602,
            Failure::Edit(_) | Failure::NoRoom(_) | Failure::NoMemory { .. } => -32001,
            Failure::Stopping => -32002,
            Failure::WorkersLate { .. } => -32003,
            Failure::Internal(_) => -32603,
        }
    }

    /// The parts of the failure a program can act on.
    pub fn data(&self) -> ErrorData {
        match self {
            Failure::InputErrors(errors) => ErrorData { errors: errors.0.clone(), ..ErrorData::default() },
            Failure::Edit(error) => {
                let errors =
                    if let EditError::Invalid(errors) = error { errors.0.clone() } else { Vec::new() };
                ErrorData { errno: Some(error.errno()), errors, limit: None }
            }
            Failure::NoRoom(_) | Failure::NoMemory { .. } => {
                ErrorData { errno: Some(Errno::ENoMem), ..ErrorData::default() }
            }
            _ => ErrorData::default(),
        }
    }
}

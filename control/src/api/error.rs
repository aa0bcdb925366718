//! Reasons for refusing a request, and their JSON-RPC error objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::edit::{EditError, Errno};
use crate::model::input_error::{InputError, InputErrors};

/// Reason for refusing a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The parameters are invalid.
    #[error(transparent)]
    InputErrors(#[from] InputErrors),
    /// An edit was refused.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A size fixed at start is exhausted.
    #[error("{0}")]
    NoRoom(String),
    /// The cursor is unknown or expired.
    #[error("cursor {0:?} is unknown or expired; start again without a cursor")]
    BadCursor(String),
    /// There is not enough memory for a namespace.
    #[error(
        "not enough memory for {ipv4} IPv4 and {ipv6} IPv6 connections: {why}; lower start.connections_ipv4 or \
         start.connections_ipv6 of the namespace"
    )]
    NoMemory {
        /// IPv4 connections requested.
        ipv4: u32,
        /// IPv6 connections requested.
        ipv6: u32,
        /// The system's error.
        why: String,
    },
    /// The kernel refused something that a namespace needs.
    #[error("{0}")]
    Kernel(String),
    /// The daemon is stopping.
    #[error("polluxd is stopping; try again when it is running again")]
    Stopping,
    /// The workers did not adopt the change in time.
    #[error("a worker did not respond within {waited_ms} ms; see the daemon's log and `pollux stats`")]
    WorkersLate {
        /// Time waited, in milliseconds.
        waited_ms: u64,
    },
    /// An internal error of the daemon.
    #[error("polluxd failed: {0}")]
    Internal(String),
}

/// The `data` of a JSON-RPC error object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorData {
    /// The error that Linux IPVS returns in the same case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<Errno>,
    /// All errors in the parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InputError>,
    /// Name of the control socket's limit that was reached: `clients`, `line`, `requests`, `answers`, `half_line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl Failure {
    /// Returns the JSON-RPC error code: -32602 for invalid parameters, -32603 for internal errors, and server-defined
    /// codes for errors that depend on the state of the daemon.
    pub fn code(&self) -> i32 {
        match self {
            Failure::InputErrors(_) | Failure::Edit(EditError::Invalid(_)) | Failure::BadCursor(_) => -32602,
            Failure::Edit(_) | Failure::NoRoom(_) | Failure::NoMemory { .. } | Failure::Kernel(_) => -32001,
            Failure::Stopping => -32002,
            Failure::WorkersLate { .. } => -32003,
            Failure::Internal(_) => -32603,
        }
    }

    /// Returns the `data` of the error object, for programs.
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

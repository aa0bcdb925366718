//! Reasons for refusing a request, and their JSON-RPC error objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::edit::{EditError, Errno, limit_reached};
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
    /// A size fixed when the namespace was added is exhausted.
    #[error(
        "namespaces.{namespace}: {}; remove the namespace and add it again with a larger start.{limit}",
        limit_reached(.limit, *.allowed)
    )]
    NamespaceFull {
        /// Name of the namespace.
        namespace: String,
        /// Field of `start`: `services` or `destinations`.
        limit: &'static str,
        /// Its value.
        allowed: u32,
    },
    /// The cursor is not one of this daemon.
    #[error("{0:?} is not a cursor; use `next` of the previous page, or leave cursor out")]
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
    #[error("polluxd is stopping; try again after it has restarted")]
    Stopping,
    /// A worker did not adopt the change in time.
    #[error(
        "worker {worker} did not respond within {waited_ms} ms; a change is not rolled back, the worker adopts it when \
         it can; see `pollux stats` and the daemon's log"
    )]
    WorkerLate {
        /// Number of the worker.
        worker: usize,
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
    /// Name of the control socket's limit that was reached: `clients`, `line`, `requests`, `replies`, `request_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl Failure {
    /// Returns the JSON-RPC error code: -32602 for invalid parameters, -32603 for internal errors, and server-defined
    /// codes for errors that depend on the state of the daemon.
    pub fn code(&self) -> i32 {
        match self {
            Failure::InputErrors(_) | Failure::Edit(EditError::Invalid(_)) | Failure::BadCursor(_) => -32602,
            Failure::Edit(_)
            | Failure::NamespaceFull { .. }
            | Failure::NoMemory { .. }
            | Failure::Kernel(_) => -32001,
            Failure::Stopping => -32002,
            Failure::WorkerLate { .. } => -32003,
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
            Failure::NamespaceFull { .. } | Failure::NoMemory { .. } => {
                ErrorData { errno: Some(Errno::ENoMem), ..ErrorData::default() }
            }
            _ => ErrorData::default(),
        }
    }
}

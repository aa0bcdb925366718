//! Why a command failed.

use super::man;
use crate::api::socket::client::ClientError;
use crate::model::input_error::InputErrors;
use crate::model::parse;
use crate::replay;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The file cannot be read or parsed.
    #[error(transparent)]
    Parse(#[from] parse::ParseError),
    /// The file has invalid values.
    #[error("{0}")]
    InputErrors(#[from] InputErrors),
    /// The daemon refused or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A sysctl variable cannot be read or set.
    #[error("{0}")]
    Sysctl(String),
    /// This machine cannot run `polluxd`; the text is the list of checks.
    #[error("{0}")]
    NotReady(String),
    /// A replayed case differs from its recording; the text is the whole report.
    #[error("{0}")]
    Differs(String),
    /// The cases to replay cannot be found.
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    /// The manual pages cannot be written.
    #[error(transparent)]
    Man(#[from] man::ManError),
    /// The command has printed its error and ends with this exit status.
    #[error("exit status {0}")]
    Status(u8),
    /// The reply cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The reply cannot be written as TOML.
    #[error("cannot write TOML: {0}; try --json")]
    Toml(#[from] toml::ser::Error),
}

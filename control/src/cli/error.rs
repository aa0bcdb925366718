//! Reasons why a command failed.

use std::path::Path;

use serde_json::{Value, json};

use super::man;
use crate::api::socket::client::ClientError;
use crate::api::socket::rpc::RpcError;
use crate::model::input_error::InputErrors;
use crate::model::parse;
use crate::replay;

/// Reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Arguments contradict each other.
    #[error("{0}")]
    Usage(String),
    /// The file cannot be read or parsed.
    #[error(transparent)]
    Parse(#[from] parse::ParseError),
    /// The file has invalid values.
    #[error("{text}")]
    InputErrors {
        /// The errors, each with its line in the file.
        text: String,
        /// The errors.
        errors: InputErrors,
    },
    /// The daemon refused or cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A sysctl variable cannot be read or set.
    #[error("{0}")]
    Sysctl(String),
    /// The daemon refused to set sysctl variables.
    #[error("{text}")]
    SysctlRefused {
        /// The error in the words of sysctl(8).
        text: String,
        /// The daemon's error.
        error: Box<RpcError>,
    },
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

impl CliError {
    /// The errors in a configuration file.
    pub fn in_file(path: &Path, errors: InputErrors) -> CliError {
        let file = path.display();
        let lines = parse::lines(path, &errors).into_iter().zip(&errors.0).map(|(line, error)| match line {
            Some(line) => format!("{file}:{line}: {error}"),
            None => format!("{file}: {error}"),
        });
        CliError::InputErrors { text: lines.collect::<Vec<_>>().join("\n"), errors }
    }

    /// The error as `--json` prints it: the list of errors in a file, the error object of the daemon, or an object with the
    /// message.
    pub fn json(&self) -> Value {
        match self {
            CliError::InputErrors { errors, .. } => json!(errors),
            CliError::Client(ClientError::Refused(error)) => json!(error),
            CliError::SysctlRefused { error, .. } => json!(error),
            other => json!({ "message": other.to_string() }),
        }
    }
}

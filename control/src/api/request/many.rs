//! Batch edits: many edits in one request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::error::ErrorData;
use crate::model::edit::Edit;

/// Parameters of `config.edit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigEdit {
    /// The edits, in order. A refused edit changes nothing; the next one is then performed.
    pub edits: Vec<Edit>,
}

/// Result of `config.edit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditedView {
    /// Number of edits performed.
    pub done: usize,
    /// Edits that were refused, in order.
    pub refused: Vec<RefusedEdit>,
}

/// A refused edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedEdit {
    /// Index in `edits`, from 0.
    pub at: usize,
    /// Error message, for people.
    pub message: String,
    /// Error data, for programs.
    pub data: ErrorData,
}

//! Many edits in one request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::error::ErrorData;
use crate::model::edit::Edit;

/// Parameters of `config.edit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigEdit {
    /// The edits, in turn. One that is refused changes nothing and the next goes on from there.
    pub edits: Vec<Edit>,
}

/// What became of the edits of `config.edit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EditedView {
    /// How many were carried out.
    pub done: usize,
    /// Those that were not, in their order.
    pub refused: Vec<RefusedEdit>,
}

/// An edit that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedEdit {
    /// Which: its place among the edits, from 0.
    pub at: usize,
    /// Why, for people.
    pub message: String,
    /// Why, for programs: as an error's `data`.
    pub data: ErrorData,
}

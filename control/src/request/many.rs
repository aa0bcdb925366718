//! Many edits in one request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DestinationAdd, DestinationRemove, NoParams, ServiceAdd, ServiceQuery, ServiceRemove};
use crate::edit::{DestinationEdit, ServiceEdit, SettingsEdit};
use crate::error::ErrorData;

/// One of the edits of `config.edit`: a method that changes something, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Edit {
    /// Add a service.
    #[serde(rename = "service.add")]
    ServiceAdd(ServiceAdd),
    /// Change a service.
    #[serde(rename = "service.edit")]
    ServiceEdit(ServiceEdit),
    /// Remove a service and its destinations.
    #[serde(rename = "service.remove")]
    ServiceRemove(ServiceRemove),
    /// Remove every service.
    #[serde(rename = "service.flush")]
    ServiceFlush(NoParams),
    /// Add a destination to a service.
    #[serde(rename = "destination.add")]
    DestinationAdd(DestinationAdd),
    /// Change a destination.
    #[serde(rename = "destination.edit")]
    DestinationEdit(DestinationEdit),
    /// Remove a destination.
    #[serde(rename = "destination.remove")]
    DestinationRemove(DestinationRemove),
    /// Change time-outs and switches.
    #[serde(rename = "settings.set")]
    SettingsSet(SettingsEdit),
    /// Make shown counters and rates zero.
    #[serde(rename = "stats.zero")]
    StatsZero(ServiceQuery),
}

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

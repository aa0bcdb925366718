//! An edit with its parameters, as it is written in a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DestinationEdit, ServiceEdit, SettingsEdit};
use crate::model::{Destination, DestinationKey, Service, ServiceKey};

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

/// Parameters of a method that takes none; they may also be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Parameters of `service.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAdd {
    /// The new service, with or without destinations.
    pub service: Service,
}

/// Parameters of `service.remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRemove {
    /// Which one.
    pub service: ServiceKey,
}

/// Parameters of `destination.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationAdd {
    /// The service it joins.
    pub service: ServiceKey,
    /// The new destination.
    pub destination: Destination,
}

/// Parameters of `destination.remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationRemove {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// Which one.
    pub destination: DestinationKey,
}

/// Parameters of `stats.zero`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceQuery {
    /// Only this one; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
}

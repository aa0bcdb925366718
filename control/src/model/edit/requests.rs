//! Edits and their parameters, as in requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DestinationEdit, ServiceEdit, SettingsEdit};
use crate::model::{Destination, DestinationKey, Service, ServiceKey};

/// One edit of `config.edit`: a method with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Edit {
    /// Adds a service.
    #[serde(rename = "service.add")]
    ServiceAdd(ServiceAdd),
    /// Changes a service.
    #[serde(rename = "service.edit")]
    ServiceEdit(ServiceEdit),
    /// Removes a service and its destinations.
    #[serde(rename = "service.remove")]
    ServiceRemove(ServiceRemove),
    /// Removes all services.
    #[serde(rename = "service.flush")]
    ServiceFlush(NoParams),
    /// Adds a destination to a service.
    #[serde(rename = "destination.add")]
    DestinationAdd(DestinationAdd),
    /// Changes a destination.
    #[serde(rename = "destination.edit")]
    DestinationEdit(DestinationEdit),
    /// Removes a destination.
    #[serde(rename = "destination.remove")]
    DestinationRemove(DestinationRemove),
    /// Changes settings.
    #[serde(rename = "settings.set")]
    SettingsSet(Box<SettingsEdit>),
    /// Sets shown counters and rates to zero.
    #[serde(rename = "stats.zero")]
    StatsZero(ServiceQuery),
}

/// Parameters of a method without parameters; `params` may also be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Parameters of `service.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAdd {
    /// The service, with or without destinations.
    pub service: Service,
}

/// Parameters of `service.remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceRemove {
    /// Key of the service.
    pub service: ServiceKey,
}

/// Parameters of `destination.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationAdd {
    /// Key of the service.
    pub service: ServiceKey,
    /// The destination.
    pub destination: Destination,
}

/// Parameters of `destination.remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationRemove {
    /// Key of the service.
    pub service: ServiceKey,
    /// Key of the destination.
    pub destination: DestinationKey,
}

/// Parameters of `stats.zero`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceQuery {
    /// Key of the service; everything if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
}

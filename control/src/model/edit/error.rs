//! Reasons for refusing an edit, and the `errno` of Linux IPVS for each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::input_error::InputErrors;
use crate::model::{DestinationKey, ServiceKey};

/// Reason for refusing an edit. The configuration is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A service with this key already exists.
    #[error("service {0} already exists; edit it, or remove it first")]
    ServiceExists(ServiceKey),
    /// The service to be changed or removed does not exist.
    #[error("there is no service {0}; list the services with `pollux list`")]
    NoSuchService(ServiceKey),
    /// The service of the destination does not exist.
    #[error("destination {destination}: there is no service {service}; add the service first")]
    ServiceNotDefined {
        /// The service that is missing.
        service: ServiceKey,
        /// The destination that was to be added, changed or removed.
        destination: DestinationKey,
    },
    /// The service already has this destination.
    #[error("service {service} already has destination {destination}; edit it, or remove it first")]
    DestinationExists {
        /// The service.
        service: ServiceKey,
        /// Its destination.
        destination: DestinationKey,
    },
    /// The service has no such destination.
    #[error("service {service} has no destination {destination}; list its destinations with `pollux list`")]
    NoSuchDestination {
        /// The service.
        service: ServiceKey,
        /// The destination that is missing.
        destination: DestinationKey,
    },
    /// The weight is too large.
    #[error("weight {0} is above 2147483647; use a smaller number or scale all weights down")]
    WeightOutOfRange(u32),
    /// The lower threshold is above the upper one.
    #[error(
        "lower_threshold {lower} is above upper_threshold {upper}; raise upper_threshold, or leave lower_threshold out"
    )]
    ThresholdsCrossed {
        /// The lower threshold.
        lower: u32,
        /// The upper threshold.
        upper: u32,
    },
    /// There is no sysctl of this name.
    #[error("there is no sysctl net.ipv4.vs.{0}; list the sysctls with `pollux sysctl -a`")]
    NoSuchSysctl(String),
    /// There is no namespace of this name.
    #[error("there is no namespace {0}; list the namespaces with `pollux namespace list`")]
    NoSuchNamespace(String),
    /// A namespace of this name already exists.
    #[error("namespace {0} already exists; remove it first, or use another name")]
    NamespaceExists(String),
    /// A size fixed at start is exhausted.
    #[error("{}; raise start.{limit} and restart polluxd", limit_reached(.limit, *.allowed))]
    Full {
        /// Field of `start`: `services` or `destinations`.
        limit: &'static str,
        /// Its value.
        allowed: u32,
    },
    /// The parameters are invalid.
    #[error("{0}")]
    Invalid(InputErrors),
}

/// Says that a limit of `start` is reached: `services` or `destinations`.
pub fn limit_reached(limit: &str, allowed: u32) -> String {
    let counted =
        if limit == "destinations" { ", removed ones that still have connections included" } else { "" };
    format!("the limit of {allowed} {limit} is reached{counted}")
}

/// Error numbers of Linux IPVS, named as in `errno(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Errno {
    /// The object already exists.
    EExist,
    /// The service does not exist.
    ESrch,
    /// The destination, sysctl or namespace does not exist.
    ENoEnt,
    /// The parameters are invalid.
    EInval,
    /// A weight or threshold is out of range.
    ERange,
    /// A size fixed at start is exhausted, or there is not enough memory.
    ENoMem,
}

impl EditError {
    /// Returns the error of Linux IPVS in the same case.
    pub fn errno(&self) -> Errno {
        match self {
            EditError::ServiceExists(_)
            | EditError::DestinationExists { .. }
            | EditError::NamespaceExists(_) => Errno::EExist,
            EditError::NoSuchService(_) | EditError::ServiceNotDefined { .. } => Errno::ESrch,
            EditError::NoSuchDestination { .. }
            | EditError::NoSuchSysctl(_)
            | EditError::NoSuchNamespace(_) => Errno::ENoEnt,
            EditError::WeightOutOfRange(_) | EditError::ThresholdsCrossed { .. } => Errno::ERange,
            EditError::Full { .. } => Errno::ENoMem,
            EditError::Invalid(_) => Errno::EInval,
        }
    }
}

//! Why an edit does not fit, and the `errno` Linux IPVS has for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::input_error::InputErrors;
use crate::model::{DestinationKey, ServiceKey};

/// Why an edit was refused. The configuration is then as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A service with this key is there already.
    #[error("service {0} already exists; edit it, or remove it first")]
    ServiceExists(ServiceKey),
    /// The service to be changed or removed is not there.
    #[error("there is no service {0}; `pollux list` shows those there are")]
    NoSuchService(ServiceKey),
    /// The service whose destination is meant is not there.
    #[error("destination {destination}: there is no service {service}; add the service first")]
    ServiceNotDefined {
        /// The service that is missing.
        service: ServiceKey,
        /// The destination that was to be added, changed or removed.
        destination: DestinationKey,
    },
    /// The service has this destination already.
    #[error("service {service} already has destination {destination}; edit it, or remove it first")]
    DestinationExists {
        /// The service.
        service: ServiceKey,
        /// Its destination.
        destination: DestinationKey,
    },
    /// The service has no such destination.
    #[error("service {service} has no destination {destination}; `pollux list` shows those it has")]
    NoSuchDestination {
        /// The service.
        service: ServiceKey,
        /// The destination that is missing.
        destination: DestinationKey,
    },
    /// The weight does not fit.
    #[error("weight {0} is above 2147483647; use a smaller number or scale all weights down")]
    WeightOutOfRange(u32),
    /// The thresholds are the wrong way round.
    #[error(
        "lower_threshold {lower} is above upper_threshold {upper}; raise upper_threshold, or leave lower_threshold out"
    )]
    ThresholdsCrossed {
        /// Connections below which it gets some again.
        lower: u32,
        /// Connections from which on it gets no more.
        upper: u32,
    },
    /// There is no variable of this name.
    #[error("there is no sysctl net.ipv4.vs.{0}; `pollux sysctl -a` shows those there are")]
    NoSuchSysctl(String),
    /// There is no namespace of this name.
    #[error("there is no namespace {0}; `pollux namespace list` shows those there are")]
    NoSuchNamespace(String),
    /// A namespace of this name is there already.
    #[error("namespace {0} already exists; remove it first, or use another name")]
    NamespaceExists(String),
    /// There is no room; sizes are fixed at start.
    #[error(
        "start.{limit} is {allowed} and all are taken; raise it in the configuration and restart polluxd"
    )]
    Full {
        /// Which of the `start` sizes: `services` or `destinations`.
        limit: &'static str,
        /// How many it allows.
        allowed: u32,
    },
    /// What was asked for can never work.
    #[error("{0}")]
    Invalid(InputErrors),
}

/// The errors of Linux IPVS, by the names of `errno(3)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Errno {
    /// It is there already.
    EExist,
    /// The service is not there.
    ESrch,
    /// The destination is not there.
    ENoEnt,
    /// It can never work.
    EInval,
    /// A number does not fit.
    ERange,
    /// There is no room.
    ENoMem,
}

impl EditError {
    /// What Linux IPVS gives in the same case.
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

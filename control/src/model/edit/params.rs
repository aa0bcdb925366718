//! Parameters of edits of services and destinations: fields other than the key are optional, and absent ones keep their
//! value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EditError, check_thresholds};
use crate::model::{
    Destination, DestinationKey, Method, Persistence, Scheduler, SchedulerFlags, Service, ServiceKey, Tunnel,
};

/// Parameters of `service.edit`: absent fields keep their value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// Key of the service.
    pub service: ServiceKey,
    /// Scheduling algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// Scheduler flags; replaces all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<SchedulerFlags>,
    /// Persistence; `null` removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub persistence: Option<Option<Persistence>>,
    /// One-packet scheduling (OPS): every UDP packet is scheduled on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<bool>,
}

impl ServiceEdit {
    /// Returns an edit without changes.
    pub fn new(service: ServiceKey) -> ServiceEdit {
        ServiceEdit { service, scheduler: None, flags: None, persistence: None, ops: None }
    }

    /// Returns an edit that replaces all fields except the destinations, like `ipvsadm -E`.
    pub fn replacing(new: Service) -> ServiceEdit {
        ServiceEdit {
            service: new.key(),
            scheduler: Some(new.scheduler),
            flags: Some(new.flags),
            persistence: Some(new.persistence),
            ops: Some(new.ops),
        }
    }

    pub(super) fn onto(&self, mut old: Service) -> Service {
        old.scheduler = self.scheduler.unwrap_or(old.scheduler);
        old.flags = self.flags.unwrap_or(old.flags);
        old.ops = self.ops.unwrap_or(old.ops);
        if let Some(persistence) = &self.persistence {
            old.persistence.clone_from(persistence);
        }
        old
    }
}

/// Distinguishes a field that is present, even as `null`, from an absent one.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Parameters of `destination.edit`: absent fields keep their value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationEdit {
    /// Key of the service.
    pub service: ServiceKey,
    /// Key of the destination.
    pub destination: DestinationKey,
    /// Forwarding method of new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Tunnel type; changing `method` from `tunnel` to another resets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Share of new connections, 0 to 2147483647.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Connection limit: at this number of connections the destination gets no new ones; 0 = no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<u32>,
    /// After the limit was reached, the destination gets new connections again below this number; 0 = three quarters of
    /// `upper_threshold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<u32>,
}

impl DestinationEdit {
    /// Returns an edit without changes.
    pub fn new(service: ServiceKey, destination: DestinationKey) -> DestinationEdit {
        DestinationEdit {
            service,
            destination,
            method: None,
            tunnel: None,
            weight: None,
            upper_threshold: None,
            lower_threshold: None,
        }
    }

    /// Returns an edit that replaces all fields, like `ipvsadm -e`.
    pub fn replacing(service: ServiceKey, new: &Destination) -> DestinationEdit {
        DestinationEdit {
            service,
            destination: new.key(),
            method: Some(new.method),
            tunnel: Some(new.tunnel),
            weight: Some(new.weight),
            upper_threshold: Some(new.upper_threshold),
            lower_threshold: Some(new.lower_threshold),
        }
    }

    /// Checks the thresholds, which IPVS does before it searches for the destination.
    pub(super) fn check_thresholds(&self) -> Result<(), EditError> {
        match (self.lower_threshold, self.upper_threshold) {
            (Some(lower), Some(upper)) => check_thresholds(lower, upper),
            _ => Ok(()),
        }
    }

    pub(super) fn onto(&self, old: &Destination) -> Destination {
        let method = self.method.unwrap_or(old.method);
        let kept = if method == Method::Tunnel { old.tunnel } else { Tunnel::default() };
        Destination {
            method,
            tunnel: self.tunnel.unwrap_or(kept),
            weight: self.weight.unwrap_or(old.weight),
            upper_threshold: self.upper_threshold.unwrap_or(old.upper_threshold),
            lower_threshold: self.lower_threshold.unwrap_or(old.lower_threshold),
            ..old.clone()
        }
    }
}

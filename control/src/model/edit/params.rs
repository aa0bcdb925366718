//! What a single edit may name: everything but the key may be absent, and then stays as it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EditError, thresholds_fit};
use crate::model::{
    Destination, DestinationKey, Method, Persistence, Scheduler, SchedulerFlags, Service, ServiceKey, Tunnel,
};

/// Parameters of `service.edit`: what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// Which service.
    pub service: ServiceKey,
    /// How destinations are chosen from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// The scheduler's switches, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<SchedulerFlags>,
    /// How clients stick to a destination; `null` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub persistence: Option<Option<Persistence>>,
    /// A UDP connection serves one packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<bool>,
}

impl ServiceEdit {
    /// An edit that changes nothing yet.
    pub fn new(service: ServiceKey) -> ServiceEdit {
        ServiceEdit { service, scheduler: None, flags: None, persistence: None, ops: None }
    }

    /// An edit that sets everything anew but the destinations, which stay: what `ipvsadm -E` does.
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

/// What is there, be it `null`, as opposed to what is absent.
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Parameters of `destination.edit`: what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationEdit {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// Which destination.
    pub destination: DestinationKey,
    /// How packets of new connections reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The kind of tunnel; another method than `tunnel` ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Its share of new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Connections from which on it gets no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_threshold: Option<u32>,
    /// Connections below which it gets some again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_threshold: Option<u32>,
}

impl DestinationEdit {
    /// An edit that changes nothing yet.
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

    /// An edit that sets everything anew: what `ipvsadm -e` does.
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

    /// IPVS looks at thresholds before it looks for the destination.
    pub(super) fn thresholds_fit(&self) -> Result<(), EditError> {
        match (self.lower_threshold, self.upper_threshold) {
            (Some(lower), Some(upper)) => thresholds_fit(lower, upper),
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

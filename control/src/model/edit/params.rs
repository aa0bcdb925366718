//! Parameters of edits of services and destinations: fields other than the key are optional, and absent ones keep their
//! value.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EditError, check_thresholds};
use crate::model::{
    Destination, DestinationKey, Engine, Method, Persistence, Scheduler, SchedulerFlags, Service, ServiceKey,
    Tunnel,
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
    /// Scheduler flags; `null` turns all of them off.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub flags: Option<Option<FlagsEdit>>,
    /// Persistence; `null` removes it. If the service has none, absent fields take their defaults.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub persistence: Option<Option<PersistenceEdit>>,
    /// One-packet scheduling (OPS): every UDP packet is scheduled on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<bool>,
}

impl ServiceEdit {
    /// Returns an edit that replaces all fields except the destinations, like `ipvsadm -E`.
    pub fn replacing(new: Service) -> ServiceEdit {
        ServiceEdit {
            service: new.key,
            scheduler: Some(new.scheduler),
            flags: Some(Some(FlagsEdit::replacing(new.flags))),
            persistence: Some(new.persistence.map(PersistenceEdit::replacing)),
            ops: Some(new.ops),
        }
    }

    pub(super) fn apply_to(&self, mut old: Service) -> Service {
        old.scheduler = self.scheduler.unwrap_or(old.scheduler);
        old.ops = self.ops.unwrap_or(old.ops);
        if let Some(flags) = self.flags {
            old.flags = flags.map(|edit| edit.apply_to(old.flags)).unwrap_or_default();
        }
        if let Some(edit) = &self.persistence {
            old.persistence = edit.as_ref().map(|edit| edit.apply_to(old.persistence.unwrap_or_default()));
        }
        old
    }
}

/// Scheduler flags to change: absent ones keep their value, `null` turns one off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlagsEdit {
    /// `sh-fallback`, `mh-fallback`, `flag-1`: if the selected destination is not usable, try others.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "switch")]
    pub fallback: Option<bool>,
    /// `sh-port`, `mh-port`, `flag-2`: include the client's port in the hash.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "switch")]
    pub hash_l4_port: Option<bool>,
    /// `flag-3`: stored and listed, but no scheduler uses it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "switch")]
    pub flag_3: Option<bool>,
}

impl FlagsEdit {
    fn replacing(new: SchedulerFlags) -> FlagsEdit {
        let SchedulerFlags { fallback, hash_l4_port, flag_3 } = new;
        FlagsEdit { fallback: Some(fallback), hash_l4_port: Some(hash_l4_port), flag_3: Some(flag_3) }
    }

    fn apply_to(self, old: SchedulerFlags) -> SchedulerFlags {
        SchedulerFlags {
            fallback: self.fallback.unwrap_or(old.fallback),
            hash_l4_port: self.hash_l4_port.unwrap_or(old.hash_l4_port),
            flag_3: self.flag_3.unwrap_or(old.flag_3),
        }
    }
}

/// Fields of persistence to change: absent ones keep their value, `null` sets the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PersistenceEdit {
    /// Seconds after the client's last new connection, 1 to 2678400 (31 days); default 360.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub timeout: Option<Option<u32>>,
    /// IPv4 client grouping mask; default 255.255.255.255.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub netmask: Option<Option<Ipv4Addr>>,
    /// IPv6 client grouping, prefix length 1 to 128; default 128.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub prefix_len: Option<Option<u8>>,
    /// Persistence engine; default none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub engine: Option<Option<Engine>>,
}

impl PersistenceEdit {
    fn replacing(new: Persistence) -> PersistenceEdit {
        PersistenceEdit {
            timeout: Some(Some(new.timeout)),
            netmask: Some(new.netmask),
            prefix_len: Some(new.prefix_len),
            engine: Some(new.engine),
        }
    }

    fn apply_to(&self, old: Persistence) -> Persistence {
        let default = Persistence::default().timeout;
        Persistence {
            timeout: self.timeout.map_or(old.timeout, |timeout| timeout.unwrap_or(default)),
            netmask: self.netmask.unwrap_or(old.netmask),
            prefix_len: self.prefix_len.unwrap_or(old.prefix_len),
            engine: self.engine.unwrap_or(old.engine),
        }
    }
}

/// Reads `null` as false.
fn switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Option::deserialize(from).map(|on| Some(on.unwrap_or_default()))
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

    pub(super) fn apply_to(&self, old: &Destination) -> Destination {
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

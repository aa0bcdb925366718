//! The serialized form of services: the fields of the key are inline, and which of them are present decides its kind.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Destination, Family, Persistence, Protocol, Scheduler, SchedulerFlags, ServiceKey};

/// The key of a service: `protocol`, `address` and `l4_port`, or `fwmark` and `family`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) l4_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fwmark: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) family: Option<Family>,
}

impl TryFrom<Key> for ServiceKey {
    type Error = &'static str;

    fn try_from(key: Key) -> Result<ServiceKey, &'static str> {
        match key {
            Key {
                protocol: Some(protocol),
                address: Some(address),
                l4_port: Some(l4_port),
                fwmark: None,
                family: None,
            } => Ok(ServiceKey::Address { protocol, address, l4_port }),
            Key { protocol: None, address: None, l4_port: None, fwmark: Some(fwmark), family } => {
                Ok(ServiceKey::Fwmark { fwmark, family: family.unwrap_or_default() })
            }
            Key { fwmark: Some(_), .. } => Err(
                "a service has either `fwmark`, or `protocol`, `address` and `l4_port`; remove one or the other",
            ),
            Key { protocol: None, .. } => Err("missing field `protocol`"),
            Key { address: None, .. } => Err("missing field `address`"),
            Key { l4_port: None, .. } => Err("missing field `l4_port`"),
            _ => {
                Err("`family` is only for services with `fwmark`; remove it, the address implies the family")
            }
        }
    }
}

impl From<ServiceKey> for Key {
    fn from(key: ServiceKey) -> Key {
        match key {
            ServiceKey::Address { protocol, address, l4_port } => Key {
                protocol: Some(protocol),
                address: Some(address),
                l4_port: Some(l4_port),
                ..Key::default()
            },
            ServiceKey::Fwmark { fwmark, family } => Key {
                fwmark: Some(fwmark),
                family: (family == Family::Ipv6).then_some(family),
                ..Key::default()
            },
        }
    }
}

/// A virtual service.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Transport protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol: Option<Protocol>,
    /// Virtual address (VIP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    /// Virtual L4 port; 0 matches any port and needs persistence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l4_port: Option<u16>,
    /// Firewall mark of the packets, not 0; replaces `protocol`, `address` and `l4_port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fwmark: Option<u32>,
    /// Only with `fwmark`: family of the packets, `ipv4` (default) or `ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<Family>,
    /// Scheduling algorithm; default `wlc`.
    #[serde(default)]
    scheduler: Scheduler,
    /// Scheduler flags.
    #[serde(default, skip_serializing_if = "SchedulerFlags::is_empty")]
    flags: SchedulerFlags,
    /// Persistence; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    persistence: Option<Persistence>,
    /// One-packet scheduling (OPS): every UDP packet is scheduled on its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ops: bool,
    /// Destinations in the order they are added; as in IPVS, schedulers look at the last one added first.
    #[serde(default)]
    destinations: Vec<Destination>,
}

impl TryFrom<Service> for super::Service {
    type Error = &'static str;

    fn try_from(serialized: Service) -> Result<super::Service, &'static str> {
        let Service { protocol, address, l4_port, fwmark, family, .. } = serialized;
        Ok(super::Service {
            key: Key { protocol, address, l4_port, fwmark, family }.try_into()?,
            scheduler: serialized.scheduler,
            flags: serialized.flags,
            persistence: serialized.persistence,
            ops: serialized.ops,
            destinations: serialized.destinations,
        })
    }
}

impl From<super::Service> for Service {
    fn from(service: super::Service) -> Service {
        let Key { protocol, address, l4_port, fwmark, family } = service.key.into();
        Service {
            protocol,
            address,
            l4_port,
            fwmark,
            family,
            scheduler: service.scheduler,
            flags: service.flags,
            persistence: service.persistence,
            ops: service.ops,
            destinations: service.destinations,
        }
    }
}

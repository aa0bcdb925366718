//! Services in brief: without counters, and without what is off or has its default. A list of ten thousand services is a
//! tenth of its size so.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DestinationView, Rates, ServiceView, Stats};
use crate::model::{Family, Method, Persistence, Protocol, Scheduler, SchedulerFlags, ServiceKey, Tunnel};

/// All services in brief, or the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BriefList {
    /// In the order of the configuration.
    pub services: Vec<BriefService>,
    /// How many connections can be held.
    pub connection_capacity: u64,
}

/// A service in brief; the fields are those of [`ServiceView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "each field is described once, in `ServiceView`")]
pub struct BriefService {
    #[serde(flatten)]
    pub key: ServiceKey,
    pub scheduler: Scheduler,
    #[serde(skip_serializing_if = "SchedulerFlags::is_empty")]
    pub flags: SchedulerFlags,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_packet: bool,
    pub destinations: Vec<BriefDestination>,
}

/// A destination in brief; the fields are those of [`DestinationView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "each field is described once, in `DestinationView`")]
pub struct BriefDestination {
    pub address: IpAddr,
    pub l4_port: u16,
    pub method: Method,
    #[serde(skip_serializing_if = "Tunnel::is_ipip")]
    pub tunnel: Tunnel,
    pub weight: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub upper_threshold: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub lower_threshold: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overloaded: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub active: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub inactive: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub persistent: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A service as it is listed, in brief or not, to be read: the key's fields stand beside the others, and so nothing has
/// to be put aside on the way.
#[derive(Deserialize, JsonSchema)]
pub struct Listed {
    protocol: Option<Protocol>,
    address: Option<IpAddr>,
    l4_port: Option<u16>,
    mark: Option<u32>,
    family: Option<Family>,
    scheduler: Scheduler,
    #[serde(default)]
    flags: SchedulerFlags,
    persistence: Option<Persistence>,
    #[serde(default)]
    one_packet: bool,
    destinations: Vec<DestinationView>,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    live: Stats,
    #[serde(default)]
    rates: Rates,
}

impl TryFrom<Listed> for ServiceView {
    type Error = &'static str;

    fn try_from(listed: Listed) -> Result<ServiceView, &'static str> {
        let Listed { protocol, address, l4_port, mark, family, .. } = listed;
        Ok(ServiceView {
            key: ServiceKey::from_fields((protocol, address, l4_port), (mark, family))?,
            scheduler: listed.scheduler,
            flags: listed.flags,
            persistence: listed.persistence,
            one_packet: listed.one_packet,
            destinations: listed.destinations,
            stats: listed.stats,
            live: listed.live,
            rates: listed.rates,
        })
    }
}

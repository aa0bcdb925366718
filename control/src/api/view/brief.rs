//! The compact form of the service list, without zero and default values, for very long lists.

use std::net::IpAddr;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{DestinationView, Rates, ServiceList, ServiceView, Stats};
use crate::model::{
    Family, Method, Persistence, Protocol, Scheduler, SchedulerFlags, SerializedKey, ServiceKey, Tunnel,
};

/// A [`ServiceList`] serialized without zero and default values, which the client fills in.
#[derive(Clone, Debug, PartialEq)]
pub struct BriefList(pub ServiceList);

impl Serialize for BriefList {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_struct("ServiceList", 2)?;
        list.serialize_field("services", &Services(&self.0.services))?;
        list.serialize_field("connection_capacity", &self.0.connection_capacity)?;
        list.end()
    }
}

struct Services<'a>(&'a [ServiceView]);

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Service::of))
    }
}

struct Destinations<'a>(&'a [DestinationView]);

impl Serialize for Destinations<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Destination::of))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize)]
struct Service<'a> {
    #[serde(flatten)]
    key: ServiceKey,
    scheduler: Scheduler,
    #[serde(skip_serializing_if = "is_default")]
    flags: SchedulerFlags,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistence: Option<&'a Persistence>,
    #[serde(skip_serializing_if = "is_default")]
    ops: bool,
    destinations: Destinations<'a>,
    #[serde(skip_serializing_if = "is_default")]
    stats: Stats,
    #[serde(skip_serializing_if = "is_default")]
    rates: Rates,
}

impl Service<'_> {
    fn of(view: &ServiceView) -> Service<'_> {
        Service {
            key: view.key,
            scheduler: view.scheduler,
            flags: view.flags,
            persistence: view.persistence.as_ref(),
            ops: view.ops,
            destinations: Destinations(&view.destinations),
            stats: view.stats,
            rates: view.rates,
        }
    }
}

#[derive(Serialize)]
struct Destination {
    address: IpAddr,
    l4_port: u16,
    method: Method,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<Tunnel>,
    weight: u32,
    #[serde(skip_serializing_if = "is_default")]
    upper_threshold: u32,
    #[serde(skip_serializing_if = "is_default")]
    lower_threshold: u32,
    #[serde(skip_serializing_if = "is_default")]
    overloaded: bool,
    #[serde(skip_serializing_if = "is_default")]
    active: u32,
    #[serde(skip_serializing_if = "is_default")]
    inactive: u32,
    #[serde(skip_serializing_if = "is_default")]
    persistent: u32,
    #[serde(skip_serializing_if = "is_default")]
    stats: Stats,
    #[serde(skip_serializing_if = "is_default")]
    rates: Rates,
}

impl Destination {
    fn of(view: &DestinationView) -> Destination {
        Destination {
            address: view.address,
            l4_port: view.l4_port,
            method: view.method,
            tunnel: view.tunnel,
            weight: view.weight,
            upper_threshold: view.upper_threshold,
            lower_threshold: view.lower_threshold,
            overloaded: view.overloaded,
            active: view.active,
            inactive: view.inactive,
            persistent: view.persistent,
            stats: view.stats,
            rates: view.rates,
        }
    }
}

/// A service as it is deserialized. With a flattened key serde would buffer every destination.
#[derive(Deserialize)]
struct ServiceFields {
    protocol: Option<Protocol>,
    address: Option<IpAddr>,
    l4_port: Option<u16>,
    fwmark: Option<u32>,
    family: Option<Family>,
    scheduler: Scheduler,
    #[serde(default)]
    flags: SchedulerFlags,
    persistence: Option<Persistence>,
    #[serde(default)]
    ops: bool,
    destinations: Vec<DestinationView>,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    live: Stats,
    #[serde(default)]
    rates: Rates,
}

impl<'de> Deserialize<'de> for ServiceView {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ServiceView, D::Error> {
        let fields = ServiceFields::deserialize(from)?;
        let ServiceFields { protocol, address, l4_port, fwmark, family, .. } = fields;
        let key = SerializedKey { protocol, address, l4_port, fwmark, family };
        Ok(ServiceView {
            key: key.try_into().map_err(serde::de::Error::custom)?,
            scheduler: fields.scheduler,
            flags: fields.flags,
            persistence: fields.persistence,
            ops: fields.ops,
            destinations: fields.destinations,
            stats: fields.stats,
            live: fields.live,
            rates: fields.rates,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::view::ServiceList;

    #[test]
    fn what_is_left_out_is_read_as_it_was() {
        let whole = json!({ "services": [{ "protocol": "tcp", "address": "10.9.9.1", "l4_port": 80, "scheduler": "rr",
            "destinations": [
                { "address": "10.0.2.11", "l4_port": 80, "method": "tunnel", "tunnel": { "type": "gre" }, "weight": 0,
                  "active": 3, "stats": { "connections": 1, "in_packets": 0, "out_packets": 0, "in_bytes": 0,
                  "out_bytes": 0 } },
                { "address": "10.0.2.12", "l4_port": 80, "method": "nat", "weight": 1 }] },
            { "fwmark": 7, "family": "ipv6", "scheduler": "wlc", "destinations": [] }],
            "connection_capacity": 9 });
        let list: ServiceList = serde_json::from_value(whole.clone()).unwrap();
        let brief = serde_json::to_value(BriefList(list.clone())).unwrap();
        assert_eq!(brief["services"][0]["destinations"][1], whole["services"][0]["destinations"][1]);
        assert_eq!(serde_json::from_value::<ServiceList>(brief).unwrap(), list);
        let long = serde_json::to_value(&list).unwrap();
        assert_eq!(serde_json::from_value::<ServiceList>(long).unwrap(), list);
    }

    #[test]
    fn a_service_has_a_whole_key() {
        let half = json!({ "protocol": "tcp", "address": "10.9.9.1", "scheduler": "rr", "destinations": [] });
        assert!(serde_json::from_value::<ServiceView>(half).is_err());
    }
}

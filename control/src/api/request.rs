//! Requests and replies of the control socket.
//!
//! A request that changes something is answered when every worker has adopted the change: after the reply no packet
//! sees the old state.

mod many;

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::many::{ConfigEdit, EditedView, RefusedEdit};
use crate::api::follow::Follow;
use crate::api::view::brief::BriefList;
use crate::api::view::{
    ConnectionPage, ConnectionProtocol, DebugSet, DebugSites, ModuleList, NamespaceList, ServiceList,
    StatsView, VersionView,
};
use crate::model::diff::Applied;
pub use crate::model::edit::{
    DestinationAdd, DestinationRemove, Edit, NoParams, ServiceAdd, ServiceQuery, ServiceRemove,
};
use crate::model::edit::{DestinationEdit, ModuleSet, ServiceEdit, SettingsEdit};
use crate::model::sysctl;
use crate::model::{Config, FwmarkRule, Namespace, ServiceKey};

/// A request: a JSON-RPC method with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub enum Request {
    /// Returns the running configuration, including run-time changes.
    #[serde(rename = "config.get")]
    ConfigGet(NoParams),
    /// Replaces the whole configuration, or nothing.
    #[serde(rename = "config.apply")]
    ConfigApply(Apply),
    /// Performs many edits in order, each with its own result; workers adopt all at once.
    #[serde(rename = "config.edit")]
    ConfigEdit(ConfigEdit),
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
    /// Returns the running services with their counters.
    #[serde(rename = "service.list")]
    ServiceList(ServiceListQuery),
    /// Adds a destination to a service.
    #[serde(rename = "destination.add")]
    DestinationAdd(DestinationAdd),
    /// Changes a destination.
    #[serde(rename = "destination.edit")]
    DestinationEdit(DestinationEdit),
    /// Removes a destination.
    #[serde(rename = "destination.remove")]
    DestinationRemove(DestinationRemove),
    /// Returns one page of connections.
    #[serde(rename = "connection.list")]
    ConnectionList(ConnectionQuery),
    /// Returns counters: the total, and those of workers and ports.
    #[serde(rename = "stats.get")]
    StatsGet(NoParams),
    /// Changes settings.
    #[serde(rename = "settings.set")]
    SettingsSet(SettingsEdit),
    /// Sets shown counters and rates to zero.
    #[serde(rename = "stats.zero")]
    StatsZero(ServiceQuery),
    /// Replaces all firewall mark rules.
    #[serde(rename = "fwmarks.set")]
    FwmarksSet(FwmarksSet),
    /// Returns sysctls, by the names of `net.ipv4.vs.*`.
    #[serde(rename = "sysctl.get")]
    SysctlGet(SysctlGet),
    /// Sets sysctls, all or none.
    #[serde(rename = "sysctl.set")]
    SysctlSet(sysctl::Values),
    /// Returns debug sites.
    #[serde(rename = "debug.sites")]
    DebugSites(DebugQuery),
    /// Enables or disables debug sites; if a query is invalid, none is changed.
    #[serde(rename = "debug.set")]
    DebugSet(DebugQuery),
    /// Streams debug events until the connection is closed.
    #[serde(rename = "debug.follow")]
    DebugFollow(NoParams),
    /// Returns the modules, and the services that use them.
    #[serde(rename = "module.list")]
    ModuleList(NoParams),
    /// Switches modules on or off.
    #[serde(rename = "module.set")]
    ModuleSet(ModuleSet),
    /// Adds a namespace.
    #[serde(rename = "namespace.add")]
    NamespaceAdd(NamespaceAdd),
    /// Removes a namespace with all its content.
    #[serde(rename = "namespace.remove")]
    NamespaceRemove(NamespaceRemove),
    /// Returns all namespaces.
    #[serde(rename = "namespace.list")]
    NamespaceList(NoParams),
    /// Returns versions and uptime of the daemon.
    #[serde(rename = "version.get")]
    VersionGet(NoParams),
    /// Stops the daemon.
    #[serde(rename = "daemon.stop")]
    DaemonStop(NoParams),
}

impl Request {
    /// Returns true if the request may change the configuration.
    pub fn configures(&self) -> bool {
        !matches!(
            self,
            Request::ConfigGet(_)
                | Request::ConfigApply(Apply { dry_run: true, .. })
                | Request::ServiceList(_)
                | Request::ConnectionList(_)
                | Request::StatsGet(_)
                | Request::StatsZero(_)
                | Request::SysctlGet(_)
                | Request::DebugSites(_)
                | Request::DebugSet(_)
                | Request::DebugFollow(_)
                | Request::ModuleList(_)
                | Request::NamespaceList(_)
                | Request::VersionGet(_)
                | Request::DaemonStop(_)
        )
    }
}

/// The methods of [`Request`], in its order.
pub const METHODS: [&str; 28] = [
    "config.get",
    "config.apply",
    "config.edit",
    "service.add",
    "service.edit",
    "service.remove",
    "service.flush",
    "service.list",
    "destination.add",
    "destination.edit",
    "destination.remove",
    "connection.list",
    "stats.get",
    "settings.set",
    "stats.zero",
    "fwmarks.set",
    "sysctl.get",
    "sysctl.set",
    "debug.sites",
    "debug.set",
    "debug.follow",
    "module.list",
    "module.set",
    "namespace.add",
    "namespace.remove",
    "namespace.list",
    "version.get",
    "daemon.stop",
];

/// Parameters of `config.apply`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The new configuration.
    pub config: Config,
    /// Only compute the changes; default false.
    #[serde(default)]
    pub dry_run: bool,
    /// Digest of the file that `config` was read from, so that a restart with this file recognizes it: length in bytes
    /// and 64-bit FNV-1a hash, in hexadecimal: `1f4-0123456789abcdef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Parameters of `fwmarks.set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FwmarksSet {
    /// The complete list of rules.
    pub fwmarks: Vec<FwmarkRule>,
}

/// Parameters of `namespace.add`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceAdd {
    /// The namespace, with or without content.
    pub namespace: Namespace,
}

/// Parameters of `namespace.remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceRemove {
    /// Name of the namespace.
    pub name: String,
}

/// Parameters of `sysctl.get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SysctlGet {
    /// Names, with or without the prefix `net.ipv4.vs.`; all sysctls if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Parameters of `service.list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceListQuery {
    /// Key of the service; all services if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
    /// Omits `live`, and every field that is zero, empty, false or at its default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub brief: bool,
}

/// Parameters of `debug.sites` and `debug.set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DebugQuery {
    /// Dynamic debug query, such as `module ip_vs_rr +p`; for `debug.sites` without an operator, and all sites if
    /// empty.
    pub query: String,
}

/// Parameters of `connection.list`. A connection is listed if it matches all given filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionQuery {
    /// Maximum number of connections in the page, 1 to 10000; a page may have fewer although more follow. Default
    /// 1000.
    pub limit: u32,
    /// `next` of the previous page; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ConnectionProtocol>,
    /// Address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Virtual address and L4 port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#virtual: Option<SocketAddr>,
    /// Address and L4 port of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<SocketAddr>,
}

impl Default for ConnectionQuery {
    fn default() -> Self {
        ConnectionQuery {
            limit: 1000,
            cursor: None,
            protocol: None,
            client: None,
            r#virtual: None,
            destination: None,
        }
    }
}

/// Reply to a request. In JSON it is the bare inner value, because the client knows its request.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// Reply to `config.get`.
    Config(Box<Config>),
    /// Reply to `config.apply`.
    Applied(Applied),
    /// Reply to `config.edit`.
    Edited(EditedView),
    /// Reply to `service.list`.
    Services(ServiceList),
    /// Reply to `service.list` with `brief`.
    BriefServices(#[schemars(with = "ServiceList")] BriefList),
    /// Reply to `connection.list`.
    Connections(ConnectionPage),
    /// Reply to `stats.get`.
    Stats(StatsView),
    /// Reply to `sysctl.get`.
    Sysctls(sysctl::Values),
    /// Reply to `debug.sites`.
    DebugSites(DebugSites),
    /// Reply to `debug.set`.
    DebugSet(DebugSet),
    /// Reply to `debug.follow`: an empty object, followed by notifications.
    #[serde(serialize_with = "nothing")]
    #[schemars(with = "Done")]
    Following(Follow),
    /// Reply to `module.list`.
    Modules(ModuleList),
    /// Reply to `namespace.list`.
    Namespaces(NamespaceList),
    /// Reply to `version.get`.
    Version(VersionView),
    /// Reply to all other requests.
    Done(Done),
}

fn nothing<S: serde::Serializer>(_: &Follow, to: S) -> Result<S::Ok, S::Error> {
    Done {}.serialize(to)
}

/// An empty object: the request was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_match_the_request_schema() {
        let schema = serde_json::to_value(schemars::schema_for!(Request)).unwrap();
        let of = |one: &serde_json::Value| one["properties"]["method"]["const"].as_str().map(str::to_owned);
        let methods: Vec<String> = schema["oneOf"].as_array().unwrap().iter().filter_map(of).collect();
        assert_eq!(methods, METHODS);
    }
}

//! What can be asked of the daemon, and what it answers. The names are the methods of the JSON socket.
//!
//! A method that changes something is answered when every worker has adopted the change: after the answer no packet
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
    /// The configuration that runs, edits included.
    #[serde(rename = "config.get")]
    ConfigGet(NoParams),
    /// Replace the whole configuration, all or nothing.
    #[serde(rename = "config.apply")]
    ConfigApply(Apply),
    /// Many edits in turn, each with its own outcome, adopted together.
    #[serde(rename = "config.edit")]
    ConfigEdit(ConfigEdit),
    /// Add a service.
    #[serde(rename = "service.add")]
    ServiceAdd(ServiceAdd),
    /// Change a service.
    #[serde(rename = "service.edit")]
    ServiceEdit(ServiceEdit),
    /// Remove a service and its destinations.
    #[serde(rename = "service.remove")]
    ServiceRemove(ServiceRemove),
    /// Remove every service.
    #[serde(rename = "service.flush")]
    ServiceFlush(NoParams),
    /// Services as they run, with counters.
    #[serde(rename = "service.list")]
    ServiceList(ServiceListQuery),
    /// Add a destination to a service.
    #[serde(rename = "destination.add")]
    DestinationAdd(DestinationAdd),
    /// Change a destination.
    #[serde(rename = "destination.edit")]
    DestinationEdit(DestinationEdit),
    /// Remove a destination.
    #[serde(rename = "destination.remove")]
    DestinationRemove(DestinationRemove),
    /// Connections, a page at a time.
    #[serde(rename = "connection.list")]
    ConnectionList(ConnectionQuery),
    /// Counters of everything, of workers and of ports.
    #[serde(rename = "stats.get")]
    StatsGet(NoParams),
    /// Change time-outs and switches.
    #[serde(rename = "settings.set")]
    SettingsSet(SettingsEdit),
    /// Make shown counters and rates zero.
    #[serde(rename = "stats.zero")]
    StatsZero(ServiceQuery),
    /// Replace all rules that mark packets.
    #[serde(rename = "fwmarks.set")]
    FwmarksSet(FwmarksSet),
    /// Variables by the names of `net.ipv4.vs.*`.
    #[serde(rename = "sysctl.get")]
    SysctlGet(SysctlGet),
    /// Change such variables, all or none.
    #[serde(rename = "sysctl.set")]
    SysctlSet(sysctl::Values),
    /// Places that may tell debug events.
    #[serde(rename = "debug.sites")]
    DebugSites(DebugQuery),
    /// Switch such places on or off, all that are meant or, if a word is wrong, none.
    #[serde(rename = "debug.set")]
    DebugSet(DebugQuery),
    /// Hear debug events from now on, until the connection is closed.
    #[serde(rename = "debug.follow")]
    DebugFollow(NoParams),
    /// The parts of the balancer and who uses them.
    #[serde(rename = "module.list")]
    ModuleList(NoParams),
    /// Switch parts on or off.
    #[serde(rename = "module.set")]
    ModuleSet(ModuleSet),
    /// Make a namespace.
    #[serde(rename = "namespace.add")]
    NamespaceAdd(NamespaceAdd),
    /// Remove a namespace and all that is in it.
    #[serde(rename = "namespace.remove")]
    NamespaceRemove(NamespaceRemove),
    /// The namespaces there are.
    #[serde(rename = "namespace.list")]
    NamespaceList(NoParams),
    /// Who answers.
    #[serde(rename = "version.get")]
    VersionGet(NoParams),
    /// Stop the daemon.
    #[serde(rename = "daemon.stop")]
    DaemonStop(NoParams),
}

impl Request {
    /// Whether it may change what is configured.
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
    /// What is to run afterwards.
    pub config: Config,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// What tells the file it came from, so that a restart with that file knows that it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Parameters of `fwmarks.set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FwmarksSet {
    /// The rules, in turn.
    pub fwmarks: Vec<FwmarkRule>,
}

/// Parameters of `namespace.add`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceAdd {
    /// The new namespace, with or without content.
    pub namespace: Namespace,
}

/// Parameters of `namespace.remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceRemove {
    /// Which one.
    pub name: String,
}

/// Parameters of `sysctl.get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SysctlGet {
    /// Which; all when empty. `net.ipv4.vs.` may stand before a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Parameters of `service.list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceListQuery {
    /// Only this one; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceKey>,
    /// Leave out `live`, and whatever is zero, empty or the default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub brief: bool,
}

/// Parameters of `debug.sites` and `debug.set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DebugQuery {
    /// In the language of dynamic debug: `module ip_vs_rr +p`; of `debug.sites` without the operator, and empty for all.
    pub query: String,
}

/// Parameters of `connection.list`. A connection is listed when it passes every filter that is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionQuery {
    /// How many at most; the daemon may give fewer and still have more.
    pub limit: u32,
    /// `next` of the page before; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only this protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ConnectionProtocol>,
    /// Only this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Only to this virtual address and L4 port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#virtual: Option<SocketAddr>,
    /// Only answered by this destination.
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

/// The answer to a request. On the wire it is the bare inner value, since the asker knows what was asked.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// To `config.get`.
    Config(Box<Config>),
    /// To `config.apply`.
    Applied(Applied),
    /// To `config.edit`.
    Edited(EditedView),
    /// To `service.list`.
    Services(ServiceList),
    /// To `service.list` with `brief`.
    BriefServices(#[schemars(with = "ServiceList")] BriefList),
    /// To `connection.list`.
    Connections(ConnectionPage),
    /// To `stats.get`.
    Stats(StatsView),
    /// To `sysctl.get`.
    Sysctls(sysctl::Values),
    /// To `debug.sites`.
    DebugSites(DebugSites),
    /// To `debug.set`.
    DebugSet(DebugSet),
    /// To `debug.follow`: nothing, and then notifications.
    #[serde(serialize_with = "nothing")]
    #[schemars(with = "Done")]
    Following(Follow),
    /// To `module.list`.
    Modules(ModuleList),
    /// To `namespace.list`.
    Namespaces(NamespaceList),
    /// To `version.get`.
    Version(VersionView),
    /// To everything else: it is done.
    Done(Done),
}

fn nothing<S: serde::Serializer>(_: &Follow, to: S) -> Result<S::Ok, S::Error> {
    Done {}.serialize(to)
}

/// It is done, and there is no more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_the_requests() {
        let schema = serde_json::to_value(schemars::schema_for!(Request)).unwrap();
        let of = |one: &serde_json::Value| one["properties"]["method"]["const"].as_str().map(str::to_owned);
        let methods: Vec<String> = schema["oneOf"].as_array().unwrap().iter().filter_map(of).collect();
        assert_eq!(methods, METHODS);
    }
}

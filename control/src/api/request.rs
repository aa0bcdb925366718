//! Requests and replies of the control socket.
//!
//! A request that changes something is answered when every worker has adopted the change: after the reply no packet
//! sees the old state.

mod many;

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::many::{ConfigEdit, EditedView, RefusedEdit};
use crate::api::follow::EventReceiver;
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

/// Generates [`Request`] and [`METHODS`] from one list of variants and methods.
macro_rules! requests {
    ($($(#[$doc:meta])* $variant:ident($params:ty) = $method:literal,)*) => {
        /// A request: a JSON-RPC method with its parameters.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "method", content = "params", deny_unknown_fields)]
        pub enum Request {
            $($(#[$doc])* #[serde(rename = $method)] $variant($params),)*
        }

        /// The methods of [`Request`], in its order.
        pub const METHODS: &[&str] = &[$($method),*];
    };
}

requests! {
    /// Returns the running configuration, including run-time changes.
    ConfigGet(NoParams) = "config.get",
    /// Replaces the whole configuration, or nothing.
    ConfigApply(Apply) = "config.apply",
    /// Performs many edits in order, each with its own result; workers adopt all at once.
    ConfigEdit(ConfigEdit) = "config.edit",
    /// Adds a service.
    ServiceAdd(ServiceAdd) = "service.add",
    /// Changes a service.
    ServiceEdit(ServiceEdit) = "service.edit",
    /// Removes a service and its destinations.
    ServiceRemove(ServiceRemove) = "service.remove",
    /// Removes all services.
    ServiceFlush(NoParams) = "service.flush",
    /// Returns the running services with their counters.
    ServiceList(ServiceListQuery) = "service.list",
    /// Adds a destination to a service.
    DestinationAdd(DestinationAdd) = "destination.add",
    /// Changes a destination.
    DestinationEdit(DestinationEdit) = "destination.edit",
    /// Removes a destination.
    DestinationRemove(DestinationRemove) = "destination.remove",
    /// Returns one page of connections.
    ConnectionList(ConnectionQuery) = "connection.list",
    /// Returns counters: the total, and those of workers and ports.
    StatsGet(NoParams) = "stats.get",
    /// Changes settings.
    SettingsSet(SettingsEdit) = "settings.set",
    /// Sets shown counters and rates to zero.
    StatsZero(ServiceQuery) = "stats.zero",
    /// Replaces all firewall mark rules.
    FwmarksSet(FwmarksSet) = "fwmarks.set",
    /// Returns sysctls, by the names of `net.ipv4.vs.*`.
    SysctlGet(SysctlGet) = "sysctl.get",
    /// Sets sysctls, all or none.
    SysctlSet(sysctl::Values) = "sysctl.set",
    /// Returns debug sites.
    DebugSites(DebugQuery) = "debug.sites",
    /// Enables or disables debug sites; if a query is invalid, none is changed.
    DebugSet(DebugQuery) = "debug.set",
    /// Streams debug events until the connection is closed.
    DebugFollow(NoParams) = "debug.follow",
    /// Returns the modules, and the services that use them.
    ModuleList(NoParams) = "module.list",
    /// Switches modules on or off.
    ModuleSet(ModuleSet) = "module.set",
    /// Adds a namespace.
    NamespaceAdd(NamespaceAdd) = "namespace.add",
    /// Removes a namespace with all its content.
    NamespaceRemove(NamespaceRemove) = "namespace.remove",
    /// Returns all namespaces.
    NamespaceList(NoParams) = "namespace.list",
    /// Returns versions and uptime of the daemon.
    VersionGet(NoParams) = "version.get",
    /// Stops the daemon.
    DaemonStop(NoParams) = "daemon.stop",
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

impl ConnectionQuery {
    /// Maximum number of connections in a page.
    pub const MAX_LIMIT: u32 = 10_000;
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
    Following(EventReceiver),
    /// Reply to `module.list`.
    Modules(ModuleList),
    /// Reply to `namespace.list`.
    Namespaces(NamespaceList),
    /// Reply to `version.get`.
    Version(VersionView),
    /// Reply to all other requests.
    Done(Done),
}

fn nothing<S: serde::Serializer>(_: &EventReceiver, to: S) -> Result<S::Ok, S::Error> {
    Done {}.serialize(to)
}

/// An empty object: the request was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {}

//! Reply types about debug events and modules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ServiceKey;

/// A debug site: a place in the code that can log an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugSite {
    /// Source file.
    pub file: String,
    /// Line in the source file.
    pub line: u32,
    /// Module, by its name in Linux.
    pub module: String,
    /// Function.
    pub function: String,
    /// Flags that are set: some of `pmflt`, or `_` for none.
    pub flags: String,
    /// Lowest `debug_level` that enables the site.
    pub level: u8,
    /// True if enabled, by flag `p` or by `debug_level`.
    pub on: bool,
    /// Format of its messages.
    pub format: String,
}

/// The debug sites that match a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugSites {
    /// Current `debug_level`.
    pub level: i32,
    /// The sites.
    pub sites: Vec<DebugSite>,
}

/// Result of a change of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugSet {
    /// Number of sites that matched; a site that matches two queries counts twice.
    pub matched: u64,
}

/// A debug event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugEvent {
    /// Milliseconds since the daemon started.
    pub at_ms: u64,
    /// Number of the worker; absent for events of the control thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
    /// Module of the site; empty if this is a message about lost events.
    pub module: String,
    /// Function of the site.
    pub function: String,
    /// Source file of the site.
    pub file: String,
    /// Line in the source file.
    pub line: u32,
    /// Level of the site.
    pub level: u8,
    /// The message.
    pub text: String,
    /// Number of events dropped before this one because the client read too slowly.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Kind of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    /// The balancer itself.
    Core,
    /// A transport protocol, or AH and ESP.
    Protocol,
    /// A scheduling algorithm.
    Scheduler,
    /// A persistence engine.
    Engine,
    /// A forwarding method; part of the core.
    Method,
}

impl ModuleKind {
    /// Returns the kind as a word.
    pub fn name(self) -> &'static str {
        match self {
            ModuleKind::Core => "core",
            ModuleKind::Protocol => "protocol",
            ModuleKind::Scheduler => "scheduler",
            ModuleKind::Engine => "engine",
            ModuleKind::Method => "method",
        }
    }
}

/// A module of the balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleView {
    /// Name of the module in Linux; for a forwarding method, its name in the configuration.
    pub name: String,
    /// Kind of the module.
    pub kind: ModuleKind,
    /// False if it was switched off.
    pub enabled: bool,
    /// Memory it uses, in bytes; absent if it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Number of services that use it; for a method, number of destinations.
    pub uses: u64,
    /// Services that use it.
    pub used_by: Vec<ServiceKey>,
}

/// All modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleList {
    /// The modules, in this order: core, protocols, schedulers, engines, methods.
    pub modules: Vec<ModuleView>,
}

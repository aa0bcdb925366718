//! What is told of debug events and of modules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::ServiceKey;

/// A place in the code that may tell an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugSite {
    /// The file.
    pub file: String,
    /// The line there.
    pub line: u32,
    /// Its module, by the kernel's name.
    pub module: String,
    /// The function.
    pub function: String,
    /// The flags that were set: some of `pmflt`, or `_` for none.
    pub flags: String,
    /// The level of `debug_level` from which on it is told.
    pub level: u8,
    /// It is told: by its flag `p`, or by `debug_level`.
    pub on: bool,
    /// Its text.
    pub format: String,
}

/// Sites that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugSites {
    /// The level down to which events are told.
    pub level: i32,
    /// The sites.
    pub sites: Vec<DebugSite>,
}

/// What a change of flags came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugSet {
    /// Sites that were meant; one that two queries mean counts twice.
    pub matched: u64,
}

/// Something that was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DebugEvent {
    /// Milliseconds since the daemon started.
    pub at_ms: u64,
    /// The worker that told it; absent of what control told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
    /// The site's module; empty of a note about events that are missing.
    pub module: String,
    /// The site's function.
    pub function: String,
    /// The site's file.
    pub file: String,
    /// The line there.
    pub line: u32,
    /// The site's level.
    pub level: u8,
    /// What the log says.
    pub text: String,
    /// Events before this one that the follower was too slow for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a module is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ModuleKind {
    /// The balancer itself.
    Core,
    /// A transport protocol, or AH and ESP.
    Protocol,
    /// A way to choose destinations.
    Scheduler,
    /// A way to tell clients apart.
    Engine,
    /// A way to destinations; part of the core.
    Method,
}

impl ModuleKind {
    /// The word for it.
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

/// A part of the balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleView {
    /// Its name in the kernel; a method has no module and is called as in the configuration.
    pub name: String,
    /// What it is for.
    pub kind: ModuleKind,
    /// It was not switched off.
    pub enabled: bool,
    /// Bytes that it holds; absent where that is nothing that could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Services that use it; of a method destinations.
    pub uses: u64,
    /// Which services.
    pub used_by: Vec<ServiceKey>,
}

/// All parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleList {
    /// The core, protocols, schedulers, engines, methods.
    pub modules: Vec<ModuleView>,
}

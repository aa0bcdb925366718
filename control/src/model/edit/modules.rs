//! Switching modules on and off.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EditError, valid};
use crate::model::Config;
use crate::model::modules;

/// Parameters of `module.set`: all of it is done, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModuleSet {
    /// Modules to be switched off.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub disable: BTreeSet<String>,
    /// Modules to be switched on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub enable: BTreeSet<String>,
}

/// Switches modules on and off.
///
/// # Errors
/// When one is not there, or a service uses it.
pub fn set_modules(config: &mut Config, set: &ModuleSet) -> Result<(), EditError> {
    valid(|errors| {
        modules::names("enable", &set.enable, errors);
        modules::names("disable", &set.disable, errors);
        modules::unused("disable", config, &set.disable, errors);
        for both in set.enable.intersection(&set.disable) {
            errors.add("enable", format!("{both} is among those to be switched off too"), "say one of both");
        }
    })?;
    let disabled = &mut config.settings.disabled_modules;
    disabled.retain(|module| !set.enable.contains(module));
    disabled.extend(set.disable.iter().cloned());
    Ok(())
}

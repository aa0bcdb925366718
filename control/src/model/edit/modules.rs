//! Edits that switch modules on and off.
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EditError, valid};
use crate::model::Config;
use crate::model::modules;

/// Parameters of `module.set`: all modules are switched, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModuleSet {
    /// Modules to switch off.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub disable: BTreeSet<String>,
    /// Modules to switch on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub enable: BTreeSet<String>,
}

/// Switches modules on and off.
///
/// # Errors
/// If a module does not exist, or a service uses one that is to be switched off.
pub fn set_modules(config: &mut Config, set: &ModuleSet) -> Result<(), EditError> {
    valid(|errors| {
        modules::names("enable", &set.enable, errors);
        modules::names("disable", &set.disable, errors);
        modules::unused("disable", config, &set.disable, errors);
        for both in set.enable.intersection(&set.disable) {
            errors.add(
                "enable",
                format!("{both} is also in disable"),
                "name it in one of the two lists only",
            );
        }
    })?;
    let disabled = &mut config.settings.disabled_modules;
    disabled.retain(|module| !set.enable.contains(module));
    disabled.extend(set.disable.iter().cloned());
    Ok(())
}

//! Edits of settings.

use super::{EditError, SettingsEdit, valid};
use crate::model::Config;
use crate::model::{modules, validate};

/// Changes settings.
///
/// # Errors
/// If one is out of range; then none is changed.
pub fn set_settings(config: &mut Config, edit: &SettingsEdit) -> Result<(), EditError> {
    let new = edit.apply_to(&config.settings);
    valid(|errors| {
        validate::settings(&new, errors);
        modules::unused("settings.disabled_modules", config, &new.disabled_modules, errors);
    })?;
    config.settings = new;
    Ok(())
}

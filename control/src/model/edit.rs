//! Single changes to a configuration, as pure functions, used by the control socket and by `ipvsadm`.
//!
//! A refused change leaves the configuration unchanged. Errors are checked in the order of Linux IPVS, so that scripts
//! see the same errors.

mod error;
mod modules;
mod params;
mod requests;
mod settings;
#[cfg(test)]
mod tests;
mod transaction;

pub use super::settings::SettingsEdit;
pub use error::{EditError, Errno, limit_reached};
pub use modules::{ModuleSet, set_modules};
pub use params::{DestinationEdit, FlagsEdit, PersistenceEdit, ServiceEdit};
pub use requests::{
    DestinationAdd, DestinationRemove, Edit, NoParams, ServiceAdd, ServiceQuery, ServiceRemove,
};
pub use settings::set_settings;
pub use transaction::{ConfigTransaction, Edited, Step};

use crate::model::input_error::InputErrors;
use crate::model::validate;
use crate::model::{Config, Destination, FwmarkRule};

/// Applies any edit and returns its steps.
///
/// # Errors
/// If the edit is refused.
pub fn apply_edit(config: &mut Config, edit: Edit) -> Result<Vec<Step>, EditError> {
    let running = config.start.clone();
    let mut transaction = ConfigTransaction::new(std::mem::take(config), running);
    let result = transaction.apply_edit(edit);
    let edited = transaction.finish();
    *config = edited.config;
    result.map(|()| edited.steps)
}

/// Replaces all firewall mark rules.
///
/// # Errors
/// If one is invalid; then none is changed.
pub fn set_fwmarks(config: &mut Config, fwmarks: Vec<FwmarkRule>) -> Result<(), EditError> {
    valid(|errors| validate::fwmarks::fwmarks(&fwmarks, errors))?;
    config.fwmarks = fwmarks;
    Ok(())
}

/// Checks weight and thresholds, which have their own error in IPVS.
fn check_numbers(new: &Destination) -> Result<(), EditError> {
    check_weight(new.weight)?;
    check_thresholds(new.lower_threshold, new.upper_threshold)
}

fn check_thresholds(lower: u32, upper: u32) -> Result<(), EditError> {
    if lower <= upper { Ok(()) } else { Err(EditError::ThresholdsCrossed { lower, upper }) }
}

/// Checks the weight. IPVS does this before all other checks of a destination.
fn check_weight(weight: u32) -> Result<(), EditError> {
    if weight <= validate::MAX_WEIGHT { Ok(()) } else { Err(EditError::WeightOutOfRange(weight)) }
}

/// Checks that a limit of `start` is kept.
///
/// # Errors
/// If more are wanted than allowed.
pub fn check_limit(limit: &'static str, allowed: u32, wanted: usize) -> Result<(), EditError> {
    if wanted <= allowed as usize { Ok(()) } else { Err(EditError::Full { limit, allowed }) }
}

fn valid(check: impl FnOnce(&mut InputErrors)) -> Result<(), EditError> {
    let mut errors = InputErrors::default();
    check(&mut errors);
    errors.into_result().map_err(EditError::Invalid)
}

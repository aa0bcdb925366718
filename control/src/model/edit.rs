//! Single changes to a configuration, as pure functions: the socket and the `ipvsadm` rules both use them.
//!
//! Each either does the whole change or leaves the configuration as it was and says why. The reasons are those of
//! Linux IPVS, in the order IPVS checks them, so that a script sees the same error.

mod error;
mod modules;
mod params;
mod requests;
mod settings;
#[cfg(test)]
mod tests;
mod transaction;

pub use error::{EditError, Errno};
pub use modules::{ModuleSet, set_modules};
pub use params::{DestinationEdit, ServiceEdit};
pub use requests::{
    DestinationAdd, DestinationRemove, Edit, NoParams, ServiceAdd, ServiceQuery, ServiceRemove,
};
pub use settings::{SettingsEdit, set_settings};
pub use transaction::{ConfigTransaction, Edited, Step};

use crate::model::input_error::InputErrors;
use crate::model::validate;
use crate::model::{Config, Destination, FwmarkRule};

/// Carries out any edit.
///
/// # Errors
/// When it does not fit.
pub fn carry_out(config: &mut Config, edit: Edit) -> Result<(), EditError> {
    let mut transaction = ConfigTransaction::new(std::mem::take(config));
    let result = transaction.carry_out(edit);
    *config = transaction.done().config;
    result
}

/// Replaces all rules that mark packets.
///
/// # Errors
/// When one makes no sense; then all stay as they were.
pub fn set_fwmarks(config: &mut Config, fwmarks: Vec<FwmarkRule>) -> Result<(), EditError> {
    valid(|errors| validate::fwmarks::fwmarks(&fwmarks, errors))?;
    config.fwmarks = fwmarks;
    Ok(())
}

/// Weights and thresholds: IPVS has an error of their own for them.
fn numbers_fit(new: &Destination) -> Result<(), EditError> {
    weight_fits(new.weight)?;
    thresholds_fit(new.lower_threshold, new.upper_threshold)
}

fn thresholds_fit(lower: u32, upper: u32) -> Result<(), EditError> {
    if lower <= upper { Ok(()) } else { Err(EditError::ThresholdsCrossed { lower, upper }) }
}

/// IPVS has an error of its own for weights and gives it before all others about a destination.
fn weight_fits(weight: u32) -> Result<(), EditError> {
    if weight <= validate::MAX_WEIGHT { Ok(()) } else { Err(EditError::WeightOutOfRange(weight)) }
}

fn room(limit: &'static str, allowed: u32, wanted: usize) -> Result<(), EditError> {
    if wanted <= allowed as usize { Ok(()) } else { Err(EditError::Full { limit, allowed }) }
}

fn valid(check: impl FnOnce(&mut InputErrors)) -> Result<(), EditError> {
    let mut errors = InputErrors::default();
    check(&mut errors);
    errors.into_result().map_err(EditError::Invalid)
}

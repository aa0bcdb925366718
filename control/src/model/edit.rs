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
use crate::model::{Config, Destination, DestinationKey, FwmarkRule, Service, ServiceKey};

/// Adds a service, with or without destinations.
///
/// # Errors
/// When it is there already, when `start` leaves no room, or when it makes no sense.
pub fn add_service(config: &mut Config, service: Service) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.add_service(service))
}

/// Changes a service; its destinations and connections stay.
///
/// # Errors
/// When there is no such service, or when the result makes no sense.
pub fn edit_service(config: &mut Config, edit: &ServiceEdit) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.edit_service(edit))
}

/// Removes a service and its destinations.
///
/// # Errors
/// When there is no such service.
pub fn remove_service(config: &mut Config, key: ServiceKey) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.remove_service(key))
}

/// Removes every service; time-outs and switches stay, as with `ipvsadm -C`.
pub fn flush(config: &mut Config) {
    config.services.clear();
}

/// Adds a destination to a service.
///
/// # Errors
/// When there is no such service, when it has the destination already, when `start` leaves no room, or when it makes
/// no sense.
pub fn add_destination(config: &mut Config, key: ServiceKey, new: Destination) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.add_destination(key, new))
}

/// Changes a destination; it keeps its place in the list and its connections.
///
/// # Errors
/// When there is no such service or destination, or when the result makes no sense.
pub fn edit_destination(config: &mut Config, edit: &DestinationEdit) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.edit_destination(edit))
}

/// Removes a destination.
///
/// # Errors
/// When there is no such service or destination.
pub fn remove_destination(
    config: &mut Config,
    key: ServiceKey,
    destination: DestinationKey,
) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.remove_destination(key, destination))
}

/// Carries out any edit.
///
/// # Errors
/// When it does not fit.
pub fn carry_out(config: &mut Config, edit: Edit) -> Result<(), EditError> {
    at_desk(config, |transaction| transaction.carry_out(edit))
}

fn at_desk(
    config: &mut Config,
    change: impl FnOnce(&mut ConfigTransaction) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let mut transaction = ConfigTransaction::new(std::mem::take(config));
    let result = change(&mut transaction);
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

//! Single changes to a configuration, as pure functions: the socket and the `ipvsadm` rules both use them.
//!
//! Each either does the whole change or leaves the configuration as it was and says why. The reasons are those of
//! Linux IPVS, in the order IPVS checks them, so that a script sees the same error.

mod error;
mod modules;
mod params;
mod settings;
#[cfg(test)]
mod tests;

pub use error::{EditError, Errno};
pub use modules::{ModuleSet, set_modules};
pub use params::{DestinationEdit, ServiceEdit};
pub use settings::{SettingsEdit, set_settings};

use crate::fault::Faults;
use crate::model::{Config, Destination, DestinationKey, MarkRule, Service, ServiceKey};
use crate::validate;

/// Adds a service, with or without destinations.
///
/// # Errors
/// When it is there already, when `start` leaves no room, or when it makes no sense.
pub fn add_service(config: &mut Config, service: Service) -> Result<(), EditError> {
    let key = service.key();
    if position(config, key).is_some() {
        return Err(EditError::ServiceExists(key));
    }
    valid(|faults| whole_service(&service, config, faults))?;
    room("services", config.start.services, config.services.len() + 1)?;
    room("destinations", config.start.destinations, destinations(config) + service.destinations.len())?;
    config.services.push(service);
    Ok(())
}

/// Changes a service; its destinations and connections stay.
///
/// # Errors
/// When there is no such service, or when the result makes no sense.
pub fn edit_service(config: &mut Config, edit: &ServiceEdit) -> Result<(), EditError> {
    let at = position(config, edit.service).ok_or(EditError::NoSuchService(edit.service))?;
    let mut new = config.services[at].clone();
    new.scheduler = edit.scheduler.unwrap_or(new.scheduler);
    new.flags = edit.flags.unwrap_or(new.flags);
    new.one_packet = edit.one_packet.unwrap_or(new.one_packet);
    if let Some(persistence) = &edit.persistence {
        new.persistence.clone_from(persistence);
    }
    put_service(config, at, new)
}

/// Sets everything about a service anew but its destinations, which stay: what `ipvsadm -E` does. Those of `new` are
/// not looked at.
///
/// # Errors
/// When there is no such service, or when the result makes no sense.
pub fn replace_service(config: &mut Config, new: Service) -> Result<(), EditError> {
    let at = position(config, new.key()).ok_or_else(|| EditError::NoSuchService(new.key()))?;
    let destinations = config.services[at].destinations.clone();
    put_service(config, at, Service { destinations, ..new })
}

fn put_service(config: &mut Config, at: usize, new: Service) -> Result<(), EditError> {
    valid(|faults| whole_service(&new, config, faults))?;
    config.services[at] = new;
    Ok(())
}

fn whole_service(new: &Service, config: &Config, faults: &mut Faults) {
    validate::service("service", new, config.facts.as_ref(), faults);
    crate::modules::service("service", new, &config.settings.disabled_modules, faults);
}

/// Removes a service and its destinations.
///
/// # Errors
/// When there is no such service.
pub fn remove_service(config: &mut Config, key: ServiceKey) -> Result<(), EditError> {
    let at = position(config, key).ok_or(EditError::NoSuchService(key))?;
    config.services.remove(at);
    Ok(())
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
    let at = owner(config, key, new.key())?;
    numbers_fit(&new)?;
    let service = &config.services[at];
    if service.destinations.iter().any(|old| old.key() == new.key()) {
        return Err(EditError::DestinationExists { service: key, destination: new.key() });
    }
    valid(|faults| {
        validate::destination("destination", service, &new, config.facts.as_ref(), faults);
        validate::count_destinations("service", service, service.destinations.len() + 1, faults);
    })?;
    room("destinations", config.start.destinations, destinations(config) + 1)?;
    config.services[at].destinations.push(new);
    Ok(())
}

/// Changes a destination; it keeps its place in the list and its connections.
///
/// # Errors
/// When there is no such service or destination, or when the result makes no sense.
pub fn edit_destination(config: &mut Config, edit: &DestinationEdit) -> Result<(), EditError> {
    let at = owner(config, edit.service, edit.destination)?;
    if let Some(weight) = edit.weight {
        weight_fits(weight)?;
    }
    let slot = slot(&config.services[at], edit.destination)?;
    let new = edit.onto(&config.services[at].destinations[slot]);
    put_destination(config, at, slot, new)
}

/// Sets everything about a destination anew: what `ipvsadm -e` does.
///
/// # Errors
/// When there is no such service or destination, or when it makes no sense.
pub fn replace_destination(config: &mut Config, key: ServiceKey, new: Destination) -> Result<(), EditError> {
    let at = owner(config, key, new.key())?;
    numbers_fit(&new)?;
    let slot = slot(&config.services[at], new.key())?;
    put_destination(config, at, slot, new)
}

fn put_destination(config: &mut Config, at: usize, slot: usize, new: Destination) -> Result<(), EditError> {
    numbers_fit(&new)?;
    let service = &config.services[at];
    valid(|faults| validate::destination("destination", service, &new, config.facts.as_ref(), faults))?;
    config.services[at].destinations[slot] = new;
    Ok(())
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
    let at = owner(config, key, destination)?;
    let slot = slot(&config.services[at], destination)?;
    config.services[at].destinations.remove(slot);
    Ok(())
}

fn position(config: &Config, key: ServiceKey) -> Option<usize> {
    config.services.iter().position(|service| service.key() == key)
}

fn owner(config: &Config, service: ServiceKey, destination: DestinationKey) -> Result<usize, EditError> {
    position(config, service).ok_or(EditError::ServiceNotDefined { service, destination })
}

fn slot(service: &Service, key: DestinationKey) -> Result<usize, EditError> {
    let missing = || EditError::NoSuchDestination { service: service.key(), destination: key };
    service.destinations.iter().position(|old| old.key() == key).ok_or_else(missing)
}

fn destinations(config: &Config) -> usize {
    config.services.iter().map(|service| service.destinations.len()).sum()
}

/// Replaces all rules that mark packets.
///
/// # Errors
/// When one makes no sense; then all stay as they were.
pub fn set_marks(config: &mut Config, marks: Vec<MarkRule>) -> Result<(), EditError> {
    valid(|faults| validate::marks::marks(&marks, faults))?;
    config.marks = marks;
    Ok(())
}

/// Weights and thresholds: IPVS has an error of their own for them.
fn numbers_fit(new: &Destination) -> Result<(), EditError> {
    weight_fits(new.weight)?;
    let (lower, upper) = (new.lower_threshold, new.upper_threshold);
    if lower <= upper { Ok(()) } else { Err(EditError::ThresholdsCrossed { lower, upper }) }
}

/// IPVS has an error of its own for weights and gives it before all others about a destination.
fn weight_fits(weight: u32) -> Result<(), EditError> {
    if weight <= validate::MAX_WEIGHT { Ok(()) } else { Err(EditError::WeightOutOfRange(weight)) }
}

fn room(limit: &'static str, allowed: u32, wanted: usize) -> Result<(), EditError> {
    if wanted <= allowed as usize { Ok(()) } else { Err(EditError::Full { limit, allowed }) }
}

fn valid(check: impl FnOnce(&mut Faults)) -> Result<(), EditError> {
    let mut faults = Faults::default();
    check(&mut faults);
    faults.into_result().map_err(EditError::Invalid)
}

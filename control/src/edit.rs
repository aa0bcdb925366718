//! Single changes to a configuration, as pure functions: the socket and the `ipvsadm` rules both use them.
//!
//! Each either does the whole change or leaves the configuration as it was and says why. The reasons are those of
//! Linux IPVS, in the order IPVS checks them, so that a script sees the same error.

mod error;
mod settings;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::{EditError, Errno};
pub use settings::{SettingsEdit, set_settings};

use crate::fault::Faults;
use crate::model::{Config, Destination, DestinationKey, Method, Scheduler, Service, ServiceKey};
use crate::validate;

/// Parameters of `service.edit`: what is absent stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceEdit {
    /// Which service.
    pub service: ServiceKey,
    /// How destinations are chosen from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
}

/// Parameters of `destination.edit`: what is absent stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationEdit {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// Which destination.
    pub destination: DestinationKey,
    /// How packets of new connections reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Its share of new connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// Adds a service, with or without destinations.
///
/// # Errors
/// When it is there already, when `start` leaves no room, or when it makes no sense.
pub fn add_service(config: &mut Config, service: Service) -> Result<(), EditError> {
    let key = service.key();
    if position(config, key).is_some() {
        return Err(EditError::ServiceExists(key));
    }
    valid(|faults| validate::service("service", &service, config.facts.as_ref(), faults))?;
    room("services", config.start.services, config.services.len() + 1)?;
    room("destinations", config.start.destinations, destinations(config) + service.destinations.len())?;
    config.services.push(service);
    Ok(())
}

/// Changes a service; its destinations and connections stay.
///
/// # Errors
/// When there is no such service.
pub fn edit_service(config: &mut Config, edit: &ServiceEdit) -> Result<(), EditError> {
    let at = position(config, edit.service).ok_or(EditError::NoSuchService(edit.service))?;
    let service = &mut config.services[at];
    service.scheduler = edit.scheduler.unwrap_or(service.scheduler);
    Ok(())
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
    weight_fits(new.weight)?;
    let service = &config.services[at];
    if service.destinations.iter().any(|old| old.key() == new.key()) {
        return Err(EditError::DestinationExists { service: key, destination: new.key() });
    }
    valid(|faults| validate::destination("destination", service, &new, config.facts.as_ref(), faults))?;
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
    let service = &config.services[at];
    let slot = slot(service, edit.destination)?;
    let mut new = service.destinations[slot].clone();
    new.method = edit.method.unwrap_or(new.method);
    new.weight = edit.weight.unwrap_or(new.weight);
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

//! Validation of a configuration: checks ranges and how fields fit together, and reports all errors at once.
//!
//! The checks of a destination are those of Linux IPVS.

mod destinations;
pub mod fwmarks;
mod namespaces;
mod network;
mod ports;
mod services;
mod settings;
#[cfg(test)]
mod tests;

pub use destinations::{MAX_WEIGHT, destination};
pub use namespaces::MAX_NAMESPACES;
pub use ports::is_interface_name;
pub use services::{MAX_PERSISTENCE, MH_SLOTS, capacity_of_family, count_destinations, service};
pub use settings::{MAX_TIMEOUT, settings};

use std::ops::RangeInclusive;

use crate::model::input_error::InputErrors;
use crate::model::{Config, Start};

/// Largest connection table of a family: slots have 32-bit numbers, and a NAT connection takes two.
pub const MAX_CONNECTIONS: u32 = 1 << 30;
/// Largest number of persistence templates: a handle has 28 bits for their index.
pub const MAX_TEMPLATES: u32 = 1 << 28;
/// Largest number of services; every worker keeps a record for each, in memory taken at start.
pub const MAX_SERVICES: u32 = 1 << 20;
/// Largest number of destinations; every worker keeps counters for each.
pub const MAX_DESTINATIONS: u32 = 1 << 22;

/// Range of `start.max_sleep_us`, in microseconds.
pub const SLEEP_US: RangeInclusive<u32> = 10..=10_000;

/// Checks a whole configuration.
///
/// # Errors
/// All errors with their locations, in the order of the file.
pub fn validate(config: &Config) -> Result<(), InputErrors> {
    let mut errors = InputErrors::default();
    start(&config.start, &mut errors);
    ports::ports(&config.ports, &mut errors);
    content(config, &mut errors);
    namespaces::namespaces(config, &mut errors);
    errors.into_result()
}

/// Checks the content of one namespace, except its sizes.
fn content(config: &Config, errors: &mut InputErrors) {
    settings(&config.settings, errors);
    fwmarks::fwmarks(&config.fwmarks, errors);
    services::services(config, errors);
    if let Some(given) = &config.network {
        network::network_state(given, errors);
    }
}

fn start(start: &Start, errors: &mut InputErrors) {
    let sizes = [
        ("connections_ipv4", start.connections_ipv4, 0, MAX_CONNECTIONS),
        ("connections_ipv6", start.connections_ipv6, 0, MAX_CONNECTIONS),
        ("templates", start.templates, 1, MAX_TEMPLATES),
        ("services", start.services, 1, MAX_SERVICES),
        ("destinations", start.destinations, 1, MAX_DESTINATIONS),
    ];
    for (name, value, min, max) in sizes {
        if value > max {
            errors.add(
                format!("start.{name}"),
                format!("{value} is above {max}"),
                format!("use a number from {min} to {max}"),
            );
        }
        if value < min {
            errors.add(
                format!("start.{name}"),
                format!("0 leaves no room for {name}"),
                "use 1 or more, or leave it out for the default",
            );
        }
    }
    errors.range(
        "start.max_sleep_us",
        start.max_sleep_us,
        "microseconds",
        SLEEP_US,
        "use a number in this range, or leave it out for 500",
    );
}

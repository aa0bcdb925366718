//! What makes sense: checks a configuration and tells everything that is wrong with it at once.
//!
//! The types of [`crate::model`] already refuse what cannot be written down; here is what only shows when fields are
//! seen together, and the ranges. The checks of a destination are those of Linux IPVS.

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
pub use services::{MAX_PERSISTENCE, MH_SLOTS, count_destinations, service};
pub use settings::{MAX_TIMEOUT, settings};

use std::ops::RangeInclusive;

use crate::model::input_error::InputErrors;
use crate::model::{Config, Start};

/// The largest connection table of a family: slots are numbered in 32 bits and two belong to a NAT connection.
pub const MAX_CONNECTIONS: u32 = 1 << 30;
/// The most templates: their places are numbered in 28 bits of a handle.
pub const MAX_TEMPLATES: u32 = 1 << 28;

/// The longest nap, in microseconds: the 10 ms above are as long as a tick of Linux.
pub const SLEEP_US: RangeInclusive<u32> = 10..=10_000;

/// Checks a whole configuration.
///
/// # Errors
/// Every fault there is, with its place, in the order of the file.
pub fn validate(config: &Config) -> Result<(), InputErrors> {
    let mut errors = InputErrors::default();
    start(&config.start, &mut errors);
    ports::ports(&config.ports, &mut errors);
    content(config, &mut errors);
    namespaces::namespaces(config, &mut errors);
    errors.into_result()
}

/// Checks what is in one namespace, the default one among them, sizes aside.
fn content(config: &Config, errors: &mut InputErrors) {
    settings(&config.settings, errors);
    fwmarks::fwmarks(&config.fwmarks, errors);
    services::services(config, errors);
    if let Some(given) = &config.network {
        network::network_config(given, errors);
    }
}

fn start(start: &Start, errors: &mut InputErrors) {
    for (name, value) in
        [("connections_ipv4", start.connections_ipv4), ("connections_ipv6", start.connections_ipv6)]
    {
        if value > MAX_CONNECTIONS {
            errors.add(
                format!("start.{name}"),
                format!("{value} is above {MAX_CONNECTIONS}"),
                "use a smaller number",
            );
        }
    }
    if start.templates > MAX_TEMPLATES {
        errors.add(
            "start.templates",
            format!("{} is above {MAX_TEMPLATES}", start.templates),
            "use a smaller number",
        );
    }
    if !SLEEP_US.contains(&start.max_sleep_us) {
        errors.add(
            "start.max_sleep_us",
            format!(
                "{} microseconds is outside {} to {}",
                start.max_sleep_us,
                SLEEP_US.start(),
                SLEEP_US.end()
            ),
            "use a number between, or leave it out",
        );
    }
    let counts =
        [("services", start.services), ("destinations", start.destinations), ("templates", start.templates)];
    for (name, value) in counts {
        if value == 0 {
            errors.add(format!("start.{name}"), "0 leaves no room for any", "use 1 or more, or leave it out");
        }
    }
}

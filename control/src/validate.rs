//! What makes sense: checks a configuration and tells everything that is wrong with it at once.
//!
//! The types of [`crate::model`] already refuse what cannot be written down; here is what only shows when fields are
//! seen together, and the ranges. The checks of a destination are those of Linux IPVS.

mod facts;
mod ports;
mod services;
#[cfg(test)]
mod tests;

pub use services::{MAX_WEIGHT, destination, service};

use crate::fault::Faults;
use crate::model::{Config, Settings, Start};

/// The longest time-out, in seconds: timers count milliseconds in 31 bits.
pub const MAX_TIMEOUT: u32 = i32::MAX as u32 / 1000;

/// The largest connection table of a family: slots are numbered in 32 bits and two belong to a NAT connection.
pub const MAX_CONNECTIONS: u32 = 1 << 30;

/// Checks a whole configuration.
///
/// # Errors
/// Every fault there is, with its place, in the order of the file.
pub fn validate(config: &Config) -> Result<(), Faults> {
    let mut faults = Faults::default();
    start(&config.start, &mut faults);
    ports::ports(&config.ports, &mut faults);
    settings(&config.settings, &mut faults);
    services::services(config, &mut faults);
    if let Some(given) = &config.facts {
        facts::facts(given, &mut faults);
    }
    faults.into_result()
}

fn start(start: &Start, faults: &mut Faults) {
    for (name, value) in
        [("connections_ipv4", start.connections_ipv4), ("connections_ipv6", start.connections_ipv6)]
    {
        if value > MAX_CONNECTIONS {
            faults.add(
                format!("start.{name}"),
                format!("{value} is above {MAX_CONNECTIONS}"),
                "use a smaller number",
            );
        }
    }
    for (name, value) in [("services", start.services), ("destinations", start.destinations)] {
        if value == 0 {
            faults.add(format!("start.{name}"), "0 leaves no room for any", "use 1 or more, or leave it out");
        }
    }
}

/// Checks time-outs and switches.
pub fn settings(settings: &Settings, faults: &mut Faults) {
    for (name, value) in [
        ("tcp_timeout", settings.tcp_timeout),
        ("tcp_fin_timeout", settings.tcp_fin_timeout),
        ("udp_timeout", settings.udp_timeout),
    ] {
        if !(1..=MAX_TIMEOUT).contains(&value) {
            faults.add(
                format!("settings.{name}"),
                format!("{value} seconds is outside 1 to {MAX_TIMEOUT}"),
                "use a number between, or leave it out for the default",
            );
        }
    }
    if settings.conn_reuse_mode > 3 {
        faults.add(
            "settings.conn_reuse_mode",
            format!("{} has bits that mean nothing", settings.conn_reuse_mode),
            "use 0 (never), 1 (when the old connection is over), 2 (also in FIN_WAIT) or 3 (both)",
        );
    }
}

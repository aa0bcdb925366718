//! Timeouts and switches. As in Linux 6.1, most of them accept any number.

use crate::model::Settings;
use crate::model::input_error::InputErrors;
use crate::model::{modules, timeouts};

/// Longest timeout in seconds: 46 days, because timers count milliseconds in 32 bits.
pub const MAX_TIMEOUT: u32 = 4_000_000;

/// Checks timeouts and switches.
pub fn settings(settings: &Settings, errors: &mut InputErrors) {
    let usual = Settings::default();
    for (name, value, usual, min) in [
        ("tcp_timeout", settings.tcp_timeout, usual.tcp_timeout, 1),
        ("tcp_fin_timeout", settings.tcp_fin_timeout, usual.tcp_fin_timeout, 1),
        ("udp_timeout", settings.udp_timeout, usual.udp_timeout, 1),
        ("lblc_expiration", settings.lblc_expiration, usual.lblc_expiration, 0),
        ("lblcr_expiration", settings.lblcr_expiration, usual.lblcr_expiration, 0),
    ] {
        let hint = format!("use a number from {min} to {MAX_TIMEOUT} (default {usual})");
        errors.range(format!("settings.{name}"), value, "seconds", min..=MAX_TIMEOUT, hint);
    }
    for (name, &value) in &settings.timeouts {
        let location = format!("settings.timeouts.{name}");
        timeout_name(&location, name, errors);
        let hint = format!("use a number from 1 to {MAX_TIMEOUT}");
        errors.range(location, value, "seconds", 1..=MAX_TIMEOUT, hint);
    }
    for (name, value) in [
        ("drop_entry", settings.drop_entry),
        ("drop_packet", settings.drop_packet),
        ("secure_tcp", settings.secure_tcp),
    ] {
        if !(0..=3).contains(&value) {
            errors.add(
                format!("settings.{name}"),
                format!("{value} is not a mode"),
                "use 0 (off), 1 or 2 (automatic when memory is low) or 3 (always on)",
            );
        }
    }
    modules::names("settings.disabled_modules", &settings.disabled_modules, errors);
}

fn timeout_name(location: &str, name: &str, errors: &mut InputErrors) {
    match timeouts::key(name) {
        None => {
            let tcp: Vec<_> = timeouts::tcp_states().collect();
            errors.add(
                location,
                format!("{name:?} is not a protocol and state"),
                format!(
                    "use tcp. followed by one of {}, or sctp. followed by one of {}",
                    tcp.join(", "),
                    timeouts::SCTP_STATES.join(", ")
                ),
            );
        }
        Some(slot) => {
            if let Some(own) = timeouts::own_setting(slot) {
                errors.add(location, format!("{name} has its own setting"), format!("use settings.{own}"));
            }
        }
    }
}

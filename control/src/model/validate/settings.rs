//! Time-outs and switches. Linux 6.1 takes any number for most of them, and so do we: what it refuses is refused here.

use crate::model::Settings;
use crate::model::input_error::InputErrors;
use crate::model::{modules, timeouts};

/// The longest time-out, in seconds: 46 days, since timers count milliseconds in 32 bits.
pub const MAX_TIMEOUT: u32 = 4_000_000;

/// Checks time-outs and switches.
pub fn settings(settings: &Settings, errors: &mut InputErrors) {
    for (name, value) in [
        ("tcp_timeout", settings.tcp_timeout),
        ("tcp_fin_timeout", settings.tcp_fin_timeout),
        ("udp_timeout", settings.udp_timeout),
    ] {
        seconds(&format!("settings.{name}"), value, 1, errors);
    }
    for (name, value) in
        [("lblc_expiration", settings.lblc_expiration), ("lblcr_expiration", settings.lblcr_expiration)]
    {
        seconds(&format!("settings.{name}"), value, 0, errors);
    }
    for (name, &value) in &settings.timeouts {
        let place = format!("settings.timeouts.{name}");
        timeout_name(&place, name, errors);
        seconds(&place, value, 1, errors);
    }
    for (name, value) in [
        ("drop_entry", settings.drop_entry),
        ("drop_packet", settings.drop_packet),
        ("secure_tcp", settings.secure_tcp),
    ] {
        if !(0..=3).contains(&value) {
            errors.add(
                format!("settings.{name}"),
                format!("{value} is no mode"),
                "use 0 (off), 1 (on when memory runs low) or 3 (always on)",
            );
        }
    }
    modules::names("settings.disabled_modules", &settings.disabled_modules, errors);
}

fn seconds(place: &str, value: u32, least: u32, errors: &mut InputErrors) {
    if !(least..=MAX_TIMEOUT).contains(&value) {
        errors.add(
            place,
            format!("{value} seconds is outside {least} to {MAX_TIMEOUT}"),
            "use a number between, or leave it out for the default",
        );
    }
}

fn timeout_name(place: &str, name: &str, errors: &mut InputErrors) {
    match timeouts::slot(name) {
        None => {
            let tcp: Vec<_> = timeouts::tcp_states().collect();
            errors.add(
                place,
                format!("{name:?} is no state"),
                format!(
                    "use tcp. and one of {}, or sctp. and one of {}",
                    tcp.join(", "),
                    timeouts::SCTP_STATES.join(", ")
                ),
            );
        }
        Some(slot) => {
            if let Some(own) = timeouts::own_setting(slot) {
                errors.add(place, format!("{name} has a setting of its own"), format!("use settings.{own}"));
            }
        }
    }
}

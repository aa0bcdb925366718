//! The sysctl variables `net.ipv4.vs.*` of Linux IPVS, with values as text as the kernel reads and prints them; spec 7.1.
//! Most are fields of [`Settings`]. The others are read-only, each with the reason.

pub mod conf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::model::edit::{self, EditError, SettingsEdit};
use crate::model::input_error::InputErrors;
use crate::model::{Config, Settings};

/// Common prefix of the variables.
pub const PREFIX: &str = "net.ipv4.vs.";

/// Values by name, names without [`PREFIX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Values {
    /// Values as text.
    pub values: BTreeMap<String, String>,
}

/// Variables that are fields of [`Settings`] with the same name.
const SETTINGS: [&str; 21] = [
    "am_droprate",
    "amemthresh",
    "backup_only",
    "cache_bypass",
    "conn_reuse_mode",
    "debug_level",
    "drop_entry",
    "drop_packet",
    "expire_nodest_conn",
    "expire_quiescent_template",
    "ignore_tunneled",
    "lblc_expiration",
    "lblcr_expiration",
    "nat_icmp_send",
    "pmtu_disc",
    "run_estimation",
    "schedule_icmp",
    "secure_tcp",
    "sloppy_sctp",
    "sloppy_tcp",
    "snat_reroute",
];

const NO_SYNC: &str = "connections are not synchronised between machines";
const NO_THREADS: &str = "rates are estimated by the control thread";
const NO_RESIZE: &str = "the tables are sized at start";

/// The read-only variables: their value, and the reason.
const FIXED: [(&str, &str, &str); 13] = [
    ("conn_lfactor", "-4", NO_RESIZE),
    ("conntrack", "0", "Pollux does not use conntrack; `pollux connections` lists its connections"),
    ("est_cpulist", "", NO_THREADS),
    ("est_nice", "0", NO_THREADS),
    ("svc_lfactor", "-3", NO_RESIZE),
    ("sync_persist_mode", "0", NO_SYNC),
    ("sync_ports", "1", NO_SYNC),
    ("sync_qlen_max", "0", NO_SYNC),
    ("sync_refresh_period", "0", NO_SYNC),
    ("sync_retries", "0", NO_SYNC),
    ("sync_sock_size", "0", NO_SYNC),
    ("sync_threshold", "3\t50", NO_SYNC),
    ("sync_version", "1", NO_SYNC),
];

/// All names, without [`PREFIX`].
pub fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.into_iter().chain(FIXED.map(|(name, ..)| name))
}

/// Removes [`PREFIX`] from a name, written with dots or as a path.
pub fn bare(name: &str) -> &str {
    let bare = name.strip_prefix(PREFIX).or_else(|| name.strip_prefix("net/ipv4/vs/"));
    bare.unwrap_or(name)
}

/// Reads one value.
///
/// # Errors
/// If there is no such variable.
pub fn read(settings: &Settings, name: &str) -> Result<String, EditError> {
    let name = bare(name);
    if let Some((_, value, _)) = FIXED.iter().find(|(fixed, ..)| *fixed == name) {
        return Ok((*value).to_owned());
    }
    if !SETTINGS.contains(&name) {
        return Err(EditError::NoSuchSysctl(name.to_owned()));
    }
    // Those settings are all numbers.
    let all = serde_json::to_value(settings).unwrap_or_default();
    Ok(all.get(name).map(Value::to_string).unwrap_or_default())
}

/// Reads the named variables, or all if `wanted` is empty.
///
/// # Errors
/// If one does not exist.
pub fn read_all(settings: &Settings, wanted: &[String]) -> Result<Values, EditError> {
    let all: Vec<String> = names().map(str::to_owned).collect();
    let wanted = if wanted.is_empty() { &all } else { wanted };
    let pair = |name: &String| Ok((bare(name).to_owned(), read(settings, name)?));
    Ok(Values { values: wanted.iter().map(pair).collect::<Result<_, EditError>>()? })
}

/// Sets all the variables, or none.
///
/// # Errors
/// If one does not exist, is read-only, or cannot have the value.
pub fn write(config: &mut Config, values: &Values) -> Result<(), EditError> {
    let mut errors = InputErrors::default();
    let mut edit = serde_json::Map::new();
    for (name, value) in &values.values {
        let name = bare(name);
        let old = read(&config.settings, name)?;
        match FIXED.iter().find(|(fixed, ..)| *fixed == name) {
            // A script may set a read-only variable to the value it has.
            Some(_) if same_words(value, &old) => {}
            Some((_, _, why)) => errors.add(
                format!("{PREFIX}{name}"),
                format!("{value:?} cannot be set, the variable is read-only: {why}"),
                format!("leave it at {old:?}"),
            ),
            None => match number(value) {
                Some(number) => drop(edit.insert(name.to_owned(), json!(number))),
                None => errors.add(
                    format!("{PREFIX}{name}"),
                    format!("{value:?} is not a 32-bit integer"),
                    "use a whole number from -2147483648 to 2147483647",
                ),
            },
        }
    }
    errors.into_result().map_err(EditError::Invalid)?;
    let edit: SettingsEdit = serde_json::from_value(Value::Object(edit)).map_err(negative)?;
    edit::set_settings(config, &edit).map_err(with_sysctl_locations)
}

/// The only error left is a negative number for an unsigned setting such as `lblc_expiration`.
fn negative(error: serde_json::Error) -> EditError {
    let location = PREFIX.trim_end_matches('.');
    EditError::Invalid(InputErrors::one(location, error.to_string(), "use 0 or a positive number"))
}

/// Replaces the location `settings.NAME` with `net.ipv4.vs.NAME`.
fn with_sysctl_locations(error: EditError) -> EditError {
    let EditError::Invalid(mut errors) = error else { return error };
    for error in &mut errors.0 {
        if let Some(name) = error.location.strip_prefix("settings.") {
            error.location = format!("{PREFIX}{name}");
        }
    }
    EditError::Invalid(errors)
}

fn same_words(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

/// Parses a number as the kernel does: decimal, hexadecimal after `0x`, octal after `0`. Leading spaces and everything
/// after the first word are ignored.
fn number(text: &str) -> Option<i32> {
    let text = text.split_ascii_whitespace().next()?;
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (radix, digits) = match digits.strip_prefix('0') {
        Some(rest) if rest.starts_with(['x', 'X']) => (16, &rest[1..]),
        Some(rest) if !rest.is_empty() => (8, rest),
        _ => (10, digits),
    };
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    i32::try_from(sign * number).ok()
}

//! `pollux settings set KEY=VALUE`. The keys are the fields of [`SettingsEdit`], as in the configuration file.

use serde_json::{Map, Value};

use crate::model::edit::SettingsEdit;
use crate::model::validate::MAX_TIMEOUT;

/// A setting and its new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    key: String,
    value: Value,
}

/// Reads `KEY=VALUE`.
///
/// # Errors
/// If there is no such setting, or the value has the wrong type.
pub fn change(text: &str) -> Result<Change, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in tcp_timeout=600")?;
    // Numbers and booleans parse as JSON. Anything else becomes a string, whose type is refused below.
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    let change = Change { key: key.to_owned(), value };
    edit(std::slice::from_ref(&change)).map_err(|error| explain(&change, &error.to_string()))?;
    Ok(change)
}

/// Puts serde's message into the words of the command line.
fn explain(Change { key, value }: &Change, error: &str) -> String {
    let integer = |min: i64, max: i64| format!("{key}: {value} is not a whole number from {min} to {max}");
    if let Some((_, known)) = error.split_once("expected one of ") {
        format!(
            "there is no setting {key}; use one of {}, or timeouts.PROTOCOL.STATE",
            known.replace('`', "")
        )
    } else if key.starts_with("lblc") {
        integer(0, MAX_TIMEOUT.into())
    } else if error.contains("expected u32") {
        integer(1, MAX_TIMEOUT.into())
    } else if ["drop_entry", "drop_packet", "secure_tcp"].contains(&key.as_str()) {
        integer(0, 3)
    } else if error.contains("expected i32") {
        integer(i32::MIN.into(), i32::MAX.into())
    } else {
        format!("{key}: {error}")
    }
}

/// Merges the changes into one request, so that they take effect together. A later value of a key replaces an earlier one.
///
/// # Errors
/// See [`change`].
pub fn edit(changes: &[Change]) -> serde_json::Result<SettingsEdit> {
    let (mut fields, mut timeouts) = (Map::new(), Map::new());
    for Change { key, value } in changes {
        // Timeouts of protocol states are in the nested table `timeouts`.
        match key.strip_prefix("timeouts.") {
            Some(state) => timeouts.insert(state.to_owned(), value.clone()),
            None => fields.insert(key.clone(), value.clone()),
        };
    }
    if !timeouts.is_empty() {
        fields.insert("timeouts".to_owned(), Value::Object(timeouts));
    }
    serde_json::from_value(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_merged() {
        let changes =
            ["tcp_timeout=600", "sloppy_tcp=true", "tcp_timeout=60"].map(|text| change(text).unwrap());
        let wanted = SettingsEdit { tcp_timeout: Some(60), sloppy_tcp: Some(1), ..SettingsEdit::default() };
        assert_eq!(edit(&changes).unwrap(), wanted);
    }

    #[test]
    fn timeouts_of_states_are_nested() {
        let changes = ["timeouts.tcp.SYN_RECV=5", "timeouts.sctp.INIT=6"].map(|text| change(text).unwrap());
        let wanted = [("sctp.INIT".to_owned(), 6), ("tcp.SYN_RECV".to_owned(), 5)];
        assert_eq!(edit(&changes).unwrap().timeouts, Some(wanted.into()));
    }

    #[test]
    fn errors_say_what_is_right() {
        let rows = [
            ("tcp_timeout", "KEY=VALUE"),
            ("tcp_timeuot=5", "there is no setting tcp_timeuot; use one of tcp_timeout,"),
            ("tcp_timeout=soon", "tcp_timeout: \"soon\" is not a whole number from 1 to 4000000"),
            ("tcp_timeout=-1", "tcp_timeout: -1 is not a whole number from 1"),
            ("lblc_expiration=-1", "lblc_expiration: -1 is not a whole number from 0 to 4000000"),
            ("drop_entry=x", "drop_entry: \"x\" is not a whole number from 0 to 3"),
            ("sloppy_tcp=on", "a number, true or false"),
        ];
        for (text, expected) in rows {
            let error = change(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

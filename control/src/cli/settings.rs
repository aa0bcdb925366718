//! `pollux settings set KEY=VALUE`: the fields of [`SettingsEdit`], so that keys are those of the configuration file.

use serde_json::{Map, Value};

use crate::edit::SettingsEdit;

/// One setting and its new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    key: String,
    value: Value,
}

/// Reads `KEY=VALUE`.
///
/// # Errors
/// When there is no such setting, or the value is not of its kind.
pub fn change(text: &str) -> Result<Change, String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in tcp_timeout=600")?;
    // Numbers and switches are the same in JSON; what is neither is refused below, by its type.
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    let change = Change { key: key.to_owned(), value };
    edit(std::slice::from_ref(&change)).map_err(|error| error.to_string())?;
    Ok(change)
}

/// All changes in one request, so that they take effect together; of two for one key the later counts.
///
/// # Errors
/// Those of [`change`].
pub fn edit(changes: &[Change]) -> serde_json::Result<SettingsEdit> {
    let (mut fields, mut timeouts) = (Map::new(), Map::new());
    for Change { key, value } in changes {
        // Time-outs of states have a table of their own.
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
    fn changes_go_together() {
        let changes =
            ["tcp_timeout=600", "sloppy_tcp=true", "tcp_timeout=60"].map(|text| change(text).unwrap());
        let wanted = SettingsEdit { tcp_timeout: Some(60), sloppy_tcp: Some(1), ..SettingsEdit::default() };
        assert_eq!(edit(&changes).unwrap(), wanted);
    }

    #[test]
    fn states_have_time_outs_of_their_own() {
        let changes = ["timeouts.tcp.SYN_RECV=5", "timeouts.sctp.INIT=6"].map(|text| change(text).unwrap());
        let wanted = [("sctp.INIT".to_owned(), 6), ("tcp.SYN_RECV".to_owned(), 5)];
        assert_eq!(edit(&changes).unwrap().timeouts, Some(wanted.into()));
    }

    #[test]
    fn a_mistake_is_told_with_what_is_right() {
        let rows = [
            ("tcp_timeout", "KEY=VALUE"),
            ("tcp_timeuot=5", "expected one of `tcp_timeout`"),
            ("tcp_timeout=soon", "expected u32"),
            ("tcp_timeout=-1", "expected u32"),
            ("sloppy_tcp=on", "a number, true or false"),
        ];
        for (text, told) in rows {
            let error = change(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

//! The routes through an interface, as words for `ip route`.

use serde_json::Value;

use super::InterfaceError;
use super::change::Change;
use super::system::System;

/// Routes of these origins come and go with addresses and router advertisements.
const AUTOMATIC: [&str; 3] = ["kernel", "ra", "redirect"];
/// Fields of a route that `ip` takes as words of the same order.
const FIELDS: [(&str, &str); 6] = [
    ("gateway", "via"),
    ("table", "table"),
    ("protocol", "proto"),
    ("scope", "scope"),
    ("prefsrc", "src"),
    ("metric", "metric"),
];

/// Reads the routes of both families that an operator or a daemon has set.
///
/// # Errors
/// If `ip` fails.
pub fn all(link: &str, system: &impl System) -> Result<Vec<Change>, InterfaceError> {
    let mut routes = Vec::new();
    for family in ["-4", "-6"] {
        let words = ["-json", family, "route", "show", "table", "all", "dev", link];
        let text = system.run("ip", &words)?;
        let failed = |error: serde_json::Error| InterfaceError::Output {
            command: format!("ip {}", words.join(" ")),
            why: error.to_string(),
        };
        let listed: Vec<Value> =
            serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).map_err(failed)?;
        let mut words: Vec<Vec<String>> = listed.iter().filter_map(words_of).collect();
        // Gateways are reached by routes without one.
        words.sort_by_key(|words| words.iter().any(|word| word == "via"));
        routes.extend(words.into_iter().map(|words| Change::Route { family: family.to_owned(), words }));
    }
    Ok(routes)
}

fn words_of(route: &Value) -> Option<Vec<String>> {
    let text = |field: &str| match &route[field] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let unicast = text("type").is_none_or(|kind| kind == "unicast");
    let automatic = text("protocol").is_some_and(|origin| AUTOMATIC.contains(&origin.as_str()));
    if !unicast || automatic {
        return None;
    }
    let mut words = vec![text("dst")?];
    for (field, word) in FIELDS {
        if let Some(value) = text(field) {
            words.extend([word.to_owned(), value]);
        }
    }
    if let Some(via) = route["via"].as_object() {
        let part = |name| via.get(name).and_then(Value::as_str).map(str::to_owned);
        words.extend(["via".to_owned(), part("family")?, part("host")?]);
    }
    let flags = route["flags"].as_array().into_iter().flatten();
    if flags.filter_map(Value::as_str).any(|flag| flag == "onlink") {
        words.push("onlink".to_owned());
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(route: &str) -> Option<String> {
        words_of(&serde_json::from_str(route).unwrap()).map(|words| words.join(" "))
    }

    #[test]
    fn routes_become_words() {
        let default = r#"{"dst":"default","gateway":"192.0.2.1","dev":"eth1","protocol":"static","metric":100,"flags":[]}"#;
        assert_eq!(words(default).unwrap(), "default via 192.0.2.1 proto static metric 100");
        let onlink = r#"{"dst":"10.0.0.0/8","via":{"family":"inet6","host":"fe80::1"},"table":"7","scope":"link",
            "prefsrc":"192.0.2.5","flags":["onlink"]}"#;
        assert_eq!(
            words(onlink).unwrap(),
            "10.0.0.0/8 table 7 scope link src 192.0.2.5 via inet6 fe80::1 onlink"
        );
    }

    #[test]
    fn automatic_routes_are_left_out() {
        for route in [
            r#"{"dst":"192.0.2.0/24","protocol":"kernel","scope":"link"}"#,
            r#"{"dst":"default","gateway":"fe80::1","protocol":"ra"}"#,
            r#"{"type":"local","dst":"192.0.2.5","table":"local","protocol":"static"}"#,
            r#"{}"#,
        ] {
            assert_eq!(words(route), None, "{route}");
        }
    }
}

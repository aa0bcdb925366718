//! Puts the messages of serde into words for operators.

/// Returns the message for an error of serde at `location`; `value` is the text of the offending value, if known.
pub fn explain(location: &str, error: &str, value: Option<&str>) -> String {
    let given = value.map(|value| format!("{:?} is ", value.trim_matches(['"', '\''])));
    let given = given.unwrap_or_default();
    if error.starts_with("EOF while parsing") {
        return "the text ends too early; it is truncated".to_owned();
    }
    match error {
        "invalid IP address syntax" | "invalid IPv4 address syntax" | "invalid IPv6 address syntax" => {
            format!("{given}not an IP address")
        }
        "invalid socket address syntax" => {
            format!("{given}not an address with a port; write ADDRESS:PORT, such as 10.9.9.1:80")
        }
        _ => {
            unknown(location, error).or_else(|| mistyped(location, error)).unwrap_or_else(|| error.to_owned())
        }
    }
}

/// Explains an unknown word, parameter or field.
fn unknown(location: &str, error: &str) -> Option<String> {
    if let Some(name) =
        error.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix("`, there are no fields"))
    {
        return Some(format!("unknown field {name}; this takes no parameters"));
    }
    let (word, known) = error.strip_prefix("unknown variant `")?.split_once("`, expected ")?;
    let kind = field(location).replace('_', " ");
    let known: Vec<&str> = known.trim_start_matches("one of ").split('`').skip(1).step_by(2).collect();
    let known = match known.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => return None,
    };
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    Some(format!("{word:?} is not {article} {kind}; use {known}"))
}

/// Explains a value of the wrong type or size.
fn mistyped(location: &str, error: &str) -> Option<String> {
    let error = error.strip_prefix("invalid type: ").or_else(|| error.strip_prefix("invalid value: "))?;
    let (found, expected) = error.split_once(", expected ")?;
    let found = found.split_once(' ').map_or(found, |(_, value)| value).trim_matches('`');
    let is_port = field(location).ends_with("l4_port");
    let number = |max: u64| Some(format!("{found} is not a whole number; use 0 to {max}"));
    match expected {
        "u16" if is_port => Some(format!("{found} is not a port; use 0 to 65535")),
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX.into()),
        "a sequence" => Some("must be a list".to_owned()),
        "a boolean" => Some(format!("{found} is not a switch; use true or false")),
        "a string" => Some(format!("{found} is not a string; put it in quotes")),
        "a map" => Some("must be a table of fields".to_owned()),
        _ if expected.starts_with("struct ") => Some("must be a table of fields".to_owned()),
        _ => None,
    }
}

/// Returns the last name of a location: `protocol` of `services[0].protocol`.
fn field(location: &str) -> &str {
    let last = location.rsplit('.').next().unwrap_or(location);
    last.split('[').next().unwrap_or(last)
}

/// Returns a location without the steps that serde could not name.
pub fn known_location(path: &str) -> String {
    let known = path.trim_end_matches('?').trim_end_matches('.');
    if known.is_empty() { ".".to_owned() } else { known.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_value_and_the_cure() {
        let rows = [
            (
                "l4_port",
                "invalid value: integer `70000`, expected u16",
                "70000 is not a port; use 0 to 65535",
            ),
            (
                "weight",
                "invalid value: integer `-1`, expected u32",
                "-1 is not a whole number; use 0 to 4294967295",
            ),
            ("services", "invalid type: string \"x\", expected a sequence", "must be a list"),
            ("start", "invalid type: integer `1`, expected struct Start", "must be a table of fields"),
            (
                "services[0].protocol",
                "unknown variant `tcpp`, expected one of `tcp`, `udp`, `sctp`",
                "\"tcpp\" is not a protocol; use tcp, udp or sctp",
            ),
            ("engine", "unknown variant `x`, expected `sip`", "\"x\" is not an engine; use sip"),
            ("client", "invalid IP address syntax", "\"v\" is not an IP address"),
            (
                "virtual",
                "invalid socket address syntax",
                "\"v\" is not an address with a port; write ADDRESS:PORT, such as 10.9.9.1:80",
            ),
            ("x", "unknown field `x`, there are no fields", "unknown field x; this takes no parameters"),
            ("x", "EOF while parsing an object", "the text ends too early; it is truncated"),
            ("x", "anything else", "anything else"),
        ];
        for (location, error, expected) in rows {
            assert_eq!(explain(location, error, Some("'v'")), expected);
        }
        assert_eq!(explain("x", "invalid IP address syntax", None), "not an IP address");
    }

    #[test]
    fn locations_end_where_serde_knows_them() {
        for (path, expected) in [("services[0].?", "services[0]"), ("?", "."), (".", "."), ("a.b", "a.b")] {
            assert_eq!(known_location(path), expected);
        }
    }
}

//! Reading configuration files, TOML or JSON by extension. Syntax errors name line, column and field.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::Config;
use crate::model::explain::{explain, known_location};
use crate::model::input_error::InputErrors;

/// Maximum size of a file; ten thousand services with ten destinations each take about 10 MiB as JSON.
pub const MAX_BYTES: u64 = 64 << 20;

/// Reason why a configuration file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The file could not be read.
    #[error("cannot read {path}: {why}; check the path and its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        why: io::Error,
    },
    /// The extension is neither `.toml` nor `.json`.
    #[error("{0}: unknown format; use a file that ends in .toml or .json")]
    Extension(PathBuf),
    /// The text is invalid.
    #[error("{}{wrong}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The error and its position.
        wrong: SyntaxError,
    },
}

/// An error in a text, with its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(":{line}:{column}: {}{error}", if location == "." { String::new() } else { format!("{location}: ") })]
pub struct SyntaxError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The field: `services[2].weight`; `.` if the error is not about a single field.
    pub location: String,
    /// The parser's message.
    pub error: String,
}

impl SyntaxError {
    fn new((line, column): (usize, usize), path: &str, error: &str, value: Option<&str>) -> SyntaxError {
        let location = known_location(path);
        SyntaxError { line, column, error: explain(&location, error, value), location }
    }
}

/// Reads a configuration file, without validation: see [`crate::model::validate::validate`].
///
/// # Errors
/// If the file cannot be read, or is not a configuration.
pub fn file(path: &Path) -> Result<Config, ParseError> {
    file_and_digest(path).map(|(config, _)| config)
}

/// Reads a configuration file and returns it with a digest that identifies the file's content.
///
/// # Errors
/// Those of [`file`].
pub fn file_and_digest(path: &Path) -> Result<(Config, String), ParseError> {
    let (config, text) = file_as(path)?;
    Ok((config, digest(text.as_bytes())))
}

/// Reads a file as any type, and returns it with the file's text.
///
/// # Errors
/// Those of [`file`].
pub fn file_as<T: DeserializeOwned>(path: &Path) -> Result<(T, String), ParseError> {
    let parse: fn(&str) -> Result<T, SyntaxError> = match path.extension().and_then(|ext| ext.to_str()) {
        Some("toml") => toml,
        Some("json") => json,
        _ => return Err(ParseError::Extension(path.to_owned())),
    };
    let text = File::open(path)
        .and_then(|file| read_limited(file, MAX_BYTES))
        .map_err(|why| ParseError::Read { path: path.to_owned(), why })?;
    let read = parse(&text).map_err(|wrong| ParseError::Text { path: path.to_owned(), wrong })?;
    Ok((read, text))
}

/// Reads a text of at most `max` bytes.
///
/// # Errors
/// If it cannot be read, or is longer.
pub fn read_limited(from: impl Read, max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    if from.take(max + 1).read_to_end(&mut bytes)? as u64 > max {
        let why = format!("it is larger than {} MiB", max >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    String::from_utf8(bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.utf8_error()))
}

/// Returns the length and the FNV-1a hash. Both are independent of the version of polluxd. The hash detects changes,
/// but does not resist a deliberate collision.
fn digest(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:x}-{:016x}", bytes.len(), bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Reads TOML.
///
/// # Errors
/// Returns the first error in the text.
pub fn toml<T: DeserializeOwned>(text: &str) -> Result<T, SyntaxError> {
    let wrong = |location: String, error: toml::de::Error| {
        // The span of an error in an array of tables may be that of the first element.
        let element = location.rfind(']').and_then(|end| toml_offset(text, &location[..=end])).unwrap_or(0);
        let span = error.span().filter(|span| span.start >= element);
        let value = span.clone().and_then(|span| text.get(span));
        let start = span.map(|span| span.start).or_else(|| toml_offset(text, &location)).unwrap_or(0);
        SyntaxError::new(position(text, start), &location, error.message(), value)
    };
    let parse = || toml::Deserializer::parse(text).map_err(|error| wrong(".".to_owned(), error));
    // Tracking the path doubles the time, and only errors need it.
    if let Ok(value) = T::deserialize(parse()?) {
        return Ok(value);
    }
    let reader = parse()?;
    serde_path_to_error::deserialize(reader).map_err(|e| wrong(e.path().to_string(), e.into_inner()))
}

/// Reads JSON.
///
/// # Errors
/// Returns the first error in the text.
pub fn json<T: DeserializeOwned>(text: &str) -> Result<T, SyntaxError> {
    let wrong = |location: String, error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        let tail = format!(" at line {line} column {column}");
        SyntaxError::new((line, column), &location, error.to_string().trim_end_matches(&tail), None)
    };
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| wrong(error.path().to_string(), error.into_inner()))?;
    reader.end().map_err(|error| wrong(".".to_owned(), error))?;
    Ok(value)
}

/// Returns the lines of errors in a configuration file, as far as they are known: only for TOML.
pub fn lines(path: &Path, errors: &InputErrors) -> Vec<Option<usize>> {
    let toml = path.extension().is_some_and(|extension| extension == "toml");
    let text = File::open(path).ok().filter(|_| toml).and_then(|file| read_limited(file, MAX_BYTES).ok());
    let text = text.unwrap_or_default();
    let line = |offset| position(&text, offset).0;
    errors.0.iter().map(|error| toml_offset(&text, &error.location).map(line)).collect()
}

/// Returns the offset of the field at a location such as `services[2].weight`, or of the innermost part of it that is there.
fn toml_offset(text: &str, location: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
    let (mut here, mut rest) = (&root, location);
    while let Some((inner, remaining)) = step(here, rest) {
        (here, rest) = (inner, remaining);
    }
    (rest != location).then(|| here.span().start)
}

/// Follows the first part of a location. Returns the value there, and the rest of the location.
fn step<'v, 'i, 'l>(
    value: &'v Spanned<DeValue<'i>>,
    location: &'l str,
) -> Option<(&'v Spanned<DeValue<'i>>, &'l str)> {
    let location = location.strip_prefix('.').unwrap_or(location);
    match value.get_ref() {
        DeValue::Array(items) => {
            let (index, rest) = location.strip_prefix('[')?.split_once(']')?;
            Some((items.get(index.parse::<usize>().ok()?)?, rest))
        }
        DeValue::Table(table) => {
            let end = location.find(['.', '[']).unwrap_or(location.len());
            // Names of timeouts contain dots.
            let ends = [end, location.len()].into_iter();
            ends.filter_map(|end| Some((table.get(&location[..end])?, &location[end..]))).next()
        }
        _ => None,
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::net::IpAddr;

    use crate::model::{
        Checksum, Config, Destination, Engine, Family, FwmarkRule, Method, Persistence, Protocol, Scheduler,
        SchedulerFlags, Service, ServiceKey, Tunnel,
    };

    #[test]
    fn toml_errors_name_line_column_and_field() {
        let text = "[[services]]\nprotocol = 'tcp'\naddress = '10.9.9.1'\nl4_port = 70000\n";
        let wrong = toml::<Config>(text).unwrap_err();
        assert_eq!(
            (wrong.line, wrong.column, wrong.location.as_str()),
            (4, 11, "services[0].l4_port"),
            "{wrong}"
        );
        let wrong = toml::<Config>("[settings]\ntcp_timeuot = 5\n").unwrap_err();
        assert_eq!(wrong.line, 2, "{wrong}");
        assert!(wrong.error.contains("unknown field `tcp_timeuot`"), "{wrong}");
        assert_eq!(toml::<Config>("a = = 1").unwrap_err().line, 1);
    }

    #[test]
    fn toml_errors_in_an_array_of_tables_name_the_line_of_the_element() {
        let service = "[[services]]\nprotocol = 'tcp'\naddress = '10.9.9.1'\nl4_port = 80\n\n";
        for (third, line) in [("[[services]]\nl4_port = 80\n", 11), (&service.replace("'tcp'", "'icmp'"), 12)]
        {
            let wrong = toml::<Config>(&format!("{service}{service}{third}{service}")).unwrap_err();
            assert_eq!(wrong.line, line, "{wrong}");
        }
    }

    #[test]
    fn lines_of_input_errors_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        let text = "[settings]\ntimeouts = { 'tcp.NONE' = 1,\n 'tcp.SYN_RECV' = 0 }\n[[services]]\n[[services]]\n\nweight = 3\n";
        std::fs::write(&path, text).unwrap();
        let mut errors = InputErrors::default();
        for location in [
            "settings.timeouts.tcp.SYN_RECV",
            "services[1].weight",
            "services[1].scheduler",
            "fwmarks[0].port",
        ] {
            errors.add(location, "", "");
        }
        assert_eq!(lines(&path, &errors), [Some(3), Some(7), Some(5), None]);
    }

    #[test]
    fn errors_are_in_plain_words() {
        let rows = [
            (
                "services = [{ protocol = 'tcpp' }]",
                "services[0].protocol: \"tcpp\" is not a protocol; use tcp, udp or sctp",
            ),
            ("services = [{ address = '10.9.9' }]", "services[0].address: \"10.9.9\" is not an IP address"),
            ("services = [{ l4_port = 70000 }]", "services[0].l4_port: 70000 is not a port; use 0 to 65535"),
            ("services = 7", "services: must be a list"),
        ];
        for (text, expected) in rows {
            assert!(toml::<Config>(text).unwrap_err().to_string().ends_with(expected), "{text}");
        }
        let truncated = json::<Config>("{\n").unwrap_err().to_string();
        assert_eq!(truncated, ":2:0: the text ends too early; it is truncated");
        let comma = json::<Config>("{\"services\": [{\"protocol\": \"tcp\",}]}").unwrap_err();
        assert_eq!(comma.to_string(), ":1:34: services[0]: trailing comma");
    }

    #[test]
    fn json_errors_name_line_column_and_field() {
        let wrong = json::<Config>("{\"settings\":\n {\"tcp_timeout\": \"5\"}}").unwrap_err();
        assert_eq!((wrong.line, wrong.location.as_str()), (2, "settings.tcp_timeout"), "{wrong}");
        assert!(!wrong.error.contains(" at line "), "{wrong}");
        assert!(json::<Config>("{} {}").is_err());
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_and_not_cut() {
        let text = "ä".repeat(1 << 19);
        assert_eq!(read_limited(text.as_bytes(), 1 << 20).unwrap(), text);
        let refused = read_limited(format!("{text}ä").as_bytes(), 1 << 20).unwrap_err();
        assert_eq!(refused.to_string(), "it is larger than 1 MiB");
    }

    #[test]
    fn the_extension_selects_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            file(&path)
        };
        assert_eq!(write("a.toml", "[settings]\ntcp_timeout = 5").unwrap().settings.tcp_timeout, 5);
        assert_eq!(write("a.json", "{\"settings\":{\"tcp_timeout\":5}}").unwrap().settings.tcp_timeout, 5);
        assert!(matches!(write("a.yaml", ""), Err(ParseError::Extension(_))));
        assert!(write("b.toml", "x = 1").unwrap_err().to_string().contains("b.toml:1:1: "));
        assert!(matches!(file(&dir.path().join("none.toml")), Err(ParseError::Read { .. })));
    }

    fn key() -> impl Strategy<Value = ServiceKey> {
        let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
        let address = (protocol, any::<IpAddr>(), any::<u16>())
            .prop_map(|(protocol, address, l4_port)| ServiceKey::Address { protocol, address, l4_port });
        let family = prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)];
        let fwmark =
            (any::<u32>(), family).prop_map(|(fwmark, family)| ServiceKey::Fwmark { fwmark, family });
        prop_oneof![address, fwmark]
    }

    fn destination() -> impl Strategy<Value = Destination> {
        let method = prop_oneof![Just(Method::Nat), Just(Method::Dr), Just(Method::Tunnel)];
        let checksum = prop_oneof![Just(Checksum::No), Just(Checksum::Full), Just(Checksum::Remote)];
        let tunnel = (0..3, any::<u16>(), checksum).prop_map(|(kind, l4_port, checksum)| match kind {
            0 => Tunnel::Ipip,
            1 => Tunnel::Gue { l4_port, checksum },
            _ => Tunnel::Gre { checksum },
        });
        let numbers = (any::<u32>(), any::<u32>(), 0..2u32);
        (any::<IpAddr>(), any::<u16>(), method, tunnel, numbers).prop_map(
            |(address, l4_port, method, tunnel, (weight, upper_threshold, lower_threshold))| Destination {
                tunnel,
                weight,
                upper_threshold,
                lower_threshold,
                ..Destination::new(address, l4_port, method)
            },
        )
    }

    fn service() -> impl Strategy<Value = Service> {
        let netmask = prop::option::of(any::<std::net::Ipv4Addr>());
        let engine = prop::option::of(Just(Engine::Sip));
        let persistence = (any::<u32>(), netmask, prop::option::of(any::<u8>()), engine).prop_map(
            |(timeout, netmask, prefix_len, engine)| Persistence { timeout, netmask, prefix_len, engine },
        );
        let flags = (any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(fallback, hash_l4_port, flag_3)| SchedulerFlags { fallback, hash_l4_port, flag_3 });
        let scheduler = prop_oneof![Just(Scheduler::Rr), Just(Scheduler::Mh), Just(Scheduler::None)];
        let destinations = prop::collection::vec(destination(), 0..4);
        (key(), scheduler, flags, prop::option::of(persistence), any::<bool>(), destinations).prop_map(
            |(key, scheduler, flags, persistence, ops, destinations)| Service {
                key,
                scheduler,
                flags,
                persistence,
                ops,
                destinations,
            },
        )
    }

    fn fwmark() -> impl Strategy<Value = FwmarkRule> {
        let ports = || prop::collection::vec("[0-9]{1,5}(-[0-9]{1,5})?", 0..3);
        let source = prop::option::of(any::<IpAddr>().prop_map(ipnet::IpNet::from));
        (prop::option::of(any::<u16>()), source, ports(), ports(), any::<u32>(), any::<u32>()).prop_map(
            |(vlan, source, source_l4_ports, l4_ports, fwmark, mask)| FwmarkRule {
                vlan,
                source,
                source_l4_ports,
                l4_ports,
                fwmark,
                mask,
                ..FwmarkRule::default()
            },
        )
    }

    proptest! {
        #[test]
        fn a_configuration_survives_toml_and_json(
            services in prop::collection::vec(service(), 0..4),
            fwmarks in prop::collection::vec(fwmark(), 0..3),
            (time, rate) in (any::<u32>(), any::<i32>()),
        ) {
            let mut config = Config { services: services.into(), fwmarks, ..Config::default() };
            config.settings.tcp_timeout = time;
            config.settings.am_droprate = rate;
            config.settings.timeouts.insert("tcp.SYN_RECV".to_owned(), time);
            let text = ::toml::to_string(&config).unwrap();
            prop_assert_eq!(&toml::<Config>(&text).unwrap(), &config);
            prop_assert_eq!(&json::<Config>(&serde_json::to_string(&config).unwrap()).unwrap(), &config);
        }
    }
}

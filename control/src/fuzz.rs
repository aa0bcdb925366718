//! Bodies of the fuzz targets for all text input: functions over bytes that panic if a property does not hold.
//!
//! `cargo test` runs them over the seeds in `fuzz/seeds` and mutated copies of them; the targets in `fuzz/` run them under
//! libFuzzer.

use serde_json::json;

use crate::api::socket::rpc;
use crate::debug::{DebugLog, query};
use crate::model::Config;
use crate::model::{parse, sysctl, validate};
use crate::replay::{self, case::Case};
use crate::{ipvsadm, state};

/// Longer than any recording. A replay advances time in small steps, so a case of years would take too long.
const MAX_MS: f64 = 600_000.0;

/// A line of the control socket: a valid request survives serialization, and an invalid one gets a reply of one line of
/// JSON.
pub fn rpc(bytes: &[u8]) {
    match rpc::parse(bytes) {
        Ok(call) => {
            let again = rpc::parse(&rpc::call(7, call.namespace.as_deref(), &call.request));
            let expected = rpc::Call { id: Some(json!(7)), namespace: call.namespace, request: call.request };
            assert_eq!(again, Ok(expected), "a request survives serialization");
        }
        Err(refused) => {
            let reply = rpc::error(&refused.id, &refused.error);
            assert_eq!(reply.iter().filter(|&&byte| byte == b'\n').count(), 1, "a reply is one line");
            assert!(serde_json::from_slice::<serde_json::Value>(&reply).is_ok(), "a reply is JSON");
        }
    }
}

/// A configuration file: a valid one survives serialization as TOML and as JSON.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = parse::toml::<Config>(text) else { return };
    let written = [
        toml::to_string(&config).map(|text| parse::toml::<Config>(&text).ok()).ok(),
        serde_json::to_string(&config).map(|text| parse::json::<Config>(&text).ok()).ok(),
    ];
    for again in written {
        assert_eq!(again.flatten().as_ref(), Some(&config), "a configuration survives serialization");
    }
    // Errors are allowed, without text they are not.
    if let Err(errors) = validate::validate(&config) {
        assert!(!errors.to_string().is_empty(), "an error has a text");
    }
}

/// Lines for `ipvsadm -R`, executed in order: each succeeds or is refused with a text and changes nothing, and the result
/// is a valid configuration.
pub fn rules(bytes: &[u8]) {
    let mut config = Config::default();
    for line in String::from_utf8_lossy(bytes).lines().take(1000) {
        match ipvsadm::parse(line) {
            Ok(command) => {
                let before = config.clone();
                if let Err(error) = ipvsadm::apply(&command, &mut config) {
                    assert_eq!(config, before, "`{line}` is refused and changes nothing: {error}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty(), "`{line}` is refused with a text"),
        }
    }
    let result = validate::validate(&config);
    assert!(result.is_ok(), "rules lead to a valid configuration: {result:?}");
}

/// Queries of dynamic debug: each is applied or refused with a text.
pub fn debug(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut debug = DebugLog::default();
    match query::parse(&text) {
        Ok(queries) => {
            let sites = debug.list(&query::Filter::default()).len();
            assert!(debug.set(&queries) <= sites * queries.len(), "a query matches each site at most once");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "an error has a text"),
    }
    if let Ok(filter) = query::parse_filter(&text) {
        debug.list(&filter);
    }
}

/// A state file: a valid one survives serialization, and an invalid one is refused with a text.
pub fn state(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match state::file::parse(text) {
        Ok(saved) => {
            let again = serde_json::to_string(&saved).map(|text| state::file::parse(&text));
            assert_eq!(again.ok(), Some(Ok(saved)), "a state survives serialization");
        }
        Err(wrong) => assert!(!wrong.error.is_empty(), "an error has a text"),
    }
}

/// Text in the syntax of sysctl.conf: every resulting line is about a known variable, and a refused value changes nothing.
pub fn conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(read) = sysctl::conf::parse("fuzz", &text, false) else { return };
    let mut config = Config::default();
    for line in read.lines.into_iter().take(1000) {
        assert!(sysctl::names().any(|name| name == line.name), "{line:?} is about a known variable");
        let before = config.clone();
        let values = sysctl::Values { values: [(line.name.clone(), line.value.clone())].into() };
        if sysctl::write(&mut config, &values).is_err() {
            assert_eq!(config, before, "{line:?} is refused and changes nothing");
        }
    }
    assert!(validate::validate(&config).is_ok(), "variables lead to a valid configuration");
}

/// A recorded packet trace: the replay ends with a report.
pub fn case(bytes: &[u8]) {
    let Ok(mut case) = serde_json::from_slice::<Case>(bytes) else { return };
    case.inputs.iter_mut().for_each(|input| input.at_ms = input.at_ms.min(MAX_MS));
    case.cmds.iter_mut().for_each(|cmd| cmd.at_ms = cmd.at_ms.min(MAX_MS));
    let report = replay::one("fuzz".to_owned(), &case);
    assert!(!report.to_string().is_empty(), "a report has a text");
}

#[cfg(test)]
mod tests;

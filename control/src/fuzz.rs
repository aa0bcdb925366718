//! Bodies of the fuzz targets for everything that is read as text: plain functions over bytes that stop when a law is
//! broken.
//!
//! `cargo test` runs them over the seeds in `fuzz/seeds` and over bent copies of them; the targets in `fuzz/` let
//! libFuzzer do the bending.

use serde_json::json;

use crate::debug::{Debug, query};
use crate::model::Config;
use crate::replay::{self, case::Case};
use crate::socket::rpc;
use crate::{ipvsadm, parse, state, sysctl, validate};

/// Later than any recording ends. A replay takes time in small steps, so a case that lasts for years would not end.
const LAST_MS: f64 = 600_000.0;

/// A line of the control socket: a request that is understood means the same when it is written anew, and what is
/// not understood is answered with one line of JSON.
pub fn rpc(bytes: &[u8]) {
    match rpc::read(bytes) {
        Ok(call) => {
            let again = rpc::read(&rpc::call(7, call.namespace.as_deref(), &call.request));
            let expected = rpc::Call { id: Some(json!(7)), namespace: call.namespace, request: call.request };
            assert_eq!(again, Ok(expected), "a request survives writing");
        }
        Err(refused) => {
            let answer = rpc::error(&refused.id, &refused.error);
            assert_eq!(answer.iter().filter(|&&byte| byte == b'\n').count(), 1, "an answer is one line");
            assert!(serde_json::from_slice::<serde_json::Value>(&answer).is_ok(), "an answer is JSON");
        }
    }
}

/// A configuration file: one that is read survives being written as TOML and as JSON, and is judged the same after.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = parse::toml::<Config>(text) else { return };
    let written = [
        toml::to_string(&config).map(|text| parse::toml::<Config>(&text).ok()).ok(),
        serde_json::to_string(&config).map(|text| parse::json::<Config>(&text).ok()).ok(),
    ];
    for again in written {
        assert_eq!(again.flatten().as_ref(), Some(&config), "a configuration survives writing");
    }
    // Every fault names its place; whether there are any is not for us to say.
    if let Err(errors) = validate::validate(&config) {
        assert!(!errors.to_string().is_empty(), "a refusal says why");
    }
}

/// Lines for `ipvsadm -R`, carried out one after the other: a line is done or refused in words, and what they lead to
/// is a configuration that could have come from a file.
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
            Err(error) => assert!(!error.to_string().is_empty(), "`{line}` is refused in words"),
        }
    }
    let judged = validate::validate(&config);
    assert!(judged.is_ok(), "rules lead to a valid configuration: {judged:?}");
}

/// Queries of dynamic debug: each is carried out or refused in words, and what is refused changes nothing.
pub fn debug(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut debug = Debug::default();
    match query::parse(&text) {
        Ok(queries) => {
            let sites = debug.list(&query::Filter::default()).len();
            assert!(debug.set(&queries) <= sites * queries.len(), "no site is meant twice by one query");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
    if let Ok(filter) = query::parse_filter(&text) {
        debug.list(&filter);
    }
}

/// A state file: one that is read survives being written, and one that is not is refused with its place.
pub fn state(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match state::file::parse(text) {
        Ok(saved) => {
            let again = serde_json::to_string(&saved).map(|text| state::file::parse(&text));
            assert_eq!(again.ok(), Some(Ok(saved)), "a state survives writing");
        }
        Err(wrong) => assert!(!wrong.error.is_empty(), "a refusal says why"),
    }
}

/// Text in the syntax of sysctl.conf: every line that sets something sets a variable that is there, and what cannot be
/// set changes nothing.
pub fn conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(read) = sysctl::conf::read("fuzz", &text, false) else { return };
    let mut config = Config::default();
    for line in read.lines.into_iter().take(1000) {
        assert!(sysctl::names().any(|name| name == line.name), "{line:?} is about a variable of ours");
        let before = config.clone();
        let values = sysctl::Values { values: [(line.name.clone(), line.value.clone())].into() };
        if sysctl::write(&mut config, &values).is_err() {
            assert_eq!(config, before, "{line:?} is refused and changes nothing");
        }
    }
    assert!(validate::validate(&config).is_ok(), "variables lead to a valid configuration");
}

/// A recorded conversation: it can be replayed to a verdict, whatever it says.
pub fn case(bytes: &[u8]) {
    let Ok(mut case) = serde_json::from_slice::<Case>(bytes) else { return };
    case.inputs.iter_mut().for_each(|input| input.at_ms = input.at_ms.min(LAST_MS));
    case.cmds.iter_mut().for_each(|cmd| cmd.at_ms = cmd.at_ms.min(LAST_MS));
    let report = replay::one("fuzz".to_owned(), &case);
    assert!(!report.to_string().is_empty(), "a verdict can be told");
}

#[cfg(test)]
mod tests;

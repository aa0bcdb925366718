//! Options that a command needs, takes or refuses, and options that exclude each other.

use super::command::ParseError;
use super::options::Options;
use crate::model::{Method, TunnelKind};

/// Options in the order in which `ipvsadm` checks them: the first error is reported.
const ORDER: &[&str] = &[
    "numeric",
    "connection",
    "service-address",
    "scheduler",
    "persistent",
    "netmask",
    "real-server",
    "forwarding-method",
    "weight",
    "u-threshold",
    "l-threshold",
    "mcast-interface",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "syncid",
    "exact",
    "ops",
    "pe",
    "sched-flags",
    "mcast-group",
    "mcast-port",
    "mcast-ttl",
    "sync-maxlen",
    "tun-info",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
];

const SERVICE: &[&str] = &["service-address"];
const DESTINATION: &[&str] = &["service-address", "real-server"];
const ABOUT_SERVICE: &[&str] = &["scheduler", "persistent", "netmask", "ops", "pe", "sched-flags"];
const ABOUT_DESTINATION: &[&str] = &[
    "forwarding-method",
    "weight",
    "u-threshold",
    "l-threshold",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
];
const ABOUT_LIST: &[&str] = &[
    "numeric",
    "connection",
    "service-address",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "syncid",
    "exact",
    "tun-info",
];
const ABOUT_DAEMON: &[&str] =
    &["mcast-interface", "syncid", "sync-maxlen", "mcast-group", "mcast-port", "mcast-ttl"];

/// The options a command needs, and those it takes.
fn takes(command: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match command {
        "add-service" | "edit-service" => (SERVICE, ABOUT_SERVICE),
        "delete-service" => (SERVICE, &[]),
        "add-server" | "edit-server" => (DESTINATION, ABOUT_DESTINATION),
        "delete-server" => (DESTINATION, &[]),
        "list" => (&[], ABOUT_LIST),
        "zero" => (&[], SERVICE),
        "save" => (&[], &["numeric"]),
        "start-daemon" => (&[], ABOUT_DAEMON),
        "stop-daemon" => (&[], &["syncid"]),
        _ => (&[], &[]),
    }
}

/// Checks the given options against those of the command. `name` is its name in messages.
pub(super) fn check(command: &str, name: &str, options: &Options) -> Result<(), ParseError> {
    let (needs, takes) = takes(command);
    for option in ORDER {
        let (given, needed) = (options.has(option), needs.contains(option));
        if needed && !given {
            return Err(missing(option, &format!("'{name}' command")));
        }
        if given && !needed && !takes.contains(option) {
            return Err(illegal(option, &format!("'{name}' command")));
        }
    }
    Ok(())
}

/// Pairs of options that exclude each other in a list, by their names in messages.
const EXCLUSIVE: &[(&str, &str)] = &[
    ("service-address", "connection"),
    ("timeout", "connection"),
    ("timeout", "service-address"),
    ("daemon", "connection"),
    ("daemon", "service-address"),
    ("daemon", "timeout"),
];

/// Checks the options of a list.
pub(super) fn check_list(options: &Options) -> Result<(), ParseError> {
    let has = |name| options.has(name);
    if let Some((one, other)) = EXCLUSIVE.iter().find(|(one, other)| has(one) && has(other)) {
        return Err(conflict(one, other, "'list' command"));
    }
    let figures = has("stats") || has("rate") || has("thresholds");
    let all_alone = has("timeout") || has("daemon");
    if all_alone && (figures || has("persistent-conn")) || has("connection") && figures {
        return Err(ParseError::usage("options conflicts in the list command"));
    }
    Ok(())
}

/// Checks the tunnel options against the tunnel type and the forwarding method.
pub(super) fn check_tunnel(options: &Options) -> Result<(), ParseError> {
    let has = |name| options.has(name);
    let any = ["tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"].into_iter().any(has);
    if options.method != Some(Method::Tunnel) {
        let error = ParseError::usage("Tunnel options conflict with forward method");
        return if any { Err(error) } else { Ok(()) };
    }
    let context = format!("'{}' tunnel type", options.tunnel.name());
    let refused: &[&str] = match options.tunnel {
        TunnelKind::Gue if !has("tun-port") => return Err(missing("tun-port", &context)),
        TunnelKind::Gue => &[],
        TunnelKind::Gre => &["tun-port", "tun-remcsum"],
        TunnelKind::Ipip => &["tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"],
    };
    if let Some(option) = refused.iter().find(|option| has(option)) {
        return Err(illegal(option, &context));
    }
    let sums = [("tun-csum", "tun-nocsum"), ("tun-remcsum", "tun-nocsum"), ("tun-remcsum", "tun-csum")];
    match sums.into_iter().find(|(one, other)| has(one) && has(other)) {
        Some((one, other)) => Err(conflict(one, other, &context)),
        None => Ok(()),
    }
}

fn missing(option: &str, context: &str) -> ParseError {
    ParseError::usage(format!("You need to supply the '{option}' option for the {context}"))
}

fn illegal(option: &str, context: &str) -> ParseError {
    ParseError::usage(format!("Illegal '{option}' option with the {context}"))
}

fn conflict(one: &str, other: &str, context: &str) -> ParseError {
    ParseError::usage(format!("The option '{one}' conflicts with the '{other}' option in the {context}"))
}

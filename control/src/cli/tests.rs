//! Command lines, and the requests they lead to.

use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::cli::error::CliError;
use crate::model::sysctl::Values;

fn request(line: &str) -> Result<Value, CliError> {
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
    let request = match &cli.command {
        Command::Service(command) => service::request(command)?,
        Command::Destination(command) => destination::request(command)?,
        other => panic!("{other:?}"),
    };
    Ok(json!(request)["params"].take())
}

#[track_caller]
fn row(line: &str, expected: Value) {
    assert_eq!(request(line).unwrap(), expected, "{line}");
}

fn web() -> Value {
    json!({ "protocol": "tcp", "address": "10.9.9.1", "l4_port": 80 })
}

#[test]
fn service_options_reach_the_request() {
    row(
        "pollux service add tcp 10.9.9.1:80",
        json!({ "service": { "protocol": "tcp", "address": "10.9.9.1", "l4_port": 80, "scheduler": "wlc", "destinations": [] } }),
    );
    row(
        "pollux service add fwmark 7 --ipv6 --scheduler sh --fallback --hash-l4-port --persistence --prefix-len 64 --ops",
        json!({ "service": {
            "fwmark": 7, "family": "ipv6", "scheduler": "sh", "ops": true, "destinations": [],
            "flags": { "fallback": true, "hash_l4_port": true, "flag_3": false },
            "persistence": { "timeout": 360, "prefix_len": 64 },
        } }),
    );
    row(
        "pollux service add udp 10.9.9.1:0 --persistence 60 --netmask 255.255.255.0 --engine sip",
        json!({ "service": {
            "protocol": "udp", "address": "10.9.9.1", "l4_port": 0, "scheduler": "wlc", "destinations": [],
            "persistence": { "timeout": 60, "netmask": "255.255.255.0", "engine": "sip" },
        } }),
    );
}

#[test]
fn an_edit_has_only_the_changed_fields() {
    row("pollux service edit tcp 10.9.9.1:80", json!({ "service": web() }));
    row(
        "pollux service edit tcp 10.9.9.1:80 --no-persistence --ops=false --fallback=false",
        json!({
            "service": web(), "persistence": null, "ops": false,
            "flags": { "fallback": false },
        }),
    );
    row(
        "pollux service edit tcp 10.9.9.1:0 --netmask 255.255.255.0 --no-engine",
        json!({
            "service": { "protocol": "tcp", "address": "10.9.9.1", "l4_port": 0 },
            "persistence": { "netmask": "255.255.255.0", "engine": null },
        }),
    );
    row(
        "pollux service edit tcp 10.9.9.1:80 --persistence 700 --hash-l4-port",
        json!({ "service": web(), "persistence": { "timeout": 700 }, "flags": { "hash_l4_port": true } }),
    );
    row(
        "pollux destination edit tcp 10.9.9.1:80 10.0.2.11:80 --weight 0",
        json!({ "service": web(), "destination": { "address": "10.0.2.11", "l4_port": 80 }, "weight": 0 }),
    );
}

#[test]
fn destination_options_reach_the_request() {
    row(
        "pollux destination add tcp 10.9.9.1:80 10.0.2.11:80 --method tunnel --tunnel gue --tunnel-port 6080 --tunnel-checksum remote --upper-threshold 9 --lower-threshold 7",
        json!({ "service": web(), "destination": {
            "address": "10.0.2.11", "l4_port": 80, "method": "tunnel", "weight": 1,
            "tunnel": { "type": "gue", "l4_port": 6080, "checksum": "remote" },
            "upper_threshold": 9, "lower_threshold": 7,
        } }),
    );
    row(
        "pollux destination edit tcp 10.9.9.1:80 10.0.2.11:80 --tunnel gre --upper-threshold 0",
        json!({
            "service": web(), "destination": { "address": "10.0.2.11", "l4_port": 80 },
            "tunnel": { "type": "gre", "checksum": "no" }, "upper_threshold": 0,
        }),
    );
    row(
        "pollux destination remove fwmark 7 10.0.2.11:0",
        json!({ "service": { "fwmark": 7 }, "destination": { "address": "10.0.2.11", "l4_port": 0 } }),
    );
}

#[test]
fn contradictory_arguments_are_usage_errors() {
    let rows = [
        (
            "service add fwmark 10.9.9.1:80",
            "10.9.9.1:80 is not a firewall mark; write `fwmark 7`, or `tcp 10.9.9.1:80`",
        ),
        ("service add tcp 7", "7 is not an address and port; write `tcp 10.9.9.1:7`, or `fwmark 7`"),
        ("service add tcp 10.9.9.1:80 --ipv6", "--ipv6 applies only to fwmark services"),
        (
            "service add tcp 10.9.9.1:80 --netmask 255.0.0.0",
            "--netmask, --prefix-len and --engine need persistence",
        ),
        (
            "destination add fwmark 7 10.0.2.1:0 --method tunnel --tunnel gue",
            "a gue tunnel needs --tunnel-port",
        ),
        (
            "destination add fwmark 7 10.0.2.1:0 --method tunnel --tunnel gre --tunnel-port 1",
            "--tunnel-port applies only",
        ),
        (
            "destination add fwmark 7 10.0.2.1:0 --method tunnel --tunnel ipip --tunnel-checksum full",
            "--tunnel-checksum applies only",
        ),
    ];
    for (line, expected) in rows {
        let error = request(&format!("pollux {line}")).unwrap_err();
        assert!(matches!(&error, CliError::Usage(text) if text.starts_with(expected)), "{line}: {error}");
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    for line in [
        "service add tcp 10.9.9.1",
        "service add icmp 10.9.9.1:80",
        "service add fwmark -1",
        "service edit tcp 10.9.9.1:80 --persistence --no-persistence",
        "service edit tcp 10.9.9.1:80 --no-persistence --netmask 255.0.0.0",
        "service edit tcp 10.9.9.1:80 --engine sip --no-engine",
        "destination add tcp 10.9.9.1:80 10.0.2.1:80",
        "destination edit tcp 10.9.9.1:80 10.0.2.1:80 --tunnel-port 6080",
        "list --stats --rate",
        "zero tcp",
        "sysctl",
        "fwmarks set",
    ] {
        let words = ["pollux"].into_iter().chain(line.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

fn sysctl_args(line: &str) -> SysctlArgs {
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Sysctl(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sysctl_arguments_are_those_of_sysctl() {
    type Row = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);
    let rows: [Row; 10] = [
        ("net.ipv4.vs.drop_entry=3 sloppy_tcp", &["drop_entry", "sloppy_tcp"], &[("drop_entry", "3")]),
        ("-w net/ipv4/vs/drop_entry=3", &["drop_entry"], &[("drop_entry", "3")]),
        (
            "-w drop_entry 3 am_droprate -1",
            &["drop_entry", "am_droprate"],
            &[("am_droprate", "-1"), ("drop_entry", "3")],
        ),
        ("drop_entry = 3", &["drop_entry"], &[("drop_entry", "3")]),
        (
            "drop_entry= 3 sloppy_tcp =1",
            &["drop_entry", "sloppy_tcp"],
            &[("drop_entry", "3"), ("sloppy_tcp", "1")],
        ),
        ("est_cpulist= sloppy_tcp", &["est_cpulist", "sloppy_tcp"], &[("est_cpulist", "")]),
        ("lblc*_expiration", &["lblc_expiration", "lblcr_expiration"], &[]),
        (
            "net.ipv4.vs.sloppy_[a-t]*=1",
            &["sloppy_sctp", "sloppy_tcp"],
            &[("sloppy_sctp", "1"), ("sloppy_tcp", "1")],
        ),
        ("-q drop_entry=1 sloppy_tcp", &["sloppy_tcp"], &[("drop_entry", "1")]),
        ("-e nosuch drop_entry", &["drop_entry"], &[]),
    ];
    for (line, shown, set) in rows {
        let args = sysctl_args(&format!("pollux sysctl {line}"));
        assert_eq!(args.shown().unwrap(), shown, "{line}");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        assert_eq!(args.changes().unwrap().values, set.iter().map(owned).collect(), "{line}");
    }
    for all in ["-a", "net.ipv4.vs", "*"] {
        assert_eq!(sysctl_args(&format!("pollux sysctl {all}")).shown().unwrap().len(), 34, "{all}");
    }
}

#[test]
fn sysctl_errors_name_the_variable() {
    let rows = [
        ("drop_entry=1 net.ipv4.vs.drop_entry=2", "drop_entry is set twice"),
        ("nosuch=1", "net.ipv4.vs.nosuch: No such file or directory"),
        ("net.core.somaxconn=1", "net.ipv4.vs.net.core.somaxconn: No such file"),
        ("=1", "has no variable name"),
        ("-w drop_entry", "drop_entry has no value"),
    ];
    for (line, expected) in rows {
        let error = sysctl_args(&format!("pollux sysctl {line}")).changes().unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn sysctl_output_is_that_of_sysctl() {
    let values = Values { values: [("drop_entry".to_owned(), "2".to_owned())].into() };
    let shown = ["drop_entry".to_owned()];
    for (switch, text) in
        [("-a", "net.ipv4.vs.drop_entry = 2\n"), ("-a -n", "2\n"), ("-a --names", "net.ipv4.vs.drop_entry\n")]
    {
        assert_eq!(sysctl_args(&format!("pollux sysctl {switch}")).text(&shown, &values), text, "{switch}");
    }
}

#[test]
fn zero_takes_a_service_or_none() {
    let selected = |line: &str| match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Zero(service) => service.key().unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(selected("pollux zero").is_none());
    assert!(selected("pollux zero fwmark 7").is_some());
}

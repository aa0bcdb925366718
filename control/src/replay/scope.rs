//! Decides whether Pollux has everything a case needs, and names what it lacks.

use super::case::Case;
use super::frames::{ip_of_frame, protocol};
use super::setup::{RouteChange, sysctl};
use crate::ipvsadm::{Command, ParseError, parse};
use crate::model::Settings;

/// The features that are not ours yet, by words that give them away in commands of the recorded machine.
const FOREIGN: &[(&str, &str)] = &[
    ("ip_vs_ftp", "ftp helper"),
    ("iptables", "mark rules"),
    ("ip rule", "policy routing"),
    ("flush cache", "learnt path MTU"),
    ("ip_vs_conn_sync", "the sync daemon"),
    ("/proc/net/ip_vs", "/proc/net/ip_vs"),
    ("/proc/sys/", "sysctls changed between inputs"),
];

/// Passes a case that Pollux has everything for.
///
/// # Errors
/// The name of the first feature that is missing.
pub fn check(case: &Case) -> Result<(), String> {
    for rule in &case.rules {
        line(rule)?;
    }
    for command in &case.setup {
        commands(command)?;
    }
    for (name, value) in &case.sysctl {
        if !sysctl(&mut Settings::default(), name, value) {
            return Err(format!("sysctl {name}"));
        }
    }
    for cmd in &case.cmds {
        commands(&cmd.cmd)?;
    }
    for input in &case.inputs {
        frame(&input.frame)?;
    }
    for output in &case.outputs {
        if ip_of_frame(&output.frame).is_some_and(|ip| ip.is_fragment()) {
            return Err("fragmentation".to_owned());
        }
    }
    Ok(())
}

/// Several commands may stand in one line.
fn commands(text: &str) -> Result<(), String> {
    if let Some((_, feature)) = FOREIGN.iter().find(|(word, _)| text.contains(word)) {
        return Err((*feature).to_owned());
    }
    for command in text.split(';').map(str::trim).filter(|c| !c.is_empty()) {
        if command.starts_with("ipvsadm") {
            line(command)?;
        } else if RouteChange::read(command).is_none() {
            return Err(format!("the command `{command}`"));
        }
    }
    Ok(())
}

/// A line that is wrong is in scope: its message can be compared.
fn line(text: &str) -> Result<(), String> {
    match parse(text) {
        Err(ParseError::Unsupported { feature }) => Err(feature),
        Ok(Command::Zero(_)) => Err("zeroing of counters".to_owned()),
        _ => Ok(()),
    }
}

fn frame(frame: &[u8]) -> Result<(), String> {
    let Some(ip) = ip_of_frame(frame) else { return Ok(()) };
    if ip.is_fragment() {
        return Err("fragments".to_owned());
    }
    match ip.protocol {
        protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6 => Ok(()),
        132 => Err("sctp".to_owned()),
        50 | 51 => Err("ah and esp".to_owned()),
        other => Err(format!("protocol {other}")),
    }
}

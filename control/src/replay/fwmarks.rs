//! Converts rules of `iptables -t mangle` in the chain PREROUTING to fwmark rules.

use ipnet::IpNet;

use super::topology::port_of;
use crate::model::{Family, FwmarkRule};

/// A change made by a command of `iptables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FwmarkChange {
    /// `-A`, or `-I` with the position, counted from 0.
    Add(FwmarkRule, Option<usize>),
    /// `-D` with the rule.
    Delete(FwmarkRule),
    /// `-F`: all rules of a family.
    Flush(Family),
}

impl FwmarkChange {
    /// Parses a command; `None` if it is not supported.
    pub fn parse(words: &[String]) -> Option<FwmarkChange> {
        let mut words = words.iter().map(String::as_str);
        let family = match words.next()? {
            "iptables" => Family::Ipv4,
            "ip6tables" => Family::Ipv6,
            _ => return None,
        };
        let mut rest: Vec<&str> = words.filter(|word| *word != "-w").collect();
        let table = rest.iter().position(|word| *word == "-t")?;
        if rest.get(table + 1) != Some(&"mangle") {
            return None;
        }
        rest.drain(table..table + 2);
        match rest.as_slice() {
            ["-F"] | ["-F", "PREROUTING"] => Some(FwmarkChange::Flush(family)),
            ["-A", "PREROUTING", spec @ ..] => Some(FwmarkChange::Add(rule(family, spec)?, None)),
            ["-D", "PREROUTING", spec @ ..] => Some(FwmarkChange::Delete(rule(family, spec)?)),
            ["-I", "PREROUTING", spec @ ..] => {
                let position = spec.first().and_then(|word| word.parse::<usize>().ok());
                let spec = if position.is_some() { &spec[1..] } else { spec };
                Some(FwmarkChange::Add(rule(family, spec)?, Some(position.unwrap_or(1).saturating_sub(1))))
            }
            _ => None,
        }
    }

    /// Applies the change; returns false if the rule to delete does not exist.
    pub fn apply(self, fwmarks: &mut Vec<FwmarkRule>) -> bool {
        match self {
            FwmarkChange::Add(rule, None) => fwmarks.push(rule),
            FwmarkChange::Add(rule, Some(position)) => {
                // Positions are counted per family.
                let of_family = fwmarks.iter().enumerate().filter(|(_, old)| old.family == rule.family);
                let at = of_family.map(|(at, _)| at).nth(position).unwrap_or(fwmarks.len());
                fwmarks.insert(at, rule);
            }
            FwmarkChange::Delete(rule) => match fwmarks.iter().position(|old| *old == rule) {
                Some(at) => drop(fwmarks.remove(at)),
                None => return false,
            },
            FwmarkChange::Flush(family) => fwmarks.retain(|old| old.family != Some(family)),
        }
        true
    }
}

fn rule(family: Family, spec: &[&str]) -> Option<FwmarkRule> {
    let mut rule = FwmarkRule { family: Some(family), mask: u32::MAX, ..FwmarkRule::default() };
    let mut words = spec.iter().copied();
    let mut sets_mark = false;
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word {
            "-s" | "--source" | "--src" => rule.source = Some(network(value)?),
            "-d" | "--destination" | "--dst" => rule.destination = Some(network(value)?),
            "-i" | "--in-interface" => rule.port = Some(port_of(value)?.to_owned()),
            "-p" | "--protocol" if value == "all" => rule.protocol = None,
            "-p" | "--protocol" => rule.protocol = Some(value.to_owned()),
            "-m" | "--match" if matches!(value, "tcp" | "udp" | "sctp" | "multiport" | "comment") => {}
            "--comment" => {}
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
                rule.l4_ports = ports(value)
            }
            "--sport" | "--sports" | "--source-port" | "--source-ports" => {
                rule.source_l4_ports = ports(value)
            }
            "-j" | "--jump" => sets_mark = value == "MARK",
            "--set-mark" => (rule.fwmark, rule.mask) = set_mark(value)?,
            "--or-mark" => (rule.fwmark, rule.mask) = (number(value)?, number(value)?),
            "--and-mark" => (rule.fwmark, rule.mask) = (0, !number(value)?),
            // For example negation, which fwmark rules do not have.
            _ => return None,
        }
    }
    sets_mark.then_some(rule)
}

/// `MARK`, or `MARK/MASK`: clears the bits of the mask, then sets those of the mark.
fn set_mark(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((fwmark, mask)) => Some((number(fwmark)?, number(fwmark)? | number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
pub(super) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

pub(super) fn network(text: &str) -> Option<IpNet> {
    let net = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))?;
    Some(net.trunc())
}

/// `80,443,8000:8080`
fn ports(text: &str) -> Vec<String> {
    text.split(',').map(|port| port.replace(':', "-")).collect()
}

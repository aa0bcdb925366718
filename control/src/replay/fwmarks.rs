//! Marks: rules of `iptables -t mangle` in the chain PREROUTING, as mark rules of ours.

use ipnet::IpNet;

use super::topology::port_of;
use crate::model::{Family, FwmarkRule};

/// What one command of `iptables` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FwmarkChange {
    /// `-A`, or `-I` with the place, counted from 0.
    Add(FwmarkRule, Option<usize>),
    /// `-D` with what the rule says.
    Delete(FwmarkRule),
    /// `-F`: all rules of a family.
    Flush(Family),
}

impl FwmarkChange {
    /// Reads the words of a command; none when it does something else.
    pub fn read(words: &[String]) -> Option<FwmarkChange> {
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
            ["-A", "PREROUTING", said @ ..] => Some(FwmarkChange::Add(rule(family, said)?, None)),
            ["-D", "PREROUTING", said @ ..] => Some(FwmarkChange::Delete(rule(family, said)?)),
            ["-I", "PREROUTING", said @ ..] => {
                let place = said.first().and_then(|word| word.parse::<usize>().ok());
                let said = if place.is_some() { &said[1..] } else { said };
                Some(FwmarkChange::Add(rule(family, said)?, Some(place.unwrap_or(1).saturating_sub(1))))
            }
            _ => None,
        }
    }

    /// Carries it out; false when there is no such rule to delete.
    pub fn apply(self, fwmarks: &mut Vec<FwmarkRule>) -> bool {
        match self {
            FwmarkChange::Add(rule, None) => fwmarks.push(rule),
            FwmarkChange::Add(rule, Some(place)) => {
                // Places are counted in the family's own table.
                let of_family = fwmarks.iter().enumerate().filter(|(_, old)| old.family == rule.family);
                let at = of_family.map(|(at, _)| at).nth(place).unwrap_or(fwmarks.len());
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

fn rule(family: Family, said: &[&str]) -> Option<FwmarkRule> {
    let mut rule = FwmarkRule { family: Some(family), mask: u32::MAX, ..FwmarkRule::default() };
    let mut words = said.iter().copied();
    let mut fwmarks = false;
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
            "-j" | "--jump" => fwmarks = value == "MARK",
            "--set-mark" => (rule.fwmark, rule.mask) = set_mark(value)?,
            "--or-mark" => (rule.fwmark, rule.mask) = (number(value)?, number(value)?),
            "--and-mark" => (rule.fwmark, rule.mask) = (0, !number(value)?),
            // Negation among others: a rule of ours names what fits, not what does not.
            _ => return None,
        }
    }
    fwmarks.then_some(rule)
}

/// `MARK`, or `MARK/MASK`: the bits of the mask are cleared, then those of the mark are set.
fn set_mark(text: &str) -> Option<(u32, u32)> {
    match text.split_once('/') {
        Some((fwmark, mask)) => Some((number(fwmark)?, number(fwmark)? | number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

fn number(text: &str) -> Option<u32> {
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

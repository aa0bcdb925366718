//! Formats a worker's record: the placeholders of a format are filled from the record.

use std::net::SocketAddr;

use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::proto;
use pollux_dataplane::service::Scheduler;
use pollux_dataplane::trace::{Outcome, Record};
use pollux_dataplane::verdict::{DropReason, IcmpReason};
use pollux_dataplane::wire::protocol;
use pollux_dataplane::wire::tcp::{ACK, FIN, RST, SYN};

/// Fills the placeholders of a format. Unknown ones are left as they are.
pub fn text(format: &str, record: &Record) -> String {
    let is_empty = |end: &Endpoint| end.address.is_unspecified() && end.l4_port == 0;
    if record.protocol == 0 && record.ends[..2].iter().all(is_empty) {
        // The frame carries no packet that was read.
        let format = format.replace("{1:kind} {proto} {c}->{v}, ", "not balanced, ");
        return replace(&format.replace("{proto} {c}->{v}", "frame"), |name| word(name, record));
    }
    replace(format, |name| word(name, record))
}

/// Replaces each `{}` of a format with the next word.
pub fn fill(format: &str, words: &[String]) -> String {
    let mut left = words.iter();
    replace(format, |name| if name.is_empty() { left.next().cloned() } else { None })
}

fn replace(format: &str, mut word: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(format.len() + 64);
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, behind)) = after.split_once('}') else {
            return out + "{" + after;
        };
        match word(name) {
            Some(word) => out.push_str(&word),
            None => out.push_str(&format!("{{{name}}}")),
        }
        rest = behind;
    }
    out + rest
}

fn word(name: &str, record: &Record) -> Option<String> {
    let [client, virtual_, destination] = record.ends;
    Some(match name {
        "proto" => protocol_name(record.protocol),
        "c" => end(client),
        "v" => end(virtual_),
        "d" => end(destination),
        _ => {
            let (index, kind) = name.split_once(':').unwrap_or((name, ""));
            let number = *record.words.get(index.parse::<usize>().ok()?)?;
            return read(kind, number, record);
        }
    })
}

/// Formats a number according to `kind`.
fn read(kind: &str, number: u32, record: &Record) -> Option<String> {
    let index = number as usize;
    let pick = |names: &[&str]| names.get(index).map(|name| (*name).to_owned());
    Some(match kind {
        "" => number.to_string(),
        "x" => format!("{number:X}"),
        "state" => proto::state_name(record.protocol, number as u8).to_owned(),
        "flags" => tcp_flags(number as u8),
        "hit" => if number == 0 { "not hit" } else { "hit" }.to_owned(),
        "side" => if number == 0 { "in" } else { "out" }.to_owned(),
        // A letter as in the kernel: masquerading, local, tunnel, route, bypass.
        "fwd" => (*["M", "L", "T", "R", "B"].get(index & 7)?).to_owned(),
        "direction" => pick(&["input  ", "output ", "input  "])?,
        "kind" => pick(&[
            "flow",
            "truncated",
            "IPsec",
            "ICMP error",
            "ICMP error about a tunnel",
            "fragment",
            "other",
            "malformed",
        ])?,
        "drop" => DropReason::ALL.get(index)?.word().to_owned(),
        "icmp" => IcmpReason::ALL.get(index)?.word().to_owned(),
        "scheduler" => Scheduler::ALL.get(index)?.name().to_owned(),
        "SCHEDULER" => Scheduler::ALL.get(index)?.name().to_uppercase(),
        "outcome" => outcome(number, record.words[1])?,
        "service" => service(number, record),
        _ => return None,
    })
}

/// A service by its address, or by its fwmark if it is not 0.
fn service(fwmark: u32, record: &Record) -> String {
    if fwmark == 0 {
        return format!("{} {}", protocol_name(record.protocol), end(record.ends[1]));
    }
    format!("FWM {fwmark} 0x{fwmark:08X}")
}

fn outcome(number: u32, which: u32) -> Option<String> {
    Some(match Outcome::ALL.get(number as usize)? {
        Outcome::Sent => "sent on".to_owned(),
        Outcome::Kernel => "passed to the kernel".to_owned(),
        Outcome::HandedOff => "handed off to the worker of its flow".to_owned(),
        Outcome::Held => "held".to_owned(),
        Outcome::IcmpSent => {
            format!("answered with an ICMP error: {}", IcmpReason::ALL.get(which as usize)?.word())
        }
        Outcome::Dropped => format!("dropped: {}", DropReason::ALL.get(which as usize)?.word()),
    })
}

/// SYN, FIN, ACK and RST as the kernel writes them.
fn tcp_flags(flags: u8) -> String {
    let letters = [(SYN, 'S'), (FIN, 'F'), (ACK, 'A'), (RST, 'R')];
    letters.map(|(flag, letter)| if flags & flag != 0 { letter } else { '.' }).iter().collect()
}

fn protocol_name(number: u8) -> String {
    match number {
        0 => "IP".to_owned(),
        protocol::TCP => "TCP".to_owned(),
        protocol::UDP => "UDP".to_owned(),
        protocol::SCTP => "SCTP".to_owned(),
        protocol::ICMP => "ICMP".to_owned(),
        protocol::ICMPV6 => "ICMPv6".to_owned(),
        protocol::AH => "AH".to_owned(),
        protocol::ESP => "ESP".to_owned(),
        other => other.to_string(),
    }
}

fn end(end: Endpoint) -> String {
    SocketAddr::new(end.address, end.l4_port).to_string()
}

//! Describes the differences between two frames.

use std::fmt::Write;

use super::frames::{ETHER, Ip, ip, protocol, tunnelled, u16_at};

/// Compares field by field; if no named field differs, by length and position.
pub fn frames(expected: &[u8], got: &[u8]) -> Vec<String> {
    let (want, have) = (fields(expected), fields(got));
    let mut lines: Vec<String> = want
        .iter()
        .zip(&have)
        .take_while(|(expected, got)| expected.0 == got.0)
        .filter(|(expected, got)| expected.1 != got.1)
        .map(|(expected, got)| format!("{}: expected {}, got {}", expected.0, expected.1, got.1))
        .collect();
    let names = |f: &[Field]| f.iter().map(|field| field.0.clone()).collect::<Vec<_>>();
    if names(&want) != names(&have) {
        lines.push(format!("expected {}", summary(expected)));
        lines.push(format!("got      {}", summary(got)));
    }
    if expected.len() != got.len() {
        lines.push(format!("length: expected {}, got {}", expected.len(), got.len()));
    }
    if lines.is_empty()
        && let Some(at) = expected.iter().zip(got).position(|(expected, got)| expected != got)
    {
        lines.push(format!("byte {at}: expected {:02x}, got {:02x}", expected[at], got[at]));
    }
    lines
}

/// One-line summary of a frame.
pub fn summary(frame: &[u8]) -> String {
    let Some(packet) = super::frames::ip_of_frame(frame) else {
        return format!("{} bytes, not IP", frame.len());
    };
    let mut text = String::new();
    let mut layer = Some(packet);
    let mut word = "";
    while let Some(ip) = layer {
        let _ = write!(text, "{word}{} > {} ttl {}", ip.source, ip.destination, ip.ttl());
        let _ = match (ip.ports(), ip.icmp()) {
            (Some((from, to)), _) => write!(text, " {} {from} > {to}{}", name(ip.protocol), flags(&ip)),
            (_, Some((kind, code))) => write!(text, " ICMP type {kind} code {code}"),
            _ => write!(text, " protocol {}", ip.protocol),
        };
        word = if ip.icmp().is_some() { ", about " } else { ", inside " };
        layer = inner(&ip);
    }
    text
}

type Field = (String, String);

fn fields(frame: &[u8]) -> Vec<Field> {
    let mut out = Vec::new();
    let mac = |at: usize| {
        let bytes = frame.get(at..at + 6).unwrap_or_default();
        bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
    };
    out.push(("Ethernet destination".to_owned(), mac(0)));
    out.push(("Ethernet source".to_owned(), mac(6)));
    out.push(("Ethernet type".to_owned(), format!("{:#06x}", u16_at(frame, 12).unwrap_or(0))));
    let mut layer = frame.get(ETHER..).and_then(ip);
    let mut prefix = "";
    while let Some(packet) = layer {
        ip_fields(&packet, prefix, &mut out);
        l4_fields(&packet, prefix, &mut out);
        prefix = if packet.icmp().is_some() { "quoted " } else { "inner " };
        layer = inner(&packet);
    }
    out
}

fn inner<'a>(packet: &Ip<'a>) -> Option<Ip<'a>> {
    tunnelled(packet).or_else(|| packet.quoted())
}

/// Fields: name, offset and length.
const IPV4: &[(&str, usize, usize)] = &[
    ("version and length", 0, 1),
    ("tos", 1, 1),
    ("length", 2, 2),
    ("id", 4, 2),
    ("flags and offset", 6, 2),
    ("ttl", 8, 1),
    ("protocol", 9, 1),
    ("checksum", 10, 2),
];
const IPV6: &[(&str, usize, usize)] =
    &[("class and label", 0, 4), ("length", 4, 2), ("next header", 6, 1), ("hop limit", 7, 1)];
const TCP: &[(&str, usize, usize)] = &[
    ("source port", 0, 2),
    ("destination port", 2, 2),
    ("sequence", 4, 4),
    ("acknowledgment", 8, 4),
    ("offset and flags", 12, 2),
    ("window", 14, 2),
    ("checksum", 16, 2),
];
const UDP: &[(&str, usize, usize)] =
    &[("source port", 0, 2), ("destination port", 2, 2), ("length", 4, 2), ("checksum", 6, 2)];
const ICMP: &[(&str, usize, usize)] = &[("type", 0, 1), ("code", 1, 1), ("checksum", 2, 2), ("rest", 4, 4)];

fn ip_fields(packet: &Ip<'_>, prefix: &str, out: &mut Vec<Field>) {
    let (layer, table) = if packet.is_v4() { ("IPv4", IPV4) } else { ("IPv6", IPV6) };
    let layer = format!("{prefix}{layer}");
    named(&layer, table, packet.bytes, out);
    out.push((format!("{layer} source"), packet.source.to_string()));
    out.push((format!("{layer} destination"), packet.destination.to_string()));
}

fn l4_fields(packet: &Ip<'_>, prefix: &str, out: &mut Vec<Field>) {
    let table = match packet.protocol {
        protocol::TCP => TCP,
        protocol::UDP => UDP,
        protocol::ICMP | protocol::ICMPV6 => ICMP,
        _ => return,
    };
    named(&format!("{prefix}{}", name(packet.protocol)), table, packet.payload(), out);
}

fn named(layer: &str, table: &[(&str, usize, usize)], bytes: &[u8], out: &mut Vec<Field>) {
    for &(name, at, len) in table {
        let Some(field) = bytes.get(at..at + len) else { return };
        let number = field.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let text = match name {
            "checksum" | "flags and offset" | "offset and flags" | "rest" | "class and label" => {
                format!("{number:#x}")
            }
            _ => number.to_string(),
        };
        out.push((format!("{layer} {name}"), text));
    }
}

fn name(number: u8) -> &'static str {
    match number {
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::ICMPV6 => "ICMPv6",
        _ => "ICMP",
    }
}

fn flags(packet: &Ip<'_>) -> String {
    let Some(bits) = packet.payload().get(13).filter(|_| packet.protocol == protocol::TCP) else {
        return String::new();
    };
    let set = "FSRPAU".chars().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    format!(" {}", set.map(|(_, letter)| letter).collect::<String>())
}

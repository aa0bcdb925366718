//! Memory for packets and for connections.

use std::path::Path;

use pollux_dataplane::conn::Sizes;

use super::{Check, Outcome, field, names, read};
use crate::model::Start;

const NODES: &str = "sys/devices/system/node";
const NEEDED: &str = "some free";
const MEBI: u64 = 1 << 20;

/// Huge pages of each NUMA node: a port's buffers should lie in its own node's memory.
pub(super) fn huge_pages(root: &Path) -> Vec<Check> {
    let is_node = |name: &String| name.strip_prefix("node").is_some_and(|n| n.parse::<u16>().is_ok());
    let nodes: Vec<String> = names(root, NODES).into_iter().filter(is_node).collect();
    if nodes.is_empty() { vec![in_all(root)] } else { nodes.iter().map(|node| of_node(root, node)).collect() }
}

fn of_node(root: &Path, node: &str) -> Check {
    let (mut found, mut any_free) = (Vec::new(), false);
    for folder in names(root, &format!("{NODES}/{node}/hugepages")) {
        let count = |file: &str| -> u64 {
            let text = read(root, &format!("{NODES}/{node}/hugepages/{folder}/{file}"));
            text.trim().parse().unwrap_or(0)
        };
        let (total, free) = (count("nr_hugepages"), count("free_hugepages"));
        any_free |= free > 0;
        if total > 0 {
            let size = folder.strip_prefix("hugepages-").unwrap_or(&folder);
            found.push(format!("{total} of {size}, {free} free"));
        }
    }
    let found = if found.is_empty() { "none".to_owned() } else { found.join("; ") };
    let hint = format!("echo 1024 > /{NODES}/{node}/hugepages/hugepages-2048kB/nr_hugepages; {WITHOUT}");
    Check::ok("huge pages", format!("{node}: {found}"), NEEDED).unless(!any_free, Outcome::Warn, hint)
}

const WITHOUT: &str = "until then start polluxd with --no-huge, which is slower";

/// Of a kernel that knows no nodes.
fn in_all(root: &Path) -> Check {
    let text = read(root, "proc/meminfo");
    let count = |name| field(&text, name).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let (total, free) = (count("HugePages_Total"), count("HugePages_Free"));
    let hint = format!("echo 1024 > /proc/sys/vm/nr_hugepages; {WITHOUT}");
    Check::ok("huge pages", format!("{total}, {free} free"), NEEDED).unless(free == 0, Outcome::Warn, hint)
}

/// Whether the connection tables of a configuration that says nothing about them fit.
pub(super) fn tables(root: &Path) -> Check {
    let start = Start::default();
    let sizes = Sizes { ipv4: start.connections_ipv4, ipv6: start.connections_ipv6 };
    let needed = sizes.bytes() as u64;
    let text = read(root, "proc/meminfo");
    // "MemAvailable:    8123456 kB"; huge pages that are set aside are not in it.
    let available = field(&text, "MemAvailable").and_then(|kib| kib.split(' ').next()?.parse::<u64>().ok());
    let found = available.map_or("unknown".to_owned(), |kib| format!("{} MiB available", kib * 1024 / MEBI));
    let short = available.is_none_or(|kib| kib * 1024 < needed);
    let needed = format!(
        "{} MiB for {} IPv4 and {} IPv6 connections, the default",
        needed.div_ceil(MEBI),
        sizes.ipv4,
        sizes.ipv6
    );
    let hint = "lower connections_ipv4 and connections_ipv6 under [start] in the configuration";
    Check::ok("memory", found, needed).unless(short, Outcome::Warn, hint)
}

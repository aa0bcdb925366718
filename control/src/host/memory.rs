//! Memory for packets and connections.

use std::path::Path;

use pollux_dataplane::conn::Sizes;

use super::{Check, Outcome, field, names, read};
use crate::model::Start;

const NODES: &str = "sys/devices/system/node";
const NEEDED: &str = "some free";
const MEBI: u64 = 1 << 20;

/// Huge pages of each NUMA node. The buffers of a port should be in the memory of its own node.
pub(super) fn huge_pages(root: &Path) -> Vec<Check> {
    let is_node = |name: &String| name.strip_prefix("node").is_some_and(|n| n.parse::<u16>().is_ok());
    let nodes: Vec<String> = names(root, NODES).into_iter().filter(is_node).collect();
    if nodes.is_empty() {
        vec![without_nodes(root)]
    } else {
        nodes.iter().map(|node| on_node(root, node)).collect()
    }
}

fn on_node(root: &Path, node: &str) -> Check {
    let (mut found, mut any_free) = (Vec::new(), false);
    for directory in names(root, &format!("{NODES}/{node}/hugepages")) {
        let count = |file: &str| -> u64 {
            let text = read(root, &format!("{NODES}/{node}/hugepages/{directory}/{file}"));
            text.trim().parse().unwrap_or(0)
        };
        let (total, free) = (count("nr_hugepages"), count("free_hugepages"));
        any_free |= free > 0;
        if total > 0 {
            let size = directory.strip_prefix("hugepages-").unwrap_or(&directory);
            found.push(format!("{total} of {size}, {free} free"));
        }
    }
    let found = if found.is_empty() { "none".to_owned() } else { found.join("; ") };
    let hint = format!("echo 1024 > /{NODES}/{node}/hugepages/hugepages-2048kB/nr_hugepages; {FALLBACK}");
    Check::ok("huge pages", format!("{node}: {found}"), NEEDED).unless(!any_free, Outcome::Warn, hint)
}

const FALLBACK: &str = "until then start polluxd with --no-huge, which is slower";

/// Huge pages of a kernel without NUMA nodes.
fn without_nodes(root: &Path) -> Check {
    let text = read(root, "proc/meminfo");
    let count = |name| field(&text, name).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    let (total, free) = (count("HugePages_Total"), count("HugePages_Free"));
    let hint = format!("echo 1024 > /proc/sys/vm/nr_hugepages; {FALLBACK}");
    Check::ok("huge pages", format!("{total}, {free} free"), NEEDED).unless(free == 0, Outcome::Warn, hint)
}

/// Memory for connection tables of the default size.
pub(super) fn tables(root: &Path) -> Check {
    let start = Start::default();
    let sizes = Sizes { ipv4: start.connections_ipv4, ipv6: start.connections_ipv6, extra: 0 };
    let needed = sizes.bytes() as u64;
    let text = read(root, "proc/meminfo");
    // "MemAvailable:    8123456 kB", which excludes reserved huge pages.
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

//! Stories of persistence: by client network, and by firewall mark over several addresses and ports.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use pollux_tests::bed::Bed;
use pollux_tests::bed::capture::{Capture, Flow};
use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use serde_json::json;

use super::counters;
use super::http::warm_up;

/// Sends a request from a source address.
fn ask(bed: &Bed, source: &str, url: &str) -> Result<String> {
    Ok(output(bed.client.curl().args(["--interface", source, url]))?.trim().to_owned())
}

fn persistent(daemon: &Daemon, key: &serde_json::Value) -> Result<u64> {
    let service = counters::service(daemon, key)?;
    let destinations = service["destinations"].as_array().cloned().unwrap_or_default();
    Ok(destinations.iter().filter_map(|destination| destination["persistent"].as_u64()).sum())
}

pub fn networks() -> Result<()> {
    let bed = Bed::new(2)?;
    let head = "protocol = \"tcp\"\naddress = \"10.9.9.1\"\nl4_port = 8080\nscheduler = \"lc\"\n\
                persistence = { timeout = 60, netmask = \"255.255.255.0\" }";
    let text = config(&[rules::HTTP[0]], 2) + &rules::service(head, "l4_port = 80\nmethod = \"nat\"", 2);
    let daemon = bed.daemon(&text, 2)?;
    bed.balancer.ip("route add 10.1.5.0/24 dev pollux0")?;
    for address in ["10.1.0.3/24", "10.1.0.4/24", "10.1.5.3/24", "10.1.5.4/24"] {
        bed.client.namespace.address(address, "net0")?;
    }
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let mut servers = Vec::new();
    for network in ["10.1.0", "10.1.5"] {
        let mut met = BTreeSet::new();
        for turn in 0..8 {
            met.insert(ask(&bed, &format!("{network}.{}", 3 + turn % 2), "http://10.9.9.1:8080/")?);
        }
        assert_eq!(met.len(), 1, "clients of {network} reached {met:?}");
        servers.extend(met);
    }
    assert_ne!(servers[0], servers[1], "the second network got the server with more connections");
    let key = json!({ "address": "10.9.9.1", "l4_port": 8080 });
    let flow = Flow { protocol: 6, vip: Ipv4Addr::new(10, 9, 9, 1).into(), l4_port: 8080 };
    counters::agree(&daemon, &key, || capture.count(flow), true)?;
    assert_eq!(persistent(&daemon, &key)?, 2);
    let mut clients: Vec<_> =
        counters::connections(&daemon, true)?.iter().map(|template| template["client"].clone()).collect();
    clients.sort_by_key(ToString::to_string);
    assert_eq!(clients, [json!("10.1.0.0:0"), json!("10.1.5.0:0")]);
    let table = daemon.pollux("list --persistent")?;
    assert!(table.contains("10.2.0.11"), "{table}");
    let owners: BTreeSet<_> = counters::connections(&daemon, false)?
        .iter()
        .map(|connection| connection["worker"].to_string())
        .collect();
    assert_eq!(owners.len(), 2, "one worker owned all connections");
    daemon.accounts_for_all_packets()
}

/// Firewall marks 7 and 8, each over two addresses or ports; 8 is persistent.
const MARKS: &str = r#"
[[fwmarks]]
destination = "10.9.9.2/32"
protocol = "tcp"
l4_ports = ["80", "8000-8080"]
fwmark = 7
[[fwmarks]]
destination = "10.9.9.3/32"
protocol = "tcp"
l4_ports = ["80"]
fwmark = 7
[[fwmarks]]
destination = "10.9.9.3/32"
protocol = "tcp"
l4_ports = ["8080"]
fwmark = 8
[[fwmarks]]
destination = "10.9.9.4/32"
fwmark = 8
"#;

pub fn fwmarks() -> Result<()> {
    let bed = Bed::new(2)?;
    let text = config(&[rules::HTTP[0]], 2)
        + &rules::service("fwmark = 7", "l4_port = 0\nmethod = \"dr\"", 2)
        + &rules::service("fwmark = 8\npersistence = { timeout = 60 }", "l4_port = 0\nmethod = \"dr\"", 2)
        + MARKS;
    let daemon = bed.daemon(&text, 1)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let ask = |urls: &[&str]| urls.iter().map(|url| bed.client.get(url)).collect::<Result<Vec<_>>>();
    let servers_in_order =
        ask(&["http://10.9.9.2/", "http://10.9.9.3/", "http://10.9.9.2:8080/", "http://10.9.9.3/"])?;
    assert!(
        servers_in_order.windows(2).all(|pair| pair[0] != pair[1]),
        "round robin alternates: {servers_in_order:?}"
    );
    let same: BTreeSet<_> =
        ask(&["http://10.9.9.3:8080/", "http://10.9.9.4/", "http://10.9.9.4:8080/"])?.into_iter().collect();
    assert_eq!(same.len(), 1, "one client of a persistent fwmark reached {same:?}");
    assert!(bed.client.get("http://10.9.9.3:8081/").is_err(), "an unmarked packet was balanced");
    let templates = counters::connections(&daemon, true)?;
    assert_eq!(templates.len(), 1, "{templates:?}");
    assert_eq!((&templates[0]["protocol"], &templates[0]["virtual"]), (&json!("ip"), &json!("0.0.0.8:0")));
    assert_eq!(persistent(&daemon, &json!({ "fwmark": 8 }))?, 1);
    let count = |last, l4_port| {
        capture.count(Flow { protocol: 6, vip: Ipv4Addr::new(10, 9, 9, last).into(), l4_port })
    };
    counters::agree(&daemon, &json!({ "fwmark": 7 }), || count(2, 0).plus(count(3, 80)), false)?;
    counters::agree(&daemon, &json!({ "fwmark": 8 }), || count(4, 0).plus(count(3, 8080)), false)?;
    daemon.accounts_for_all_packets()
}

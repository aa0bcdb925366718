//! DNS with one-packet scheduling: each query is scheduled by itself.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pollux_tests::bed::capture::{Capture, Counts, Flow};
use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::process::Process;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::server::Server;
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const QUERIES: usize = 20;

/// Starts `dnsmasq` that resolves one name.
fn name_server(bed: &Bed, server: &Server) -> Result<Process> {
    let mut command = server.namespace.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    command.args(["--pid-file", "--log-facility=-", "--log-queries"]);
    command.arg(format!("--txt-record=who.test,{}", server.name));
    let mut process = bed.process(&format!("{}-dns", server.name), &mut command)?;
    process.until("dnsmasq serves", |log| Ok(log.contains("started").then_some(())))?;
    Ok(process)
}

pub fn ops() -> Result<()> {
    let bed = Bed::new(2)?;
    let _names = bed.servers.iter().map(|server| name_server(&bed, server)).collect::<Result<Vec<_>>>()?;
    let mut text = config(&[rules::HTTP[0]], 2);
    for (vip, method) in [("10.9.9.2", "dr"), ("10.9.9.3", "tunnel")] {
        let head = format!("protocol = \"udp\"\naddress = \"{vip}\"\nl4_port = 53\nops = true");
        text += &rules::service(&head, &format!("l4_port = 53\nmethod = \"{method}\""), 2);
    }
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    for (last, vip) in [(2, "10.9.9.2"), (3, "10.9.9.3")] {
        let mut replies = BTreeMap::new();
        for _ in 0..QUERIES {
            let mut dig = bed.client.namespace.command("dig");
            dig.args(["+short", "+tries=1", "+time=3", &format!("@{vip}"), "TXT", "who.test"]);
            *replies.entry(output(&mut dig)?.trim().to_owned()).or_insert(0) += 1;
        }
        // Each worker has its own round robin, so the counts may differ by one per worker.
        assert_eq!(replies.len(), 2, "{vip}: {replies:?}");
        assert!(replies.values().all(|&count| count >= QUERIES / 2 - 2), "{vip}: {replies:?}");
        let flow = Flow { protocol: 17, vip: Ipv4Addr::new(10, 9, 9, last).into(), l4_port: 53 };
        let key = json!({ "protocol": "udp", "address": vip, "l4_port": 53 });
        let count = || {
            let wire = capture.count(flow);
            Counts { connections: wire.in_packets, ..wire }
        };
        counters::agree(&daemon, &key, count, false)?;
        assert_eq!(counters::service(&daemon, &key)?["live"]["connections"], QUERIES);
        wait::until("the estimator has seen the queries", || {
            let service = counters::service(&daemon, &key)?;
            Ok((service["stats"] == service["live"]).then_some(()))
        })?;
    }
    let left = counters::connections(&daemon, false)?;
    assert!(left.iter().all(|connection| connection["protocol"] != "udp"), "queries left {left:?}");
    let text = daemon.pollux("list --stats --exact")?;
    let line = text.lines().find(|line| line.contains("10.9.9.2:53")).unwrap_or_default();
    assert!(line.split_whitespace().nth(2) == Some("20"), "{text}");
    daemon.accounts_for_all_packets()
}

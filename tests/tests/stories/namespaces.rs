//! Namespaces: two networks with the same addresses behind one daemon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pollux_tests::bed::command::Result;
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

const URL: &str = "http://10.9.9.1/";

/// Adds the namespace of the other network, whose only server is `web2`.
fn add_blue(daemon: &Daemon, other: &Bed) -> Result<()> {
    let netns = &other.balancer.name;
    daemon.pollux(&format!("namespace add blue --port 2 --port net_af_packet3 --netns {netns}"))?;
    for (address, twin) in [("10.1.0.254/24", "pollux2"), ("10.2.0.254/24", "pollux3")] {
        other.balancer.address(address, twin)?;
    }
    daemon.pollux("-N blue service add tcp 10.9.9.1:80 --scheduler rr")?;
    daemon.pollux("-N blue destination add tcp 10.9.9.1:80 10.2.0.12:80 --method nat")?;
    wait::until("blue answers", || Ok(other.client.get(URL).ok()))?;
    Ok(())
}

/// Returns the destinations of a namespace's connections.
fn servers(daemon: &Daemon, namespace: &str) -> Result<Vec<String>> {
    let page = daemon.json(&format!("-N {namespace} connections --all"))?;
    let connections = page["connections"].as_array().cloned().unwrap_or_default();
    let mut servers: Vec<String> =
        connections.iter().filter_map(|c| c["destination"].as_str().map(str::to_owned)).collect();
    servers.sort();
    servers.dedup();
    Ok(servers)
}

/// Returns a counter of a namespace's totals.
fn counted(daemon: &Daemon, namespace: &str, name: &str) -> Result<u64> {
    let stats = daemon.json(&format!("-N {namespace} stats"))?;
    Ok(stats["live"][name].as_u64().unwrap_or_default())
}

pub fn same_addresses() -> Result<()> {
    let (bed, other) = (Bed::new(1)?, Bed::new(2)?);
    let daemon = bed.daemon_on_both(&other, &config(&rules::HTTP[..1], 1), 2)?;
    wait::until("the default namespace answers", || Ok(bed.client.get(URL).ok()))?;
    add_blue(&daemon, &other)?;
    let before = counted(&daemon, "default", "connections")?;
    for _ in 0..4 {
        assert_eq!((bed.client.get(URL)?, other.client.get(URL)?), ("web1".to_owned(), "web2".to_owned()));
    }
    // Each namespace's kernel replies in its own network.
    for client in [&bed.client, &other.client] {
        client.ping("10.9.9.1")?;
        client.ping("10.1.0.254")?;
    }
    assert_eq!(servers(&daemon, "default")?, ["10.2.0.11:80"]);
    assert_eq!(servers(&daemon, "blue")?, ["10.2.0.12:80"]);
    assert_eq!(counted(&daemon, "default", "connections")?, before + 4);
    assert!(daemon.pollux("-N blue destination add tcp 10.9.9.1:80 10.2.0.11:80 --method nat").is_ok());
    let both: Vec<_> = (0..4).map(|_| other.client.get(URL)).collect::<Result<_>>()?;
    assert!(both.contains(&"web1".to_owned()) && both.contains(&"web2".to_owned()), "{both:?}");
    daemon.accounts_for_all_packets()?;
    removed_under_traffic(&bed, &other, &daemon)
}

fn removed_under_traffic(bed: &Bed, other: &Bed, daemon: &Daemon) -> Result<()> {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                // Downloads fail once the namespace is removed.
                let _ = download(other);
            }
        });
        let removed = while_packets_flow(daemon, || daemon.pollux("namespace remove blue"));
        end.store(true, Ordering::Relaxed);
        removed
    })?;
    assert!(daemon.pollux("-N blue list").is_err(), "namespace blue still exists");
    assert!(other.balancer.ip("link show pollux2").is_err(), "its TAP twin still exists");
    assert_eq!(bed.client.get(URL)?, "web1");
    let there = daemon.json("namespace list")?;
    assert_eq!(there["namespaces"].as_array().map(Vec::len), Some(1), "{there}");
    add_blue(daemon, other)?;
    assert!(counted(daemon, "blue", "connections")? <= 3, "the new namespace starts with empty counters");
    daemon.accounts_for_all_packets()
}

/// Runs `remove` once a megabyte of the download has passed the namespace.
fn while_packets_flow<T>(daemon: &Daemon, remove: impl FnOnce() -> Result<T>) -> Result<T> {
    let bytes = || counted(daemon, "blue", "out_bytes");
    let before = bytes()?;
    wait::until("a megabyte passes namespace blue", || Ok((bytes()? > before + 1_000_000).then_some(())))?;
    remove()
}

fn download(other: &Bed) -> Result<()> {
    let mut curl = other.client.curl();
    curl.args(["--max-time", "2", "--output", "/dev/null", "http://10.9.9.1/big"]);
    pollux_tests::bed::command::output(&mut curl).map(|_| ())
}

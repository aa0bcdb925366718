//! Stories of namespaces: two worlds with the same addresses behind one daemon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pollux_tests::bed::command::Result;
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

const URL: &str = "http://10.9.9.1/";

/// Makes the namespace of the other world, whose only server is `web2`.
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

/// Where the connections of a namespace go.
fn servers(daemon: &Daemon, namespace: &str) -> Result<Vec<String>> {
    let page = daemon.json(&format!("-N {namespace} connections --all"))?;
    let connections = page["connections"].as_array().cloned().unwrap_or_default();
    let mut servers: Vec<String> =
        connections.iter().filter_map(|c| c["destination"].as_str().map(str::to_owned)).collect();
    servers.sort();
    servers.dedup();
    Ok(servers)
}

fn counted(daemon: &Daemon, namespace: &str) -> Result<u64> {
    let stats = daemon.json(&format!("-N {namespace} stats"))?;
    Ok(stats["totals"]["connections"].as_u64().unwrap_or_default())
}

pub fn same_addresses() -> Result<()> {
    let (bed, other) = (Bed::new(1)?, Bed::new(2)?);
    let daemon = bed.daemon_of_both(&other, &config(&rules::HTTP[..1], 1), 2)?;
    wait::until("the default namespace answers", || Ok(bed.client.get(URL).ok()))?;
    add_blue(&daemon, &other)?;
    let before = counted(&daemon, "default")?;
    for _ in 0..4 {
        assert_eq!((bed.client.get(URL)?, other.client.get(URL)?), ("web1".to_owned(), "web2".to_owned()));
    }
    // Each kernel answers in its own network.
    for client in [&bed.client, &other.client] {
        client.ping("10.9.9.1")?;
        client.ping("10.1.0.254")?;
    }
    assert_eq!(servers(&daemon, "default")?, ["10.2.0.11:80"]);
    assert_eq!(servers(&daemon, "blue")?, ["10.2.0.12:80"]);
    assert_eq!(counted(&daemon, "default")?, before + 4);
    assert!(daemon.pollux("-N blue destination add tcp 10.9.9.1:80 10.2.0.11:80 --method nat").is_ok());
    let both: Vec<_> = (0..4).map(|_| other.client.get(URL)).collect::<Result<_>>()?;
    assert!(both.contains(&"web1".to_owned()) && both.contains(&"web2".to_owned()), "{both:?}");
    daemon.balanced()?;
    removed_under_traffic(&bed, &other, &daemon)
}

fn removed_under_traffic(bed: &Bed, other: &Bed, daemon: &Daemon) -> Result<()> {
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                // It fails from the moment on when the namespace is gone.
                let _ = download(other);
            }
        });
        thread::sleep(std::time::Duration::from_millis(500));
        let removed = daemon.pollux("namespace remove blue");
        end.store(true, Ordering::Relaxed);
        removed
    })?;
    assert!(daemon.pollux("-N blue list").is_err(), "it is still there");
    assert!(other.balancer.ip("link show pollux2").is_err(), "its twin is still there");
    assert_eq!(bed.client.get(URL)?, "web1");
    let there = daemon.json("namespace list")?;
    assert_eq!(there["namespaces"].as_array().map(Vec::len), Some(1), "{there}");
    add_blue(daemon, other)?;
    assert!(counted(daemon, "blue")? <= 3, "it knows of what was before");
    daemon.balanced()
}

fn download(other: &Bed) -> Result<()> {
    let mut curl = other.client.curl();
    curl.args(["--max-time", "2", "--output", "/dev/null", "http://10.9.9.1/big"]);
    pollux_tests::bed::command::output(&mut curl).map(|_| ())
}

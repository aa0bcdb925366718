//! A SYN flood: half-open connections are expired early, and a download continues.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use pollux_tests::bed::capture::{Capture, Flow};
use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::raw::{Raw, syn};
use pollux_tests::bed::rules;
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);
/// Maximum number of SYNs; the flood ends with the download.
const SYNS: u16 = 4000;
/// Interval between bursts; the rate is one SYN per millisecond on average.
const PAUSE: Duration = Duration::from_millis(10);

fn sum(daemon: &Daemon, name: &str) -> Result<u64> {
    let stats = daemon.json("stats")?;
    let workers = stats["workers"].as_array().cloned().unwrap_or_default();
    Ok(workers.iter().filter_map(|worker| worker[name].as_u64()).sum())
}

pub fn flood() -> Result<()> {
    let bed = Bed::new(1)?;
    // A small table, so that a scan of a part of it soon finds the flood.
    let text = rules::config(&[rules::HTTP[0]], 1)
        .replace("ipv4 = 65536", "ipv4 = 4096")
        .replace("ipv6 = 65536", "ipv6 = 16");
    let daemon = bed.daemon(&text, 1)?;
    warm_up(&bed)?;
    daemon.pollux("sysctl drop_entry=3")?;
    let capture = Capture::new(&bed.client.namespace)?;
    let before =
        counters::service(&daemon, &json!({ "address": "10.9.9.1" }))?["live"]["connections"].as_u64();
    let mut curl = bed.client.curl();
    let mut download =
        curl.args(["--limit-rate", "2M", "--output", "/dev/null", "http://10.9.9.1/big"]).spawn()?;
    let raw = Raw::open(&bed.client.namespace, 6)?;
    let (mut ports, began) = (20_000..20_000 + SYNS, Instant::now());
    let status = loop {
        let due = began.elapsed().as_millis().min(SYNS.into()) as u16;
        let sent = ports.start - 20_000;
        for port in ports.by_ref().take(due.saturating_sub(sent).into()) {
            let from = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), port);
            raw.send(VIP, &syn(from, SocketAddrV4::new(VIP, 80)))?;
        }
        if let Some(status) = download.try_wait()? {
            break status;
        }
        std::thread::sleep(PAUSE); // the flood's pace, not a wait for a fact
    };
    assert!(status.success(), "the download broke under the flood");
    let sent = u64::from(ports.start - 20_000);
    assert!(sent >= 2000, "the download ended after {sent} SYNs");
    wait::until("half-open connections end early", || {
        let there = sum(&daemon, "connections")? < sent;
        Ok((there && sum(&daemon, "expired_early")? > 0).then_some(()))
    })
    .map_err(|error| {
        Error(format!(
            "{error}\n{}\n{}",
            daemon.pollux("sysctl drop_entry").unwrap_or_default(),
            daemon.pollux("connections --limit 10").unwrap_or_default()
        ))
    })?;
    let flow = Flow { protocol: 6, vip: VIP.into(), l4_port: 80 };
    let wire = capture.count(flow);
    assert_eq!(wire.connections, sent + 1);
    // A late RST of a client whose connection was expired early goes to the kernel, so packet counts agree only roughly.
    let live = counters::service(&daemon, &json!({ "address": "10.9.9.1" }))?["live"].take();
    assert_eq!(live["connections"].as_u64(), before.map(|before| before + sent + 1), "{live}");
    assert!(live["in_packets"].as_u64() >= Some(sent), "{live}");
    assert_eq!(bed.client.get("http://10.9.9.1/")?, "web1");
    daemon.accounts_for_all_packets()
}

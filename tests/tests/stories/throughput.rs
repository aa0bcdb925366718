//! Stories of high traffic with `iperf3`, limited in rate and time.

use std::net::Ipv4Addr;

use pollux_tests::bed::Bed;
use pollux_tests::bed::capture::{Capture, Counts, Flow};
use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::process::Process;
use pollux_tests::bed::rules::{self, config};
use serde_json::{Value, json};

use super::counters;
use super::http::warm_up;

/// Share of datagrams that may be lost on a machine with shared CPUs.
const LOSS: f64 = 0.01;

const UDP: u8 = 17;
const ICMPV6: u8 = 58;

fn server(bed: &Bed, bind: &str) -> Result<Process> {
    let mut command = bed.servers[0].namespace.command("iperf3");
    command.args(["--server", "--forceflush", "--bind", bind]);
    let mut process = bed.process(&format!("iperf3-{bind}"), &mut command)?;
    process.until("iperf3 listens", |log| Ok(log.contains("Server listening").then_some(())))?;
    Ok(process)
}

fn measure(bed: &Bed, words: &str) -> Result<Value> {
    let mut command = bed.client.namespace.command("iperf3");
    command.args(["--json", "--connect-timeout", "5000"]).args(words.split_whitespace());
    Ok(serde_json::from_str(&output(&mut command)?)?)
}

fn service(protocol: &str, vip: &str, method: &str) -> String {
    let head = format!("protocol = \"{protocol}\"\naddress = \"{vip}\"\nl4_port = 5201");
    rules::service(&head, &format!("l4_port = 5201\nmethod = \"{method}\""), 1)
}

fn no_fragment_drops(daemon: &Daemon) -> Result<()> {
    let stats = daemon.json("stats")?;
    for worker in stats["workers"].as_array().into_iter().flatten() {
        let drops = worker["drops"].as_object().into_iter().flatten();
        let of_fragments: Vec<_> =
            drops.filter(|(word, count)| word.contains("fragment") && **count != 0).collect();
        assert!(of_fragments.is_empty(), "{of_fragments:?}");
    }
    Ok(())
}

/// IPv6, because Linux reassembles IPv4 fragments before `net_af_packet` sees them (`PACKET_FANOUT_FLAG_DEFRAG`), and the
/// driver then truncates packets longer than its frames.
pub fn fragments() -> Result<()> {
    let bed = Bed::new(1)?;
    let _iperf = server(&bed, "fd00:2::11")?;
    let services = [("udp", "fd00:9::1"), ("tcp", "fd00:9::1")];
    let services =
        services.map(|(protocol, vip)| service(protocol, vip, "nat").replace("10.2.0.", "fd00:2::"));
    let daemon = bed.daemon(&(config(&[rules::HTTP[0]], 1) + &services.concat()), 2)?;
    warm_up(&bed)?;
    let (before, behind) = (Capture::new(&bed.client.namespace)?, Capture::new(&bed.servers[0].namespace)?);
    for way in ["", "--reverse"] {
        measure(&bed, &format!("--client fd00:9::1 --udp --bitrate 20M --length 8000 --time 2 {way}"))?;
    }
    no_fragment_drops(&daemon)?;
    let to = |protocol, end: &str| Flow { protocol, vip: end.parse().expect("an address"), l4_port: 0 };
    let flow = |end: &str| to(UDP, end);
    let count = || (before.count(flow("fd00:9::1")), behind.count(flow("fd00:2::11")));
    let (wire, server) = count();
    assert!(wire.in_packets > 500 && wire.out_packets > 500, "the capture counted {wire:?}");
    for (sent, received) in [(wire.in_packets, server.in_packets), (server.out_packets, wire.out_packets)] {
        assert!((received as f64) >= sent as f64 * (1.0 - LOSS), "{received} of {sent} datagrams arrived");
    }
    let key = json!({ "protocol": "udp", "address": "fd00:9::1" });
    // Datagrams that arrive after iperf3 has closed its socket cause ICMP errors, which count too.
    let errors = || Counts { connections: 0, ..before.count(to(ICMPV6, "fd00:9::1")) };
    counters::agree(&daemon, &key, || count().0.plus(errors()), true)?;
    daemon.accounts_for_all_packets()
}

pub fn stream() -> Result<()> {
    let bed = Bed::new(1)?;
    let _iperf = server(&bed, "10.9.9.2")?;
    let text = config(&[rules::HTTP[0]], 1) + &service("tcp", "10.9.9.2", "dr");
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let end = measure(&bed, "--client 10.9.9.2 --bitrate 50M --time 2")?["end"].take();
    let [sent, received] = ["sum_sent", "sum_received"].map(|sum| end[sum]["bytes"].as_u64().unwrap_or(0));
    assert!(received > 1_000_000 && received <= sent, "sent {sent}, received {received}");
    assert!(sent - received < 1_000_000, "sent {sent}, received {received}");
    let key = json!({ "protocol": "tcp", "address": "10.9.9.2" });
    let flow = Flow { protocol: 6, vip: Ipv4Addr::new(10, 9, 9, 2).into(), l4_port: 5201 };
    counters::agree(&daemon, &key, || capture.count(flow), false)?;
    daemon.accounts_for_all_packets()
}

//! Stories of much traffic at once, by `iperf3`: bounded in rate and time.

use std::net::Ipv4Addr;

use pollux_tests::bed::Bed;
use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::process::Process;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::witness::{Flow, Witness};
use serde_json::{Value, json};

use super::counters;
use super::http::all_answer;

/// Percent of datagrams that may be lost on a machine whose CPUs are shared with others.
const LOSS: f64 = 1.0;

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

pub fn fragments() -> Result<()> {
    let bed = Bed::new(1)?;
    let _iperf = server(&bed, "10.2.0.11")?;
    let text = config(&[rules::HTTP[0]], 1)
        + &service("udp", "10.9.9.1", "nat")
        + &service("tcp", "10.9.9.1", "nat");
    let daemon = bed.daemon(&text, 2)?;
    all_answer(&bed, &[rules::HTTP[0]])?;
    let witness = Witness::new(&bed.client.namespace)?;
    for way in ["", "--reverse"] {
        let words = format!("--client 10.9.9.1 --udp --bitrate 20M --length 8000 --time 2 {way}");
        let end = measure(&bed, &words)?["end"]["sum"].take();
        assert!(end["packets"].as_u64() > Some(100), "iperf3 {way}: {end:#}");
        assert!(end["lost_percent"].as_f64().is_some_and(|lost| lost <= LOSS), "iperf3 {way}: {end:#}");
    }
    no_fragment_drops(&daemon)?;
    let key = json!({ "protocol": "udp", "address": "10.9.9.1" });
    let flow = Flow { protocol: 17, vip: Ipv4Addr::new(10, 9, 9, 1), l4_port: 0 };
    // Two runs, a flow each; fragments past the first have no ports to tell flows by and are counted all the same.
    counters::agree(&daemon, &key, || witness.count(flow), true)?;
    daemon.balanced()
}

pub fn stream() -> Result<()> {
    let bed = Bed::new(1)?;
    let _iperf = server(&bed, "10.9.9.2")?;
    let text = config(&[rules::HTTP[0]], 1) + &service("tcp", "10.9.9.2", "dr");
    let daemon = bed.daemon(&text, 2)?;
    all_answer(&bed, &[rules::HTTP[0]])?;
    let witness = Witness::new(&bed.client.namespace)?;
    let end = measure(&bed, "--client 10.9.9.2 --bitrate 50M --time 2")?["end"].take();
    let [sent, received] = ["sum_sent", "sum_received"].map(|sum| end[sum]["bytes"].as_u64().unwrap_or(0));
    assert!(received > 1_000_000 && received <= sent, "sent {sent}, received {received}");
    assert!(sent - received < 1_000_000, "sent {sent}, received {received}");
    let key = json!({ "protocol": "tcp", "address": "10.9.9.2" });
    let flow = Flow { protocol: 6, vip: Ipv4Addr::new(10, 9, 9, 2), l4_port: 5201 };
    counters::agree(&daemon, &key, || witness.count(flow), false)?;
    daemon.balanced()
}

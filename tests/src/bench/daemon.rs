//! `polluxd` with static facts on the same port: warm-up until every flow is known, then a window is counted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{Setup, WINDOW};
use crate::bed::command::{Result, Trouble, output, program};
use crate::bed::ledger::Ledger;
use crate::bed::process::Process;
use crate::bed::wait;

/// What a window of the daemon showed.
pub struct Window {
    /// Busy cycles per received packet.
    pub cycles: f64,
    /// Millions of packets a second, by the wall clock.
    pub mpps: f64,
    /// Bytes of the table per connection it can hold.
    pub bytes_per_connection: f64,
}

/// Runs the daemon with one service of this method and counts a window.
///
/// # Errors
/// When it does not start, or does not forward every flow.
pub fn measure(setup: &Setup, method: &str) -> Result<Window> {
    let ledger = Ledger::open()?;
    let socket = ledger.directory().join("pollux.sock");
    let file = ledger.directory().join("pollux.toml");
    fs::write(&file, config(setup, method))?;
    let mut command = Command::new(program("polluxd")?);
    command.args(setup.eal(&ledger.prefix));
    command.arg("--").arg("--config").arg(&file).arg("--socket").arg(&socket).arg("--no-state");
    let mut process = Process::start(&ledger, "polluxd", &mut command)?;
    process.until("polluxd is ready", |log| Ok(log.contains("polluxd: ready").then_some(())))?;
    let mut last = Value::Null;
    wait::until("every flow has a connection, and was seen three times", || {
        last = stats(&socket)?;
        let known = count(&last, "connections") == u64::from(setup.flows);
        Ok((known && count(&last, "received") > 3 * u64::from(setup.flows)).then_some(()))
    })
    .map_err(|error| Trouble(format!("{error}\n{last:#}")))?;
    let before = stats(&socket)?;
    let clock = Instant::now();
    std::thread::sleep(WINDOW);
    let after = stats(&socket)?;
    let seconds = clock.elapsed().as_secs_f64();
    let grew = |name: &str| (count(&after, name) - count(&before, name)) as f64;
    if grew("received") == 0.0 || (grew("sent") / grew("received")) < 0.999 {
        return Err(Trouble(format!("polluxd did not forward every packet of the window:\n{after:#}")));
    }
    Ok(Window {
        cycles: grew("busy_cycles") / grew("received"),
        mpps: grew("received") / seconds / 1e6,
        bytes_per_connection: count(&after, "table_bytes") as f64
            / count(&after, "connection_capacity") as f64,
    })
}

fn stats(socket: &Path) -> Result<Value> {
    let mut command = Command::new(program("pollux")?);
    let text = output(command.arg("--socket").arg(socket).args(["--json", "stats"]))?;
    Ok(serde_json::from_str(&text)?)
}

fn count(stats: &Value, name: &str) -> u64 {
    stats["workers"].as_array().into_iter().flatten().filter_map(|worker| worker[name].as_u64()).sum()
}

/// One UDP service over three servers, and all that is known of the network.
fn config(setup: &Setup, method: &str) -> String {
    // A tenth to spare: flows spread over the index by chance.
    let capacity = setup.flows + setup.flows / 10 + 1000;
    let mut text = format!(
        "[start]\nkernel = false\nconnections_ipv4 = {capacity}\nconnections_ipv6 = 1024\npacket_buffers = {}\n\
         [[services]]\nprotocol = \"udp\"\naddress = \"10.9.9.1\"\nl4_port = 80\nscheduler = \"rr\"\n",
        setup.buffers()
    );
    for last in 11..=13 {
        text += &format!(
            "[[services.destinations]]\naddress = \"10.2.0.{last}\"\nl4_port = 80\nmethod = \"{method}\"\n"
        );
    }
    text += "[facts]\n\
        links = [{ name = \"p0\", port = \"net_pcap0\", mac = \"02:70:63:61:70:00\", mtu = 1500 }]\n\
        addresses = [\n\
        { address = \"10.2.0.254\", prefix_len = 24, link = \"p0\" },\n\
        { address = \"10.9.9.1\", prefix_len = 32, link = \"lo\" }]\n\
        routes = [\n\
        { destination = \"0.0.0.0/0\", via = \"10.2.0.1\", link = \"p0\" },\n\
        { destination = \"10.2.0.0/24\", link = \"p0\" },\n\
        { destination = \"10.2.0.254/32\", kind = \"local\", link = \"p0\" },\n\
        { destination = \"10.9.9.1/32\", kind = \"local\", link = \"lo\" }]\n\
        neighbours = [\n";
    for last in [1, 11, 12, 13] {
        text += &format!(
            "{{ link = \"p0\", address = \"10.2.0.{last}\", mac = \"02:00:00:00:02:{last:02x}\" }},\n"
        );
    }
    text + "]\n"
}

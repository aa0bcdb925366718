//! `polluxd` with static network configuration on the same ports: after a warm-up in which every flow becomes known, a window is counted.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::kinds::Method;
use super::{Setup, world};
use pollux_tests::bed::command::{Error, Result, output, program};
use pollux_tests::bed::process::Process;
use pollux_tests::bed::resources::Resources;
use pollux_tests::bed::wait;

/// Results of one window.
pub struct Window {
    /// Busy cycles per received packet.
    pub cycles: f64,
    /// Mpps by the wall clock.
    pub mpps: f64,
    /// Bytes of the table per connection of its capacity.
    pub bytes_per_connection: f64,
}

/// Runs the daemon with one service of this method and counts a window.
///
/// # Errors
/// If it does not start or does not forward every packet.
pub fn measure(setup: &Setup<'_>, method: Method) -> Result<Window> {
    let resources = Resources::open()?;
    let socket = resources.directory().join("pollux.sock");
    let file = resources.directory().join("pollux.toml");
    fs::write(&file, config(setup, method))?;
    let mut command = Command::new(program("polluxd")?);
    command.args(setup.eal(&resources.prefix));
    command.arg("--").arg("--config").arg(&file).arg("--socket").arg(&socket).arg("--no-state");
    let mut process = Process::start(&resources, "polluxd", &mut command)?;
    process.until("polluxd is ready", |log| Ok(log.contains("polluxd: ready").then_some(())))?;
    let mut last = Value::Null;
    let flows = u64::from(setup.traffic.flows);
    let enough = 3 * flows.max(setup.files.packets as u64);
    wait::until("every flow has a connection, and was seen three times", || {
        last = stats(&socket)?;
        let known = count(&last, "connections") == flows;
        Ok((known && count(&last, "received") > enough).then_some(()))
    })
    .map_err(|error| Error(format!("{error}\n{last:#}")))?;
    let before = stats(&socket)?;
    let clock = Instant::now();
    std::thread::sleep(setup.window);
    let after = stats(&socket)?;
    let seconds = clock.elapsed().as_secs_f64();
    let grew = |name: &str| (count(&after, name) - count(&before, name)) as f64;
    if grew("received") == 0.0 || (grew("sent") / grew("received")) < 0.999 {
        return Err(Error(format!("polluxd did not forward every packet of the window:\n{after:#}")));
    }
    Ok(Window {
        cycles: grew("busy_cycles") / grew("received"),
        mpps: grew("received") / seconds / 1e6,
        bytes_per_connection: count(&after, "table_bytes") as f64
            / count(&after, "connection_capacity") as f64,
    })
}

/// Returns the reply to `pollux stats`.
///
/// # Errors
/// If the daemon does not answer.
pub fn stats(socket: &Path) -> Result<Value> {
    let mut command = Command::new(program("pollux")?);
    let text = output(command.arg("--socket").arg(socket).args(["--json", "stats"]))?;
    Ok(serde_json::from_str(&text)?)
}

/// Returns the sum of a counter over all workers.
pub fn count(stats: &Value, name: &str) -> u64 {
    stats["workers"].as_array().into_iter().flatten().filter_map(|worker| worker[name].as_u64()).sum()
}

fn config(setup: &Setup<'_>, method: Method) -> String {
    let flows = setup.traffic.flows;
    world::config(&world::Plan {
        family: setup.traffic.family,
        method,
        protocol: "udp",
        scheduler: "sh",
        ports: &world::PORTS[..setup.files.looped.len() + usize::from(setup.files.first.is_some())],
        inside: usize::from(method.is_mixed()),
        key: None,
        // 10 % spare: flows are hashed, so the index does not fill evenly.
        connections: flows + flows / 10 + 1000,
        buffers: setup.buffers(),
        settings: "",
    })
}

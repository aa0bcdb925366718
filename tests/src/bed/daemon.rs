//! `polluxd` in the balancer's namespace, and `pollux` to ask it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::command::{Result, Trouble, output, program};
use super::ledger::Ledger;
use super::namespace::Namespace;
use super::process::Process;
use super::wait;

/// What DPDK sees the ports as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The interfaces themselves, by `net_af_packet`, which has no interrupts.
    Packet,
    /// TAPs beside them, by `net_tap`, which has.
    Tap,
}

impl Device {
    fn vdev(self, number: usize, iface: &str, queues: usize) -> String {
        match self {
            Device::Packet => format!("--vdev=net_af_packet{number},iface={iface},qpairs={queues}"),
            Device::Tap => format!("--vdev=net_tap{number},iface={}", tap(iface)),
        }
    }
}

/// The TAP beside an interface.
pub(super) fn tap(iface: &str) -> String {
    format!("{iface}-tap")
}

/// A daemon that forwards; it is killed when this is dropped.
pub struct Daemon {
    process: Process,
    socket: PathBuf,
    config: PathBuf,
}

impl Daemon {
    pub(super) fn start(
        ledger: &Ledger,
        balancer: &Namespace,
        config: &str,
        (workers, options): (usize, &[&str]),
        (device, ports): (Device, &[&str]),
    ) -> Result<Daemon> {
        let socket = ledger.directory().join("pollux.sock");
        let file = ledger.directory().join("pollux.toml");
        fs::write(&file, config)?;
        // Core 0 is for control; with more workers than CPUs they share.
        let cpus = std::thread::available_parallelism()?.get();
        let lcores: Vec<_> = (0..=workers).map(|lcore| format!("{lcore}@{}", lcore % cpus)).collect();
        let mut command = balancer.command(program("polluxd")?);
        command.arg(format!("--lcores={}", lcores.join(",")));
        command.args(["--no-huge", "-m", "512", "--no-pci", "--no-telemetry"]);
        command.arg(format!("--file-prefix={}", ledger.prefix));
        for (number, iface) in ports.iter().enumerate() {
            command.arg(device.vdev(number, iface, workers));
        }
        command.arg("--").arg("--config").arg(&file).arg("--socket").arg(&socket);
        command.arg("--state").arg(ledger.directory().join("state.json"));
        command.args(options);
        let mut process = Process::start(ledger, "polluxd", &mut command)?;
        process.until("polluxd is ready", |log| Ok(log.contains("polluxd: ready").then_some(())))?;
        for (address, twin) in [
            ("10.1.0.254/24", "pollux0"),
            ("fd00:1::254/64", "pollux0"),
            ("10.2.0.254/24", "pollux1"),
            ("fd00:2::254/64", "pollux1"),
        ] {
            balancer.address(address, twin)?;
        }
        Ok(Daemon { process, socket, config: file })
    }

    /// The file it was started with.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Sends it a signal by its name, as `kill -NAME` does.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, name: &str) -> Result<()> {
        output(Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string())).map(drop)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens for requests.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Runs `pollux` with these words and gives what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn pollux(&self, words: &str) -> Result<String> {
        let mut command = Command::new(program("pollux")?);
        command.arg("--socket").arg(&self.socket).args(words.split_whitespace());
        output(&mut command)
    }

    /// Runs `pollux --json` and reads the answer.
    ///
    /// # Errors
    /// When it fails or answers no JSON.
    pub fn json(&self, words: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.pollux(&format!("--json {words}"))?)?)
    }

    /// Kills it without a warning and waits until it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Waits until it has ended by itself, as after `pollux stop`.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn ended(&mut self) -> Result<()> {
        self.process.ended()
    }

    /// Waits until every packet that came in has one fate: in = out + dropped + to the kernel + held.
    ///
    /// # Errors
    /// When the sums differ for good; the message has them.
    pub fn balanced(&self) -> Result<()> {
        let mut last = Value::Null;
        wait::until("packets in = out + dropped + to the kernel + held", || {
            last = self.json("stats")?;
            Ok(adds_up(&last).then_some(()))
        })
        .map_err(|error| Trouble(format!("{error}\n{last:#}")))
    }
}

/// Packets from ports and from the kernel, and pieces that were made of them, against those sent (answers among them),
/// dropped, waiting, gathered or the kernel's.
fn adds_up(stats: &Value) -> bool {
    let workers = stats["workers"].as_array().map_or(&[][..], Vec::as_slice);
    let sum = |name: &str| -> u64 { workers.iter().filter_map(|worker| worker[name].as_u64()).sum() };
    let inner = |name: &str| -> u64 {
        let maps = workers.iter().filter_map(|worker| worker[name].as_object());
        maps.flat_map(|map| map.values()).filter_map(Value::as_u64).sum()
    };
    let came = sum("received") + sum("handoff_received") + sum("from_kernel") + sum("fragments_sent");
    let held = sum("awaiting_neighbour") + sum("reassembling");
    let went = sum("sent") + sum("to_kernel") + sum("handoff_sent") + held + inner("drops");
    came > 0 && came == went
}

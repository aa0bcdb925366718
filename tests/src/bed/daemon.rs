//! `polluxd` in the balancer's namespace, and `pollux` commands to it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::command::{Error, Result, output, program};
use super::namespace::Namespace;
use super::process::Process;
use super::resources::Resources;
use super::wait;

/// DPDK driver of the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// `net_af_packet` on the interfaces; it has no interrupts.
    Packet,
    /// `net_tap`, TAPs bridged to the interfaces; it has interrupts.
    Tap,
    /// `--interface` in this mode.
    Interface(&'static str),
}

impl Device {
    /// The argument for `polluxd`, before `--`.
    fn argument(self, number: usize, iface: &str, queues: usize) -> Option<String> {
        match self {
            Device::Packet => Some(format!("--vdev=net_af_packet{number},iface={iface},qpairs={queues}")),
            Device::Tap => Some(format!("--vdev=net_tap{number},iface={}", tap(iface))),
            Device::Interface(_) => None,
        }
    }

    /// The option of `polluxd`, after `--`.
    fn option(self, iface: &str) -> Option<String> {
        match self {
            Device::Interface(mode) => Some(format!("--interface={iface},{mode}")),
            Device::Packet | Device::Tap => None,
        }
    }
}

/// Returns the name of an interface's TAP.
pub(super) fn tap(iface: &str) -> String {
    format!("{iface}-tap")
}

/// Addresses of the balancer on the twins.
pub(super) const TWINS: [(&str, &str); 4] = [
    ("10.1.0.254/24", "pollux0"),
    ("fd00:1::254/64", "pollux0"),
    ("10.2.0.254/24", "pollux1"),
    ("fd00:2::254/64", "pollux1"),
];

/// A running daemon; it is killed when this is dropped.
pub struct Daemon {
    process: Process,
    socket: PathBuf,
    config: PathBuf,
}

impl Daemon {
    pub(super) fn start(
        resources: &Resources,
        balancer: &Namespace,
        config: &str,
        (workers, options): (usize, &[&str]),
        (device, ports): (Device, &[&str]),
    ) -> Result<Daemon> {
        let socket = resources.directory().join("pollux.sock");
        let file = resources.directory().join("pollux.toml");
        fs::write(&file, config)?;
        // Lcore 0 is for control. With more workers than CPUs, lcores share CPUs.
        let cpus = std::thread::available_parallelism()?.get();
        let lcores: Vec<_> = (0..=workers).map(|lcore| format!("{lcore}@{}", lcore % cpus)).collect();
        let mut command = balancer.command(program("polluxd")?);
        command.arg(format!("--lcores={}", lcores.join(",")));
        command.args(["--no-huge", "-m", "512", "--no-pci", "--no-telemetry"]);
        command.arg(format!("--file-prefix={}", resources.prefix));
        for (number, iface) in ports.iter().enumerate() {
            command.args(device.argument(number, iface, workers));
        }
        command.arg("--").arg("--config").arg(&file).arg("--socket").arg(&socket);
        command.arg("--state").arg(resources.directory().join("state.json"));
        command.args(ports.iter().filter_map(|iface| device.option(iface))).args(options);
        let mut process = Process::start(resources, "polluxd", &mut command)?;
        process.until("polluxd is ready", |log| Ok(log.contains("polluxd: ready").then_some(())))?;
        for (address, twin) in TWINS {
            balancer.address(address, twin)?;
        }
        Ok(Daemon { process, socket, config: file })
    }

    /// Returns the configuration file it was started with.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// Sends a signal by name, as `kill -NAME` does.
    ///
    /// # Errors
    /// If it has exited.
    pub fn signal(&self, name: &str) -> Result<()> {
        output(Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string())).map(drop)
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns its control socket.
    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Runs `pollux` with these arguments and returns its output.
    ///
    /// # Errors
    /// If it fails.
    pub fn pollux(&self, words: &str) -> Result<String> {
        let mut command = Command::new(program("pollux")?);
        command.arg("--socket").arg(&self.socket).args(words.split_whitespace());
        output(&mut command)
    }

    /// Runs `pollux --json` and parses the reply.
    ///
    /// # Errors
    /// If it fails or the reply is not JSON.
    pub fn json(&self, words: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.pollux(&format!("--json {words}"))?)?)
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Waits until it has exited by itself, as after `pollux stop`.
    ///
    /// # Errors
    /// If it does not exit, or not with success.
    pub fn wait_exit(&mut self) -> Result<()> {
        self.process.wait_exit()
    }

    /// Waits until all packets are accounted for: in = out + dropped + to the kernel + held.
    ///
    /// # Errors
    /// If the sums still differ after the time limit; the message contains them.
    pub fn accounts_for_all_packets(&self) -> Result<()> {
        accounts_for_all_packets(|| self.json("stats"))
    }
}

/// As [`Daemon::accounts_for_all_packets`], with a function that returns the statistics.
pub(super) fn accounts_for_all_packets(stats: impl Fn() -> Result<Value>) -> Result<()> {
    let mut last = Value::Null;
    wait::until("packets in = out + dropped + to the kernel + held", || {
        last = stats()?;
        Ok(is_balanced(&last).then_some(()))
    })
    .map_err(|error| Error(format!("{error}\n{last:#}")))
}

/// Compares packets from ports and from the kernel, and additional fragments, with packets sent (including ICMP errors),
/// dropped, awaiting a neighbour, in reassembly, or sent to the kernel.
fn is_balanced(stats: &Value) -> bool {
    let workers = stats["workers"].as_array().map_or(&[][..], Vec::as_slice);
    let sum = |name: &str| -> u64 { workers.iter().filter_map(|worker| worker[name].as_u64()).sum() };
    let inner = |name: &str| -> u64 {
        let maps = workers.iter().filter_map(|worker| worker[name].as_object());
        maps.flat_map(|map| map.values()).filter_map(Value::as_u64).sum()
    };
    let received = sum("received") + sum("handoff_received") + sum("from_kernel") + sum("fragments_sent");
    let held = sum("awaiting_neighbour") + sum("reassembling");
    let processed = sum("sent") + sum("to_kernel") + sum("handoff_sent") + held + inner("drops");
    received > 0 && received == processed
}

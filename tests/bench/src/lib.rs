//! Measuring `polluxd` against `dpdk-testpmd` on the same ports: what both are started with and what they report.

pub mod chase;
pub mod conditions;
pub mod daemon;
pub mod frame;
pub mod inside;
pub mod kinds;
pub mod matrix;
pub mod page;
pub mod pcap;
pub mod peers;
pub mod pktgen;
pub mod plot;
pub mod random;
pub mod report;
pub mod search;
pub mod testpmd;
pub mod traffic;
pub mod world;

use std::time::Duration;

use self::traffic::{Files, Traffic};

/// What both programs are started with, so that only what they do with a packet differs.
pub struct Setup<'a> {
    /// What is sent.
    pub traffic: &'a Traffic,
    /// The files it comes from.
    pub files: &'a Files,
    /// How long each measurement counts.
    pub window: Duration,
    /// Whether there are huge pages.
    pub huge: bool,
    /// CPUs: one for control, one that forwards.
    pub cpus: &'a str,
}

impl Setup<'_> {
    /// EAL arguments, the same for both.
    pub fn eal(&self, prefix: &str) -> Vec<String> {
        // Without huge pages all is taken at the start: four KiB for each buffer, and what else there is.
        let megabytes = (1500 + self.buffers() / 256).to_string();
        let memory: &[&str] = if self.huge { &["--in-memory"] } else { &["--no-huge", "-m", &megabytes] };
        let looped = self.files.looped.iter().map(|file| format!("rx_pcap={},infinite_rx=1", file.display()));
        let first = self.files.first.iter().map(|file| format!("rx_pcap={}", file.display()));
        let vdevs = looped.chain(first).enumerate();
        let mut arguments: Vec<String> = ["-l", self.cpus, "--no-pci", "--no-telemetry"]
            .iter()
            .chain(memory)
            .map(ToString::to_string)
            .collect();
        if !self.huge {
            arguments.push(format!("--file-prefix={prefix}"));
        }
        arguments.extend(vdevs.map(|(number, source)| format!("--vdev=net_pcap{number},{source}")));
        arguments
    }

    /// Packet buffers: the files' packets stay in memory, twice while they are read, and some are on their way.
    pub fn buffers(&self) -> u32 {
        let packets = self.files.packets as u32;
        packets + packets / 20 + 50_000
    }
}

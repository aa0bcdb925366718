//! Measuring `polluxd` against `dpdk-testpmd` on the same ports: what both are started with and what they report.

pub mod daemon;
pub mod pcap;
pub mod report;
pub mod testpmd;

use std::path::Path;
use std::time::Duration;

/// How long each measurement counts.
pub const WINDOW: Duration = Duration::from_secs(3);

/// What both programs are started with, so that only what they do with a packet differs.
pub struct Setup<'a> {
    /// The file packets come from, again and again.
    pub pcap: &'a Path,
    /// Flows in that file, each with one packet.
    pub flows: u32,
    /// Whether there are huge pages.
    pub huge: bool,
    /// CPUs: one for control, one that forwards.
    pub cpus: &'a str,
}

impl Setup<'_> {
    /// EAL arguments, the same for both.
    pub fn eal(&self, prefix: &str) -> Vec<String> {
        let memory: &[&str] = if self.huge {
            &["--in-memory"]
        } else {
            &["--no-huge", "-m", if self.flows > 200_000 { "5000" } else { "1500" }]
        };
        let vdev = format!("--vdev=net_pcap0,rx_pcap={},infinite_rx=1", self.pcap.display());
        let mut arguments: Vec<String> = ["-l", self.cpus, "--no-pci", "--no-telemetry"]
            .iter()
            .chain(memory)
            .map(ToString::to_string)
            .collect();
        if !self.huge {
            arguments.push(format!("--file-prefix={prefix}"));
        }
        arguments.push(vdev);
        arguments
    }

    /// Packet buffers: the file's packets stay in memory, twice while they are read, and some are on their way.
    pub fn buffers(&self) -> u32 {
        self.flows + self.flows / 20 + 50_000
    }
}

//! Benchmarks: `polluxd` against `dpdk-testpmd` on the same ports, and workers with a generator in the same process.

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

/// Common settings of both programs, so that they differ only in how they process packets.
pub struct Setup<'a> {
    /// Traffic.
    pub traffic: &'a Traffic,
    /// Files that contain the traffic.
    pub files: &'a Files,
    /// Duration of each measurement.
    pub window: Duration,
    /// Huge pages are available.
    pub huge: bool,
    /// CPUs: one for control, one for forwarding.
    pub cpus: &'a str,
}

impl Setup<'_> {
    /// Returns the EAL arguments, the same for both programs.
    pub fn eal(&self, prefix: &str) -> Vec<String> {
        // Without huge pages all memory is allocated at the start: 4 KiB per buffer, plus the rest.
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

    /// Returns the number of packet buffers. The files' packets stay in memory, twice while they are read, and some are in flight.
    pub fn buffers(&self) -> u32 {
        let packets = self.files.packets as u32;
        packets + packets / 20 + 50_000
    }
}

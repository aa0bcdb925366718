//! The capture files from which both programs read packets in a loop.

use std::path::{Path, PathBuf};

use super::frame::{reply, request, request_by};
use super::kinds::{Family, Pattern, Size, word};
use super::pcap;
use super::random::{shuffled, zipf};
use pollux_tests::bed::command::Result;

/// The packets of a file stay in buffers, and this many buffers of `polluxd` fit into 2048 huge pages.
const KEPT: usize = 1_380_000;
/// In a shorter file the overhead of the loop would be visible.
const LEAST: usize = 1020;

/// Packets that may arrive before `polluxd` knows the service.
const EARLY: u32 = 100_000;

/// Builds a frame of a flow.
type Build = fn(Family, u32, usize) -> Vec<u8>;

/// Traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Addresses.
    pub family: Family,
    /// Frames.
    pub size: Size,
    /// Distribution of packets over flows.
    pub pattern: Pattern,
    /// Flows.
    pub flows: u32,
    /// Half of the packets are replies.
    pub mixed: bool,
}

/// The files of a kind of traffic.
pub struct Files {
    /// By port: packets from clients, and from servers if there are any.
    pub looped: Vec<PathBuf>,
    /// One packet of every flow, read once; only if the clients' file does not contain all flows.
    pub first: Option<PathBuf>,
    /// Number of packets in all looped files.
    pub packets: usize,
}

impl Traffic {
    /// Name for tables and files.
    pub fn name(&self) -> String {
        format!("{} {} {} {}", word(self.family), word(self.size), self.flows, word(self.pattern))
    }

    /// Returns the number of packets of a file.
    fn packets(&self) -> usize {
        let kept = if self.mixed { KEPT / 2 } else { KEPT };
        // testpmd keeps large frames in large buffers too, and their files are large.
        let kept = if self.size == Size::Small { kept } else { kept / 4 };
        (self.flows as usize).max(LEAST).min(kept)
    }

    /// Writes the files.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn write(&self, directory: &Path) -> Result<Files> {
        let Traffic { family, size, flows, .. } = *self;
        let packets = self.packets();
        let sides: &[Build] = if self.mixed { &[request, reply] } else { &[request] };
        let mut looped = Vec::new();
        for (side, frame) in sides.iter().enumerate() {
            let path = directory.join(format!("{side}.pcap"));
            let order = self.order(side, packets).into_iter().enumerate();
            pcap::write(&path, order.map(|(nth, flow)| frame(family, flow, size.frame(nth))))?;
            looped.push(path);
        }
        let first =
            (self.pattern == Pattern::Zipf || packets < flows as usize).then(|| directory.join("first.pcap"));
        if let Some(path) = &first {
            // The first packets arrive before the configuration, so they are repeated at the end.
            let turns = (0..flows).chain(0..flows.min(EARLY));
            pcap::write(path, turns.map(|flow| request_by(looped.len(), family, flow, 60)))?;
        }
        Ok(Files { packets: packets * looped.len(), looped, first })
    }

    /// Returns the flows of one side's packets in order. If not all fit, replies belong to the flows that requests leave out.
    fn order(&self, side: usize, packets: usize) -> Vec<u32> {
        if self.pattern == Pattern::Zipf {
            return zipf(self.flows, packets, 1 + side as u64);
        }
        let mut order = shuffled(self.flows, 1);
        if side == 1 {
            order.reverse();
        }
        order.into_iter().cycle().take(packets).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(flows: u32, pattern: Pattern) -> Traffic {
        Traffic { family: Family::Ipv4, size: Size::Small, pattern, flows, mixed: true }
    }

    #[test]
    fn together_both_sides_have_every_flow() {
        let traffic = traffic(1_000_000, Pattern::Uniform);
        let mut seen = vec![false; 1_000_000];
        for side in 0..2 {
            traffic.order(side, traffic.packets()).into_iter().for_each(|flow| seen[flow as usize] = true);
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn few_flows_fill_a_file() {
        assert_eq!(traffic(1, Pattern::Uniform).order(0, 1020), vec![0; 1020]);
    }

    #[test]
    fn files_that_do_not_have_every_flow_come_with_one_that_has() {
        let directory = tempfile::tempdir().unwrap();
        let files = |pattern| traffic(2000, pattern).write(directory.path()).unwrap();
        assert!(files(Pattern::Uniform).first.is_none());
        let zipf = files(Pattern::Zipf);
        let length = std::fs::metadata(zipf.first.unwrap()).unwrap().len();
        assert_eq!((length, zipf.packets), (24 + 2 * 2000 * 76, 4000));
    }
}

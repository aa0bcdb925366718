//! `dpdk-testpmd` in macswap mode: the minimum that can be done with a packet.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Setup;
use super::kinds::Size;
use pollux_tests::bed::command::{Error, Result};

/// Time allowed for its start.
const STARTS: Duration = Duration::from_secs(1);

/// Runs testpmd for a window and returns the cycles per packet that it reports.
///
/// # Errors
/// If it cannot be started or reports no cycles.
pub fn cycles(setup: &Setup<'_>) -> Result<f64> {
    let mut child = Command::new("dpdk-testpmd")
        .args(setup.eal("px-testpmd"))
        .args(["--", "-i", "--nb-cores=1", "--record-core-cycles"])
        .args(buffers(setup))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error(format!("cannot run dpdk-testpmd: {error}; scripts/install installs it")))?;
    let mut input = child.stdin.take().ok_or_else(|| Error("dpdk-testpmd has no input".to_owned()))?;
    input.write_all(b"set fwd macswap\nstart\n")?;
    // It reads commands once it is ready, so the window is at least the rest of this time.
    std::thread::sleep(setup.window * 2 + STARTS);
    input.write_all(b"stop\nquit\n")?;
    drop(input);
    let done = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&done.stdout);
    read(&text).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&done.stderr);
        Error(format!("dpdk-testpmd reported no cycles per packet:\n{text}{stderr}"))
    })
}

/// Finds `CPU cycles/packet=75.32` in testpmd's output.
fn read(text: &str) -> Option<f64> {
    let (_, rest) = text.split_once("cycles/packet=")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// By default testpmd's buffers have polluxd's size. Only large files need more buffers, and smaller ones if frames are small.
fn buffers(setup: &Setup<'_>) -> Vec<String> {
    if setup.files.packets < 100_000 {
        return Vec::new();
    }
    let mut arguments = vec![format!("--total-num-mbufs={}", setup.buffers())];
    if setup.traffic.size == Size::Small {
        arguments.push("--mbuf-size=384".to_owned());
    }
    arguments
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_report_of_testpmd_is_understood() {
        assert_eq!(super::read("  CPU cycles/packet=75.32 (busy cycles=1 / RX pkts=2)"), Some(75.32));
        assert_eq!(super::read("nothing"), None);
    }
}

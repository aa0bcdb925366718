//! Pktgen-DPDK as sender and sink. A Lua script inside it reads commands line by line; it gets a pseudo-terminal because it
//! does not start without one.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::pcap;
use super::peers::{Middle, Setting, Via, frames};
use super::search::Trial;
use pollux_tests::bed::command::{Error, Result};

/// Its script.
const SCRIPT: &str = include_str!("pktgen.lua");
/// Bytes on the wire besides the frame, as pktgen counts: preamble and gap, without the frame check sequence.
const BESIDE: u64 = 20;
/// Accuracy of the end of a trial, in seconds.
const GRACE: f64 = 0.005;
/// How to get pktgen.
const HINT: &str = "scripts/pktgen builds it in target/pktgen, where scripts/peers finds it. That is: git clone --branch \
    pktgen-23.10.2 https://github.com/pktgen/Pktgen-DPDK, two changes so that it builds with DPDK 22.11 and starts on memif, \
    meson setup build -Denable_lua=true, ninja -C build";

/// Pktgen as peer.
pub struct Pktgen {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pid: Option<Pid>,
    line_rate: u64,
}

impl Pktgen {
    /// Starts pktgen.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(program: &Path, middle: &Middle, setting: &Setting<'_>) -> Result<Pktgen> {
        let (place, control) = (middle.place(), setting.cpus[0]);
        let frames = frames(setting.family, setting.size, setting.flows, setting.ports[0].mac);
        let bytes: usize = frames.iter().map(Vec::len).sum();
        let average = bytes / frames.len().max(1);
        let (script, packets) = (place.join("pktgen.lua"), place.join("pktgen.pcap"));
        fs::write(&script, SCRIPT)?;
        pcap::write(&packets, frames.into_iter())?;
        let mut words = vec![program.display().to_string(), format!("--lcores=0@{control},1@{control}")];
        words.extend(middle.other_end(setting.via));
        // -c: use the system clock, since pktgen only estimates the TSC rate. Thread 1 has both ports. The number of
        // descriptors determines how many buffers of 10 KiB each of the ten pools has.
        let descriptors = if setting.via == Via::Vhost { 512 } else { 128 };
        words.extend(["--", "-c", "-m", "1.[0-1]", "--txd=128"].map(str::to_owned));
        words.extend([format!("--rxd={descriptors}"), "-s".to_owned(), format!("0:{}", packets.display())]);
        words.extend(["-f".to_owned(), script.display().to_string()]);
        let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let mut child = Command::new("script")
            .args(["-qefc", &format!("echo {{\\\"pid\\\": $$}}; exec {}", quoted.join(" ")), "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Error(format!("cannot run script, of the package bsdutils: {error}")))?;
        let missing = || Error("pktgen has no input or output".to_owned());
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let mut pktgen = Pktgen { child, input, output, pid: None, line_rate: 0 };
        let pid = pktgen.reply("pid")?;
        pktgen.pid = pid.as_i64().and_then(|pid| Pid::from_raw(pid as i32));
        let megabits = pktgen.reply("link_megabits")?.as_u64().unwrap_or(0);
        if megabits == 0 {
            return Err(Error("pktgen's link is down; is polluxd running at the other end?".to_owned()));
        }
        pktgen.line_rate = line_rate(megabits, average);
        Ok(pktgen)
    }

    /// Runs one trial. Pktgen waits while a ring is full, so packets sent after the end of the trial count as lost, as they
    /// would be on a wire.
    ///
    /// # Errors
    /// If pktgen has exited.
    pub fn trial(&mut self, load: f64, seconds: f64) -> Result<Trial> {
        let part = (load / self.line_rate as f64).min(1.0);
        self.send(part, (part * self.line_rate as f64 * seconds) as u64, seconds)
    }

    /// Returns the packets per second that pktgen calls 100 %.
    pub fn line_rate(&self) -> f64 {
        self.line_rate as f64
    }

    /// Sends as fast as possible, as many packets as take about this long.
    ///
    /// # Errors
    /// If pktgen has exited.
    pub fn flat_out(&mut self, seconds: f64) -> Result<Trial> {
        self.send(1.0, (seconds * 5e6) as u64, 0.0)
    }

    fn send(&mut self, part: f64, count: u64, seconds: f64) -> Result<Trial> {
        let percent = part * 100.0;
        writeln!(self.input, "{percent:.7} {count} {:.0}", seconds * 1000.0)?;
        self.input.flush()?;
        self.reply("began")?;
        let began = Instant::now();
        self.reply("ended")?;
        let took = began.elapsed().as_secs_f64();
        let received = self.reply("received")?.as_u64().unwrap_or(0);
        Ok(Trial { load: count as f64 / took.max(1e-9), seconds: took, sent: count, received })
    }

    /// Returns the value with this name in the next line that has one.
    fn reply(&mut self, name: &str) -> Result<Value> {
        let mut said = Vec::new();
        let mut line = Vec::new();
        while self.output.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line).trim().to_owned();
            line.clear();
            let value = serde_json::from_str(&text).map(|mut value: Value| value[name].take());
            match value {
                Ok(value) if !value.is_null() => return Ok(value),
                _ => said.push(text),
            }
        }
        let said = said.join("\n");
        Err(Error(format!("pktgen exited: {:?}; its output was\n{said}", self.child.try_wait()?)))
    }
}

impl Drop for Pktgen {
    fn drop(&mut self) {
        // Errors mean that it has already exited.
        let _ = writeln!(self.input, "quit");
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.pid.map(|pid| kill_process(pid, Signal::KILL));
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Does not count packets as received that were sent too late, if the sender did not keep up.
pub fn in_time(trial: Trial, seconds: f64) -> Trial {
    let part = (seconds + GRACE) / trial.seconds.max(1e-9);
    let in_time = (trial.sent as f64 * part) as u64;
    Trial { received: if part < 1.0 { trial.received.min(in_time) } else { trial.received }, ..trial }
}

/// Returns the packets per second that pktgen calls 100 %, for frames of an average length.
fn line_rate(megabits: u64, bytes: usize) -> u64 {
    megabits * 1_000_000 / ((bytes as u64 + BESIDE) * 8)
}

/// Finds pktgen: at the given path, else in PATH.
///
/// # Errors
/// If there is none; the message says how to get it.
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    find_in(given, &std::env::var_os("PATH").unwrap_or_default())
}

fn find_in(given: Option<&Path>, path: &OsStr) -> Result<PathBuf> {
    if let Some(given) = given {
        let wrong = || Error(format!("--pktgen {}: there is no such file; {HINT}", given.display()));
        return given.is_file().then(|| given.to_owned()).ok_or_else(wrong);
    }
    let mut places = std::env::split_paths(path).map(|place| place.join("pktgen"));
    let none = || Error(format!("pktgen is not in PATH, and --pktgen does not name it; {HINT}"));
    places.find(|file| file.is_file()).ok_or_else(none)
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_says_how_to_get_pktgen() {
        let place = tempfile::tempdir().unwrap();
        let nowhere = find_in(None, place.path().as_os_str()).unwrap_err().to_string();
        assert!(nowhere.contains("pktgen is not in PATH"), "{nowhere}");
        let wrong = find_in(Some(Path::new("/nowhere/pktgen")), "".as_ref()).unwrap_err().to_string();
        assert!(wrong.contains("--pktgen /nowhere/pktgen"), "{wrong}");
        for how in ["scripts/pktgen", "git clone", "meson setup", "ninja"] {
            assert!(nowhere.contains(how) && wrong.contains(how), "{how}");
        }
        fs::write(place.path().join("pktgen"), "").unwrap();
        assert_eq!(find_in(None, place.path().as_os_str()).unwrap(), place.path().join("pktgen"));
    }

    #[test]
    fn the_line_rate_depends_on_the_frame_size() {
        let rate = |bytes| line_rate(10_000, bytes);
        assert_eq!([60, 1514].map(rate), [15_625_000, 814_863]);
    }

    #[test]
    fn packets_sent_too_late_count_as_lost() {
        let trial = Trial { load: 1e6, seconds: 1.0, sent: 1_000_000, received: 1_000_000 };
        assert_eq!(in_time(trial, 1.0).loss(), 0.0);
        assert_eq!(in_time(Trial { seconds: 1.0 + GRACE / 2.0, ..trial }, 1.0).loss(), 0.0);
        let late = in_time(Trial { seconds: 1.25, ..trial }, 1.0);
        assert!((late.loss() - (1.0 - (1.0 + GRACE) / 1.25)).abs() < 1e-5, "{late:?}");
        let lossy = Trial { seconds: 1.25, received: 500_000, ..trial };
        assert_eq!(in_time(lossy, 1.0).received, 500_000, "lost packets are not counted twice");
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("1.[0-1]"), "'1.[0-1]'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}

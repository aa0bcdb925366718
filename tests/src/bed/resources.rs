//! A list on disk of the namespaces and processes of a test network, so that another process can remove them too.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::command::{Result, ip};
use super::wait;

/// Directory of all test networks, with a subdirectory each.
const PLACE: &str = "/run/pollux-bed";
static BEDS: AtomicU32 = AtomicU32::new(0);

/// The directory of one test network with the list in it; both are removed when this is dropped.
pub struct Resources {
    /// Prefix of all names of this network.
    pub prefix: String,
    /// Whether interfaces keep their default offloads.
    pub(super) offloads: bool,
    directory: PathBuf,
}

impl Resources {
    /// Starts the list of a new test network, under a name that no other process uses.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn open() -> Result<Resources> {
        let prefix = format!("px{}-{}", std::process::id(), BEDS.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(PLACE).join(&prefix);
        fs::create_dir_all(&directory)?;
        File::create(directory.join("resources"))?;
        Ok(Resources { prefix, offloads: false, directory })
    }

    /// Returns the directory for files of this network.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Records a namespace.
    pub(super) fn namespace(&self, name: &str) -> Result<()> {
        self.note(&format!("namespace {name}"))
    }

    /// Records a process with its start time, because process IDs are reused.
    pub(super) fn process(&self, pid: u32) -> Result<()> {
        self.note(&format!("process {pid} {}", started(pid).unwrap_or_default()))
    }

    fn note(&self, line: &str) -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.directory.join("resources"))?;
        Ok(writeln!(file, "{line}")?)
    }
}

impl Drop for Resources {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next `clean`.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes all test networks whose directory name has this prefix, and prints what was done.
///
/// # Errors
/// If a process does not exit or a directory cannot be removed.
pub fn clean(prefix: &str) -> Result<()> {
    let Ok(beds) = fs::read_dir(PLACE) else { return Ok(()) };
    for bed in beds {
        let bed = bed?;
        if bed.file_name().to_string_lossy().starts_with(prefix) {
            clean_one(&bed.path())?;
            println!("Removed the namespaces and processes of {}.", bed.file_name().display());
        }
    }
    Ok(())
}

fn clean_one(directory: &Path) -> Result<()> {
    let list = fs::read_to_string(directory.join("resources")).unwrap_or_default();
    let lines = || list.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    for line in lines() {
        if let ["process", pid, start] = line[..] {
            stop(pid.parse().unwrap_or(0), start)?;
        }
    }
    for line in lines() {
        if let ["namespace", name] = line[..] {
            // It may already be gone.
            let _ = ip(&format!("netns delete {name}"));
        }
    }
    Ok(fs::remove_dir_all(directory)?)
}

fn stop(pid: u32, start: &str) -> Result<()> {
    let alive = || started(pid).is_some_and(|now| now == start);
    let Some(target) = Pid::from_raw(pid.cast_signed()) else { return Ok(()) };
    if alive() {
        // It may exit between the check and the signal.
        let _ = kill_process(target, Signal::KILL);
    }
    wait::until(&format!("process {pid} is gone"), || Ok((!alive()).then_some(())))
}

/// Returns the start time of a running process in clock ticks since boot; `None` if it is gone or a zombie.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields after the command name, which may contain anything and ends at the last ')'.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18).map(str::to_owned)
}

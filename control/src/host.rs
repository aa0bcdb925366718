//! Checks whether this machine is ready for `polluxd`: what was found, what is needed, and how to fix it.
//!
//! All files are read below a root directory that is passed in, so that tests can build a machine out of files. Nothing is
//! changed.

mod capabilities;
mod cpu;
mod libraries;
mod memory;
mod pci;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As needed.
    Ok,
    /// `polluxd` runs, but slower or with fewer features.
    Warn,
    /// `polluxd` cannot run.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of the check.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// What is needed.
    pub needed: String,
    /// Result.
    pub outcome: Outcome,
    /// How to fix it; empty if the result is [`Outcome::Ok`].
    pub hint: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>, needed: impl Into<String>) -> Check {
        let (found, needed) = (found.into(), needed.into());
        Check { name, found, needed, outcome: Outcome::Ok, hint: String::new() }
    }

    /// Replaces the outcome and the hint if `bad`.
    fn unless(self, bad: bool, outcome: Outcome, hint: impl Into<String>) -> Check {
        if bad { Check { outcome, hint: hint.into(), ..self } } else { self }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        write!(f, "{word:<5}{:<13}{} (needed: {})", self.name, self.found, self.needed)?;
        if self.outcome == Outcome::Ok { Ok(()) } else { write!(f, "\n     {}", self.hint) }
    }
}

/// Runs all checks on the file system below `root`, which is `/` outside tests.
pub fn checks(root: &Path) -> Vec<Check> {
    let mut checks = vec![cpu::sse(root), cpu::cores(root), libraries::dpdk(root), memory::tables(root)];
    checks.extend(memory::huge_pages(root));
    checks.extend([
        capabilities::capabilities(root),
        capabilities::tun(root),
        pci::iommu(root),
        pci::vfio(root),
    ]);
    checks.extend(pci::ports(root));
    checks
}

/// Returns true if `polluxd` can run.
pub fn ready(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}

/// Reads a file; a missing file is empty.
fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

/// Names in a directory, sorted; a missing directory is empty.
fn names(root: &Path, path: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(path)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The value after `name:`, as in `/proc/meminfo` and `/proc/self/status`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Counts the numbers in a list such as `0-3,8`.
fn count_listed(list: &str) -> usize {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((number(to)? + 1).saturating_sub(number(from)?)),
        None => number(part).map(|_| 1),
    };
    list.split(',').filter_map(part).sum()
}

//! Whether this machine is ready for `polluxd`: what was found, what is needed, and the command that helps.
//!
//! Everything is read below a root directory that is passed in, so that tests can build a machine out of files.
//! Nothing is changed.

mod cpu;
mod libraries;
mod memory;
mod pci;
mod rights;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All is well.
    Ok,
    /// It works, but slower or with less.
    Warn,
    /// `polluxd` cannot run.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What is there.
    pub found: String,
    /// What is needed.
    pub needed: String,
    /// How it went.
    pub outcome: Outcome,
    /// What to do; empty when all is well.
    pub hint: String,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>, needed: impl Into<String>) -> Check {
        let (found, needed) = (found.into(), needed.into());
        Check { name, found, needed, outcome: Outcome::Ok, hint: String::new() }
    }

    /// The outcome and its cure, when `bad`.
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
        write!(f, "{word:<5}{:<12}{} (needed: {})", self.name, self.found, self.needed)?;
        if self.outcome == Outcome::Ok { Ok(()) } else { write!(f, "\n     {}", self.hint) }
    }
}

/// Looks at the machine whose file system starts at `root`, which is `/` outside tests.
pub fn checks(root: &Path) -> Vec<Check> {
    let mut checks = vec![cpu::sse(root), cpu::cores(root), libraries::dpdk(root), memory::tables(root)];
    checks.extend(memory::huge_pages(root));
    checks.extend([rights::capabilities(root), rights::tun(root), pci::iommu(root), pci::vfio(root)]);
    checks.extend(pci::ports(root));
    checks
}

/// Whether `polluxd` can run at all.
pub fn ready(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}

/// A file's text; a file that is not there says nothing.
fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

/// The names in a directory, in order; one that is not there holds none.
fn names(root: &Path, path: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(path)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What follows `name` on its line, as in `/proc/meminfo` and `/proc/self/status`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// How many numbers a list such as `0-3,8` has.
fn count_listed(list: &str) -> usize {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => Some((number(to)? + 1).saturating_sub(number(from)?)),
        None => number(part).map(|_| 1),
    };
    list.split(',').filter_map(part).sum()
}

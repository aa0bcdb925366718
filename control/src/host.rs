//! Whether this machine is ready for `polluxd`: what was found, what is needed, and the command that helps.
//!
//! Everything is read below a root directory that is passed in, so that tests can build a machine out of files.
//! Nothing is changed.

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
    pub needed: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What to do; empty when all is well.
    pub cure: &'static str,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        write!(f, "{word:<5}{:<12}{} (needed: {})", self.name, self.found, self.needed)?;
        if self.outcome == Outcome::Ok { Ok(()) } else { write!(f, "\n     {}", self.cure) }
    }
}

/// Looks at the machine whose file system starts at `root`, which is `/` outside tests.
pub fn checks(root: &Path) -> Vec<Check> {
    vec![huge_pages(root), sse(root), tun(root), iommu(root), vfio(root)]
}

/// Whether `polluxd` can run at all.
pub fn ready(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

fn entries(root: &Path, path: &str) -> usize {
    fs::read_dir(root.join(path)).map_or(0, Iterator::count)
}

fn check(
    name: &'static str,
    found: String,
    needed: &'static str,
    bad: Option<(Outcome, &'static str)>,
) -> Check {
    let (outcome, cure) = bad.unwrap_or((Outcome::Ok, ""));
    Check { name, found, needed, outcome, cure }
}

fn huge_pages(root: &Path) -> Check {
    let text = read(root, "proc/meminfo");
    let count = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    let (total, free) = (count("HugePages_Total:"), count("HugePages_Free:"));
    let bad = (free == 0).then_some((
        Outcome::Warn,
        "echo 1024 > /proc/sys/vm/nr_hugepages; until then start polluxd with --no-huge, which is slower",
    ));
    check("huge pages", format!("{total}, {free} free"), "some free", bad)
}

/// DPDK's x86 libraries stop at once on a CPU without it; elsewhere there is nothing to ask for.
fn sse(root: &Path) -> Check {
    let cpu = read(root, "proc/cpuinfo");
    let flags = cpu.lines().find_map(|line| line.strip_prefix("flags"));
    let lacks = flags.is_some_and(|flags| !flags.split_whitespace().any(|flag| flag == "sse4_2"));
    let found = if lacks { "no sse4.2" } else { "sse4.2, or not x86" };
    let bad = lacks.then_some((Outcome::Fail, "run on another CPU, or give the guest the host's CPU model"));
    check("cpu", found.to_owned(), "sse4.2 on x86", bad)
}

fn tun(root: &Path) -> Check {
    let there = root.join("dev/net/tun").exists();
    let bad = (!there).then_some((Outcome::Warn, "modprobe tun; until then start polluxd with --no-kernel"));
    check("tun", if there { "there" } else { "missing" }.to_owned(), "/dev/net/tun, for twins", bad)
}

fn iommu(root: &Path) -> Check {
    let groups = entries(root, "sys/kernel/iommu_groups");
    let bad = (groups == 0).then_some((
        Outcome::Warn,
        "boot with intel_iommu=on or amd_iommu=on to bind NICs safely; virtual devices need none",
    ));
    check("iommu", format!("{groups} groups"), "on, for NICs on vfio-pci", bad)
}

fn vfio(root: &Path) -> Check {
    let driver = "sys/bus/pci/drivers/vfio-pci";
    let loaded = root.join(driver).exists();
    // Bound devices are the links named by PCI address; the driver's own files have no colon.
    let bound = fs::read_dir(root.join(driver)).map_or(0, |dir| {
        dir.flatten().filter(|entry| entry.file_name().to_string_lossy().contains(':')).count()
    });
    let found = if loaded { format!("loaded, {bound} devices bound") } else { "not loaded".to_owned() };
    let bad = (!loaded).then_some((Outcome::Warn, "modprobe vfio-pci; virtual devices need none"));
    check("vfio-pci", found, "loaded, for NICs", bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_bare_machine_is_warned_of_but_not_refused() {
        let checks = checks(machine(&[]).path());
        assert!(ready(&checks));
        assert!(checks.iter().all(|c| c.outcome == Outcome::Ok || !c.cure.is_empty()));
    }

    #[test]
    fn a_ready_machine_has_nothing_to_cure() {
        let root = machine(&[
            ("proc/meminfo", "HugePages_Total:    1024\nHugePages_Free:     1000\n"),
            ("proc/cpuinfo", "flags\t\t: fpu sse4_2 avx\n"),
            ("dev/net/tun", ""),
            ("sys/kernel/iommu_groups/0/x", ""),
            ("sys/bus/pci/drivers/vfio-pci/0000:3b:00.0", ""),
        ]);
        let checks = checks(root.path());
        assert!(checks.iter().all(|c| c.outcome == Outcome::Ok), "{checks:?}");
        assert_eq!(checks[0].found, "1024, 1000 free");
    }

    #[test]
    fn an_old_cpu_fails() {
        let root = machine(&[("proc/cpuinfo", "flags\t\t: fpu sse2\n")]);
        assert!(!ready(&checks(root.path())));
    }
}

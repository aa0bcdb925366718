//! What the CPU can do and how many cores there are.

use std::path::Path;

use super::{Check, Outcome, count_listed, field, read};

/// DPDK's x86 libraries stop at once on a CPU without it; elsewhere there is nothing to ask for.
pub(super) fn sse(root: &Path) -> Check {
    let cpu = read(root, "proc/cpuinfo");
    let flags = cpu.lines().find_map(|line| line.strip_prefix("flags"));
    let lacks = flags.is_some_and(|flags| !flags.split_whitespace().any(|flag| flag == "sse4_2"));
    let found = if lacks { "no sse4.2" } else { "sse4.2, or not x86" };
    let hint = "run on another CPU, or give the named the host's CPU model";
    Check::ok("cpu", found, "sse4.2 on x86").unless(lacks, Outcome::Fail, hint)
}

/// Cores that this process may use: a cpuset counts, what is merely plugged in does not.
pub(super) fn cores(root: &Path) -> Check {
    let status = read(root, "proc/self/status");
    let allowed = field(&status, "Cpus_allowed_list").unwrap_or_default();
    let count = count_listed(allowed);
    let found = if count == 0 { "unknown".to_owned() } else { format!("{count} ({allowed})") };
    let hint =
        "give the machine, or polluxd's cpuset, another core; with one, control and the worker share it";
    Check::ok("cores", found, "2: control and a worker; one more for each worker").unless(
        count < 2,
        Outcome::Warn,
        hint,
    )
}

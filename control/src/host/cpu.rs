//! CPU features and cores.

use std::path::Path;

use super::{Check, Outcome, count_listed, field, read};

/// DPDK's x86 libraries abort on a CPU without SSE 4.2.
pub(super) fn sse(root: &Path) -> Check {
    let cpu = read(root, "proc/cpuinfo");
    let flags = cpu.lines().find_map(|line| line.strip_prefix("flags"));
    let lacks = flags.is_some_and(|flags| !flags.split_whitespace().any(|flag| flag == "sse4_2"));
    let found = match flags {
        Some(_) if lacks => "no sse4.2",
        Some(_) => "sse4.2",
        None => "not x86",
    };
    let hint = "use a CPU with sse4.2; for a virtual machine, choose the host's CPU model";
    Check::ok("cpu", found, "sse4.2 on x86").unless(lacks, Outcome::Fail, hint)
}

/// Cores that this process may use, according to its cpuset.
pub(super) fn cores(root: &Path) -> Check {
    let status = read(root, "proc/self/status");
    let allowed = field(&status, "Cpus_allowed_list").unwrap_or_default();
    let count = count_listed(allowed);
    let found = if count == 0 { "unknown".to_owned() } else { format!("{count} ({allowed})") };
    let hint =
        "add a core to the machine or to polluxd's cpuset; with one core, control and the worker share it";
    Check::ok("cores", found, "2, for control and one worker; one more per additional worker").unless(
        count < 2,
        Outcome::Warn,
        hint,
    )
}

//! Capabilities and devices of the process.

use std::path::Path;

use super::{Check, Outcome, field, read};

/// From <linux/capability.h>: for TAP twins and neighbours, packet sockets, and locked memory.
const WANTED: [(u32, &str); 3] = [(12, "cap_net_admin"), (13, "cap_net_raw"), (14, "cap_ipc_lock")];

pub(super) fn capabilities(root: &Path) -> Check {
    let status = read(root, "proc/self/status");
    let held = field(&status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let lacked = WANTED.iter().filter(|(number, _)| held >> number & 1 == 0).map(|&(_, name)| name);
    let lacked: Vec<&str> = lacked.collect();
    let found = if lacked.is_empty() { "all".to_owned() } else { format!("lacks {}", lacked.join(", ")) };
    let hint = "run polluxd as root, or: setcap cap_net_admin,cap_net_raw,cap_ipc_lock+ep polluxd; this check \
                checks the user who runs it";
    let needed = "cap_net_admin, cap_net_raw and cap_ipc_lock";
    Check::ok("capabilities", found, needed).unless(!lacked.is_empty(), Outcome::Warn, hint)
}

pub(super) fn tun(root: &Path) -> Check {
    let exists = root.join("dev/net/tun").exists();
    let hint = "modprobe tun; until then start polluxd with --no-kernel";
    let found = if exists { "present" } else { "missing" };
    Check::ok("tun", found, "/dev/net/tun, for TAP twins").unless(!exists, Outcome::Warn, hint)
}

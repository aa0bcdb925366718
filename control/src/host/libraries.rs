//! Whether the dynamic linker will find DPDK.

use std::path::Path;

use super::{Check, Outcome, names, read};

/// Where the linker looks without being told.
const DEFAULT: [&str; 4] = ["lib", "usr/lib", "lib64", "usr/lib64"];
const CONFIGURED: &str = "etc/ld.so.conf.d";

/// The environment abstraction layer, on which every other DPDK library rests.
pub(super) fn dpdk(root: &Path) -> Check {
    let found = folders(root).into_iter().find_map(|folder| {
        let name = names(root, &folder).into_iter().find(|name| name.starts_with("librte_eal.so"))?;
        Some(format!("/{folder}/{name}"))
    });
    let lacks = found.is_none();
    let hint = "install DPDK's libraries (Debian, Ubuntu: apt install dpdk; Fedora: dnf install dpdk), or name \
                their folder in /etc/ld.so.conf.d and run ldconfig";
    Check::ok("dpdk", found.unwrap_or_else(|| "not found".to_owned()), "librte_eal.so where the linker looks")
        .unless(lacks, Outcome::Fail, hint)
}

/// Folders of the linker's configuration, then its own; without the leading slash.
fn folders(root: &Path) -> Vec<String> {
    let files = names(root, CONFIGURED).into_iter().map(|name| format!("{CONFIGURED}/{name}"));
    let texts: Vec<String> =
        files.map(|file| read(root, &file)).chain([read(root, "etc/ld.so.conf")]).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    // Other lines are comments and includes, and what is included is what has just been read.
    let configured = lines.filter_map(|line| line.strip_prefix('/')).map(str::to_owned);
    configured.chain(DEFAULT.map(str::to_owned)).collect()
}

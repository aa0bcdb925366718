//! Checks that the dynamic linker finds DPDK.

use std::path::Path;

use super::{Check, Outcome, names, read};

/// Default search path of the linker.
const DEFAULT: [&str; 4] = ["lib", "usr/lib", "lib64", "usr/lib64"];
const CONFIGURED: &str = "etc/ld.so.conf.d";

/// Looks for the EAL, on which every other DPDK library depends.
pub(super) fn dpdk(root: &Path) -> Check {
    let found = directories(root).into_iter().find_map(|directory| {
        let name = names(root, &directory).into_iter().find(|name| name.starts_with("librte_eal.so"))?;
        Some(format!("/{directory}/{name}"))
    });
    let lacks = found.is_none();
    let hint = "install DPDK's libraries (Debian, Ubuntu: apt install dpdk; Fedora: dnf install dpdk), or add \
                their directory to /etc/ld.so.conf.d and run ldconfig";
    Check::ok(
        "dpdk",
        found.unwrap_or_else(|| "not found".to_owned()),
        "librte_eal.so in the linker's search path",
    )
    .unless(lacks, Outcome::Fail, hint)
}

/// Directories of the linker's configuration, then the defaults, without the leading slash.
fn directories(root: &Path) -> Vec<String> {
    let files = names(root, CONFIGURED).into_iter().map(|name| format!("{CONFIGURED}/{name}"));
    let texts: Vec<String> =
        files.map(|file| read(root, &file)).chain([read(root, "etc/ld.so.conf")]).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    // The other lines are comments, and includes of the files read above.
    let configured = lines.filter_map(|line| line.strip_prefix('/')).map(str::to_owned);
    configured.chain(DEFAULT.map(str::to_owned)).collect()
}

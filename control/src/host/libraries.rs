//! Checks that the dynamic linker finds DPDK.

use std::path::Path;

use super::{Check, Outcome, names, read};

/// Default search path of the linker.
const DEFAULT: [&str; 4] = ["lib", "usr/lib", "lib64", "usr/lib64"];
const CONFIGURED: &str = "etc/ld.so.conf.d";

/// ABI of the oldest release that polluxd runs with. ABI n belongs to release (n-1).11 and those before n.11.
const OLDEST_ABI: u32 = 23;

/// Returns the ABI in the name of a library: 23 for `librte_eal.so.23.0`.
fn abi(name: &str) -> Option<u32> {
    name.strip_prefix("librte_eal.so.")?.split('.').next()?.parse().ok()
}

/// Looks for the EAL, on which every other DPDK library depends.
pub(super) fn dpdk(root: &Path) -> Check {
    let found = directories(root).into_iter().find_map(|directory| {
        let mut files = names(root, &directory).into_iter().filter(|name| name.starts_with("librte_eal.so"));
        let first = files.next()?;
        // The file without a number is the link that compilers use.
        let file =
            std::iter::once(first.clone()).chain(files).find(|name| abi(name).is_some()).unwrap_or(first);
        Some((abi(&file), format!("/{directory}/{file}")))
    });
    let lacks = found.as_ref().is_none_or(|(abi, _)| abi.is_some_and(|abi| abi < OLDEST_ABI));
    let found = found.map(|(abi, path)| match abi {
        Some(abi) => format!("{}.11 or a later release with its ABI, {path}", abi.saturating_sub(1)),
        None => format!("unknown version, {path}"),
    });
    let hint = "install DPDK's libraries (Debian, Ubuntu: apt install dpdk; Fedora: dnf install dpdk), or add \
                their directory to /etc/ld.so.conf.d and run ldconfig";
    Check::ok(
        "dpdk",
        found.unwrap_or_else(|| "not found".to_owned()),
        "22.11 or newer, in the linker's search path",
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

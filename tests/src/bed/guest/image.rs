//! The guest's initramfs: busybox, the project's programs, the libraries and DPDK drivers of this machine, kernel modules.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::command::{Error, Result, output, program};
use super::modules;

const INIT: &str = include_str!("init.sh");
/// DPDK drivers: buses, the default pool, and the network cards that QEMU emulates.
const DRIVERS: [&str; 6] = ["bus_pci", "bus_vdev", "mempool_ring", "net_virtio", "net_e1000", "net_vmxnet3"];
/// Where Debian has DPDK's drivers, in a directory with the number of the ABI.
const DPDK: &str = "/usr/lib/x86_64-linux-gnu/dpdk";

/// A file's mode in the archive, with its type.
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// Files by their path in the guest.
#[derive(Default)]
pub(super) struct Image(BTreeMap<PathBuf, (u32, Vec<u8>)>);

/// Makes the initramfs. `packages` is the root directory of unpacked Debian packages.
pub(super) fn build(packages: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let mut image = Image::default();
    for (link, target) in
        [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")]
    {
        image.link(link, target);
    }
    image.link("/var/run", "../run");
    for directory in ["/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/var/lib/pollux"] {
        image.directory(Path::new(directory));
    }
    image.file("/init", INIT);
    image.file("/usr/bin/busybox", read(&packages.join("bin/busybox"))?);
    image.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    for name in ["polluxd", "pollux", "host"] {
        let (source, stripped) = (program(name)?, scratch.join(name));
        output(Command::new("strip").arg("-o").arg(&stripped).arg(&source))?;
        image.file(format!("/usr/bin/{name}"), read(&stripped)?);
        image.libraries(&source)?;
    }
    // The directories of libraries: polluxd looks there for DPDK.
    image.copy(Path::new("/etc/ld.so.conf.d/x86_64-linux-gnu.conf"))?;
    image.copy(Path::new("/usr/sbin/ip"))?;
    image.libraries(Path::new("/usr/sbin/ip"))?;
    image.drivers()?;
    image.modules(packages)?;
    Ok(image.archive())
}

impl Image {
    fn put(&mut self, path: impl AsRef<Path>, mode: u32, content: impl Into<Vec<u8>>) {
        let path = path.as_ref();
        if let Some(directory) = path.parent() {
            self.directory(directory);
        }
        self.0.insert(path.to_owned(), (mode, content.into()));
    }

    fn file(&mut self, path: impl AsRef<Path>, content: impl Into<Vec<u8>>) {
        self.put(path, PROGRAM, content);
    }

    fn link(&mut self, path: impl AsRef<Path>, target: &str) {
        self.put(path, LINK, target);
    }

    fn directory(&mut self, path: &Path) {
        if path != Path::new("/") && !self.0.contains_key(path) {
            self.put(path, DIRECTORY, "");
        }
    }

    /// Adds a file of this machine under its own path; if it is a link, what it points to as well. Links must stay links:
    /// DPDK initializes a driver twice, and aborts, if the driver is there under two names.
    fn copy(&mut self, path: &Path) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/")).canonicalize()?;
        let path = directory.join(path.file_name().unwrap_or_default());
        if self.0.contains_key(&path) {
            return Ok(());
        }
        if path.is_symlink() {
            let target = fs::read_link(&path)?;
            self.link(&path, &target.to_string_lossy());
            return self.copy(&directory.join(target));
        }
        self.file(&path, read(&path)?);
        Ok(())
    }

    /// Adds the shared libraries of a program or library.
    fn libraries(&mut self, of: &Path) -> Result<()> {
        let list = output(Command::new("ldd").arg(of))?;
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, or only the path for the linker itself.
        let paths =
            list.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        paths.map(Path::new).try_for_each(|path| self.copy(path))
    }

    /// Adds DPDK's drivers under all their names, where polluxd looks for them.
    fn drivers(&mut self) -> Result<()> {
        let all = drivers_of_this_machine()?;
        for driver in DRIVERS {
            let named = |path: &&PathBuf| name(path).starts_with(&format!("librte_{driver}.so"));
            let files: Vec<_> = all.iter().filter(named).collect();
            if files.is_empty() {
                return Err(Error(format!(
                    "DPDK's driver {driver} is not in {DPDK}; scripts/install installs it"
                )));
            }
            for file in files {
                self.copy(file)?;
                self.libraries(file)?;
            }
        }
        Ok(())
    }

    /// Adds the kernel modules, and a list of them in the order in which they must be loaded.
    fn modules(&mut self, packages: &Path) -> Result<()> {
        let mut order = String::new();
        for module in modules::needed(&packages.join("lib/modules"))? {
            self.file(format!("/modules/{}", name(&module)), read(&module)?);
            order += &format!("{}\n", name(&module));
        }
        self.file("/modules/order", order);
        Ok(())
    }

    /// Writes the cpio archive in the format that Linux wants, `newc`: a header of hexadecimal numbers, the name and the
    /// content of each file, both padded to four bytes. Directories precede their files, since paths are sorted.
    fn archive(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        let mut number = 0_u32;
        let mut entry = |path: &str, mode: u32, content: &[u8]| {
            number += 1;
            let (size, name) = (content.len(), path.len() + 1);
            let fields = [number, mode, 0, 0, 1, 0, size as u32, 0, 0, 0, 0, name as u32, 0];
            let header: String = fields.iter().map(|field| format!("{field:08x}")).collect();
            for part in [format!("070701{header}{path}\0").as_bytes(), content] {
                archive.extend(part);
                archive.resize(archive.len().next_multiple_of(4), 0);
            }
        };
        // The root itself: by default all may write to it, and then DPDK loads no drivers from below it.
        entry(".", DIRECTORY, b"");
        for (path, (mode, content)) in &self.0 {
            entry(path.to_string_lossy().trim_start_matches('/'), *mode, content);
        }
        entry("TRAILER!!!", 0, b"");
        archive
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error(format!("{}: {error}", path.display())))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn drivers_of_this_machine() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in entries(Path::new(DPDK))? {
        if name(&directory).starts_with("pmds-") {
            files.extend(entries(&directory)?);
        }
    }
    Ok(files)
}

/// Returns the paths in a directory.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(directory).map_err(|error| Error(format!("{}: {error}", directory.display())))?;
    Ok(read.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_cpio_lists() {
        let mut image = Image::default();
        image.link("/lib", "usr/lib");
        image.file("/usr/lib/a", "abc");
        let archive = image.archive();
        let text = String::from_utf8_lossy(&archive);
        let names: Vec<_> =
            text.split("070701").skip(1).map(|entry| entry[104..].split('\0').next()).collect();
        assert_eq!(names, [".", "lib", "usr", "usr/lib", "usr/lib/a", "TRAILER!!!"].map(Some));
        assert_eq!(
            &text[112..222],
            "070701000000020000a1ff000000000000000000000001000000000000000700000000000000000000000000000000\
            0000000400000000"
        );
        assert!(text.contains("usr/lib/a\0abc\0"), "{text:?}");
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn a_copied_link_brings_its_target() {
        let there = tempfile::tempdir().expect("a directory");
        let root = there.path().canonicalize().expect("its path");
        fs::write(root.join("lib.so.23.0"), "code").expect("a file");
        std::os::unix::fs::symlink("lib.so.23.0", root.join("lib.so.23")).expect("a link");
        let mut image = Image::default();
        image.copy(&root.join("lib.so.23")).expect("a copy");
        assert_eq!(image.0[&root.join("lib.so.23")], (LINK, b"lib.so.23.0".to_vec()));
        assert_eq!(image.0[&root.join("lib.so.23.0")], (PROGRAM, b"code".to_vec()));
    }
}

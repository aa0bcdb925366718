//! Kernel modules of the guest, with those that they depend on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::command::{Error, Result};
use super::image::entries;

/// The serial port for scripts; VFIO with its driver for the IOMMU, which no other module depends on; TAP devices; VLANs.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_console", "vfio_iommu_type1", "vfio_pci", "tun", "8021q"];

/// Returns the files of the modules, each after those that it depends on.
pub(super) fn needed(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut all = BTreeMap::new();
    find(directory, &mut all)?;
    let mut order = Vec::new();
    MODULES.iter().try_for_each(|module| add(module, &all, &mut order))?;
    Ok(order)
}

/// Finds all modules below a directory, by name.
fn find(directory: &Path, all: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for path in entries(directory)? {
        if path.is_dir() {
            find(&path, all)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
            all.insert(name, path);
        }
    }
    Ok(())
}

fn add(name: &str, all: &BTreeMap<String, PathBuf>, order: &mut Vec<PathBuf>) -> Result<()> {
    let file = all.get(name).ok_or_else(|| Error(format!("the guest's kernel has no module {name}")))?;
    if !order.contains(file) {
        for other in depends(&fs::read(file)?) {
            add(&other, all, order)?;
        }
        order.push(file.clone());
    }
    Ok(())
}

/// Returns the names in `depends=a,b`, a string of the module's section `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_those_it_depends_on() {
        let there = tempfile::tempdir().expect("a directory");
        let module = |name: &str, depends: &str| {
            let text = format!("ELF\0license=GPL\0depends={depends}\0name={name}\0");
            fs::write(there.path().join(format!("{name}.ko")), text).expect("a module");
        };
        module("vfio_iommu_type1", "vfio");
        module("vfio-pci", "vfio-pci-core,vfio");
        module("vfio-pci-core", "vfio,irqbypass");
        module("8021q", "mrp");
        for name in ["virtio_pci", "virtio_console", "vfio", "irqbypass", "tun", "mrp"] {
            module(name, "");
        }
        let order = needed(there.path()).expect("all modules are there");
        let names: Vec<_> = order.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
        assert_eq!(names[..2], ["virtio_pci", "virtio_console"]);
        let expected =
            ["vfio", "vfio_iommu_type1", "irqbypass", "vfio-pci-core", "vfio-pci", "tun", "mrp", "8021q"];
        assert_eq!(names[2..], expected);
        fs::remove_file(there.path().join("mrp.ko")).expect("removed");
        let error = needed(there.path()).expect_err("a module is missing");
        assert_eq!(error.to_string(), "the guest's kernel has no module mrp");
    }
}

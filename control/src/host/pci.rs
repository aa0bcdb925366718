//! NICs on the PCI bus: their drivers, and how to bind them to DPDK.

use std::fs;
use std::path::Path;

use super::{Check, Outcome, names, read};

const DEVICES: &str = "sys/bus/pci/devices";
/// Upper 16 bits of the class code of an Ethernet controller.
const ETHERNET: &str = "0x0200";
/// Drivers that DPDK can use: those that pass the device to user space, and bifurcated drivers.
const USABLE: [&str; 5] = ["vfio-pci", "igb_uio", "uio_pci_generic", "mlx5_core", "mlx4_core"];
const NEEDED: &str = "a NIC on vfio-pci, or a virtual device";

pub(super) fn iommu(root: &Path) -> Check {
    let groups = names(root, "sys/kernel/iommu_groups").len();
    let hint = "boot with intel_iommu=on or amd_iommu=on to bind NICs safely; not needed for virtual devices";
    Check::ok("iommu", format!("{groups} groups"), "on, for NICs on vfio-pci").unless(
        groups == 0,
        Outcome::Warn,
        hint,
    )
}

pub(super) fn vfio(root: &Path) -> Check {
    let driver = "sys/bus/pci/drivers/vfio-pci";
    let loaded = root.join(driver).exists();
    // Bound devices are links named by PCI address; the driver's own files have no colon in their names.
    let bound = names(root, driver).iter().filter(|name| name.contains(':')).count();
    let found = if loaded { format!("loaded, {bound} devices bound") } else { "not loaded".to_owned() };
    let hint = "modprobe vfio-pci; not needed for virtual devices";
    Check::ok("vfio-pci", found, "loaded, for NICs").unless(!loaded, Outcome::Warn, hint)
}

struct Nic {
    address: String,
    driver: Option<String>,
    interfaces: Vec<String>,
}

impl Nic {
    fn read(root: &Path, address: String) -> Option<Nic> {
        let directory = format!("{DEVICES}/{address}");
        if !read(root, &format!("{directory}/class")).starts_with(ETHERNET) {
            return None;
        }
        let driver = fs::read_link(root.join(format!("{directory}/driver"))).ok();
        let driver = driver.and_then(|to| Some(to.file_name()?.to_string_lossy().into_owned()));
        let mut interfaces = names(root, &format!("{directory}/net"));
        // The interface of a virtio NIC is below its virtio device, one level under the PCI device.
        for below in names(root, &directory).iter().filter(|name| name.starts_with("virtio")) {
            interfaces.extend(names(root, &format!("{directory}/{below}/net")));
        }
        Some(Nic { address, driver, interfaces })
    }

    fn is_usable(&self) -> bool {
        self.driver.as_deref().is_some_and(|driver| USABLE.contains(&driver))
    }

    fn found(&self) -> String {
        let driver = self.driver.as_deref().unwrap_or("no driver");
        let interfaces: String = self.interfaces.iter().map(|name| format!(", {name}")).collect();
        format!("{} on {driver}{interfaces}", self.address)
    }

    fn hint(&self) -> String {
        let bind = format!("dpdk-devbind.py -b vfio-pci {}", self.address);
        match self.interfaces.first() {
            Some(name) => format!(
                "start polluxd with --interface {name}, which is slower; or {bind}, which removes {name} \
                 from the kernel and cuts all that uses it, such as SSH"
            ),
            None => bind,
        }
    }
}

/// One check per Ethernet device. One usable device is enough, as the others may belong to the kernel on purpose.
pub(super) fn ports(root: &Path) -> Vec<Check> {
    let nics: Vec<Nic> =
        names(root, DEVICES).into_iter().filter_map(|address| Nic::read(root, address)).collect();
    if nics.is_empty() {
        let hint = "start polluxd with --interface NAME, which is slower";
        return vec![Check::ok("port", "no Ethernet device", NEEDED).unless(true, Outcome::Warn, hint)];
    }
    let none = !nics.iter().any(Nic::is_usable);
    nics.iter()
        .map(|nic| Check::ok("port", nic.found(), NEEDED).unless(none, Outcome::Warn, nic.hint()))
        .collect()
}

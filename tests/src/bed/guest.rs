//! A virtual machine in place of the balancer: QEMU without KVM, two emulated network cards behind an IOMMU.

mod image;
mod model;
mod modules;
mod serial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use model::Model;
use serial::{Monitor, Scripts};

use super::command::{Error, Result, output};
use super::namespace::Namespace;
use super::process::Process;
use super::resources::Resources;

/// Time limit of the boot, on a slow machine that is shared.
const BOOT: Duration = Duration::from_secs(120);
/// The kernel's arguments. `panic=-1` with QEMU's `-no-reboot` ends QEMU if the guest's kernel gives up. The check of the
/// timer fails on a busy machine, on which it ticks late.
const KERNEL: &str =
    "console=ttyS0 quiet loglevel=4 intel_iommu=on no_timer_check mitigations=off panic=-1 hugepages=200";
/// Where QEMU's packages have its data files.
const DATA: [&str; 3] = ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// Addresses of the network cards on the guest's PCI bus, which are their names in DPDK.
pub const CARDS: [&str; 2] = ["0000:01:00.0", "0000:02:00.0"];
/// Hardware addresses of the network cards.
pub const MACS: [&str; 2] = ["52:54:00:00:01:01", "52:54:00:00:02:01"];

/// A running guest; it is killed when this is dropped.
pub struct Guest {
    scripts: Scripts,
    monitor: Monitor,
    console: PathBuf,
    _qemu: Process,
}

impl Guest {
    /// Boots a guest whose network cards are at these TAPs of a namespace. `packages` is the root directory of unpacked
    /// Debian packages: QEMU, a kernel, busybox.
    ///
    /// # Errors
    /// If it does not accept scripts in time; the message contains QEMU's output and the end of the console.
    pub(super) fn boot(
        resources: &Resources,
        namespace: &Namespace,
        model: Model,
        packages: &Path,
        taps: [&str; 2],
    ) -> Result<Guest> {
        let place = resources.directory();
        fs::write(place.join("initramfs"), image::build(packages, place)?)?;
        let console = place.join("console");
        let mut command = namespace.command(qemu(packages)?);
        machine(&mut command, packages, place)?;
        for (number, tap) in taps.iter().enumerate() {
            model.card(&mut command, number, tap);
        }
        let mut qemu = Process::start(resources, "qemu", &mut command)?;
        let explained = |error: Error, qemu: &Process| {
            let console = tail(&fs::read_to_string(&console).unwrap_or_default(), 30);
            Error(format!("{error}\n--- QEMU\n{}\n--- console\n{console}", qemu.log()))
        };
        let socket = |name: &str| place.join(name);
        let exists = |_: &str| Ok((socket("scripts").exists() && socket("monitor").exists()).then_some(()));
        qemu.until("QEMU listens", exists)?;
        let connect = || Ok((Scripts::connect(&socket("scripts"))?, Monitor::connect(&socket("monitor"))?));
        let (scripts, monitor) = connect().map_err(|error| explained(error, &qemu))?;
        scripts.ready(BOOT).map_err(|error| explained(error, &qemu))?;
        Ok(Guest { scripts, monitor, console, _qemu: qemu })
    }

    /// Runs a shell script in the guest and returns its output.
    ///
    /// # Errors
    /// If it fails or takes more than a minute.
    pub fn run(&self, script: &str) -> Result<String> {
        let (text, status) = self.scripts.run(script)?;
        if status == 0 {
            Ok(text)
        } else {
            Err(Error(format!("in the guest: {script}\nexit status {status}: {text}")))
        }
    }

    /// Plugs in or unplugs the cable of a network card.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub fn set_link(&self, card: usize, up: bool) -> Result<()> {
        self.monitor.run(&format!("set_link card{card} {}", if up { "on" } else { "off" }))
    }

    /// Returns the end of what the guest's kernel has printed.
    pub fn console(&self) -> String {
        tail(&fs::read_to_string(&self.console).unwrap_or_default(), 20)
    }
}

/// Returns the last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Returns a command for QEMU: that of the packages, or that of the machine if it was installed already.
fn qemu(packages: &Path) -> Result<String> {
    let name = "qemu-system-x86_64";
    let own = packages.join("usr/bin").join(name);
    if own.is_file() {
        return Ok(own.to_string_lossy().into_owned());
    }
    output(Command::new(name).arg("--version")).map(|_| name.to_owned())
}

/// Adds the arguments of the machine without its network cards.
fn machine(command: &mut Command, packages: &Path, place: &Path) -> Result<()> {
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| packages.join(path));
    command.env("LD_LIBRARY_PATH", libraries.map(|path| path.display().to_string()).join(":"));
    for data in DATA {
        command.arg("-L").arg(packages.join(data));
    }
    let kernels = image::entries(&packages.join("boot"))?;
    let kernel = kernels.iter().find(|path| path.to_string_lossy().contains("vmlinuz-"));
    command.arg("-kernel").arg(kernel.ok_or_else(|| Error("the packages have no kernel".to_owned()))?);
    command.arg("-initrd").arg(place.join("initramfs"));
    command.args(["-append", KERNEL]);
    // A core for control and two for workers.
    command.args(["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "3", "-m", "1024"]);
    command.args(["-device", "intel-iommu,intremap=on,device-iotlb=on"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.args(["-serial", &format!("file:{}", place.join("console").display())]);
    let listen = |name: &str| format!("{},server=on,wait=off", place.join(name).display());
    command.args(["-monitor", &format!("unix:{}", listen("monitor"))]);
    command.args(["-chardev", &format!("socket,id=scripts,path={}", listen("scripts"))]);
    command.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=scripts,name=scripts"]);
    Ok(())
}

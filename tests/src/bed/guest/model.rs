//! Models of network cards that QEMU emulates.

use std::process::Command;

use super::MACS;

/// A model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// virtio-net, by the PCI standard of version 1.
    Virtio,
    /// Intel 82576.
    Igb,
    /// Intel 82574.
    E1000e,
    /// VMware.
    Vmxnet3,
}

impl Model {
    /// All models.
    pub const ALL: [Model; 4] = [Model::Virtio, Model::Igb, Model::E1000e, Model::Vmxnet3];

    /// Returns its name for `scripts/baremetal`.
    pub fn name(self) -> &'static str {
        match self {
            Model::Virtio => "virtio",
            Model::Igb => "igb",
            Model::E1000e => "e1000e",
            Model::Vmxnet3 => "vmxnet3",
        }
    }

    /// Returns the number of workers: one per queue of the device.
    pub fn workers(self) -> usize {
        if self == Model::E1000e { 1 } else { 2 }
    }

    /// Returns why the device cannot deliver packets to the worker that owns their flow.
    pub fn cannot_steer(self) -> Option<&'static str> {
        match self {
            Model::Virtio | Model::Igb => None,
            Model::E1000e => Some("DPDK's driver of e1000e has one queue"),
            Model::Vmxnet3 => Some("DPDK's driver of vmxnet3 does not apply our redirection table"),
        }
    }

    /// Adds a network card to QEMU's arguments, at a PCI port of its own so that it has its own IOMMU group.
    pub(super) fn card(self, qemu: &mut Command, number: usize, tap: &str) {
        let slot = number + 1;
        qemu.args(["-device", &format!("pcie-root-port,id=port{number},chassis={slot},slot={slot}")]);
        let queues = if self.multi_queue() { ",queues=2" } else { "" };
        let netdev = format!("tap,id=net{number},ifname={tap},script=no,downscript=no,vhost=off{queues}");
        qemu.args(["-netdev", &netdev]);
        let device = match self {
            // Vectors: two per queue pair, control and configuration. Behind an IOMMU the platform must be used.
            Model::Virtio => {
                "virtio-net-pci,disable-legacy=on,iommu_platform=on,ats=on,mq=on,rss=on,hash=on,vectors=6"
            }
            other => other.name(),
        };
        let mac = MACS[number];
        qemu.args([
            "-device",
            &format!("{device},id=card{number},netdev=net{number},mac={mac},bus=port{number},romfile="),
        ]);
    }

    /// Whether its TAP has a queue for each of the device's.
    pub fn multi_queue(self) -> bool {
        self == Model::Virtio
    }
}

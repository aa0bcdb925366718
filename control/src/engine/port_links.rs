//! Ports and twins as one interface: twins have the carrier of their port's link, and devices follow what is changed at
//! a twin or on top of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Engine, NamespaceEngine};
use crate::api::view::PortView;
use crate::log;
use crate::model::network::{Link, Mac};

/// Interval at which the links of the ports are read.
const INTERVAL: Duration = Duration::from_millis(100);

/// State of a port's twin in the kernel, with the addresses and VLANs of the interfaces on top of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinState {
    /// Whether the twin is administratively up.
    pub up: bool,
    /// MAC address of the twin.
    pub mac: Mac,
    /// MAC addresses of interfaces on top of the port, without the twin's.
    pub other_macs: BTreeSet<Mac>,
    /// VLAN IDs of interfaces on top of the port, and of twins of VLANs.
    pub vlans: BTreeSet<u16>,
    /// MTU of the twin in bytes.
    pub mtu: u32,
}

/// Last known state of the links and twins of the ports, by port number.
pub(super) struct PortLinks {
    up: Vec<bool>,
    changes: Vec<u64>,
    twins: Vec<Option<TwinState>>,
    read: Instant,
}

impl PortLinks {
    /// The links are presumed to be up, as new twins are.
    pub(super) fn new(ports: usize) -> PortLinks {
        PortLinks {
            up: vec![true; ports],
            changes: vec![0; ports],
            twins: vec![None; ports],
            read: Instant::now(),
        }
    }

    /// Adds how often each link went up or down to the counters of the ports.
    pub(super) fn count(&self, views: &mut [PortView]) {
        for (view, changes) in views.iter_mut().zip(&self.changes) {
            view.counters.insert("link_changes".to_owned(), *changes);
        }
    }
}

impl Engine {
    /// Passes on what changed at ports and twins; called at every tick.
    pub(super) fn follow_ports(&mut self) {
        if self.port_links.read.elapsed() < INTERVAL {
            return;
        }
        self.port_links.read = Instant::now();
        let names = self.ports.names();
        self.read_links(&names);
        for engine in std::iter::once(&mut self.default_namespace)
            .chain(self.named.iter_mut().map(|named| &mut named.engine))
        {
            engine.set_carriers(&names, &self.port_links.up);
        }
        for (number, name) in names.iter().enumerate() {
            let Some(twin) = self.twin_state(name) else { continue };
            if self.port_links.twins[number].as_ref() != Some(&twin) {
                self.ports.follow(number, &twin);
                self.port_links.twins[number] = Some(twin);
            }
        }
    }

    fn read_links(&mut self, names: &[String]) {
        for (number, (up, name)) in self.ports.links_up().into_iter().zip(names).enumerate() {
            if std::mem::replace(&mut self.port_links.up[number], up) != up {
                self.port_links.changes[number] += 1;
                if up {
                    log!(Info, "port {name}: link up");
                } else {
                    log!(Warn, "port {name}: link down");
                }
            }
        }
    }

    /// The state of a port's twin. That of the namespace to which the port is bound comes first.
    fn twin_state(&self, port: &str) -> Option<TwinState> {
        let engines = self.named.iter().map(|named| &named.engine).chain([&self.default_namespace]);
        let links: Vec<&Link> = engines.flat_map(|engine| engine.links_on(port)).collect();
        let twin = links.iter().find(|link| link.vlan.is_none())?;
        let macs = links.iter().flat_map(|link| link.other_macs.iter().chain([&link.mac]));
        Some(TwinState {
            up: twin.up,
            mac: twin.mac,
            other_macs: macs.copied().filter(|mac| *mac != twin.mac).collect(),
            vlans: links.iter().filter_map(|link| link.vlan).collect(),
            mtu: twin.mtu,
        })
    }
}

impl NamespaceEngine {
    /// Links on a port, as the kernel has them.
    fn links_on(&self, port: &str) -> impl Iterator<Item = &Link> {
        self.kernel_network.links.iter().filter(move |link| link.port == port)
    }

    /// Sets the carriers of twins that differ from the links of their ports. What fails is tried again at the next call:
    /// a twin may be gone.
    fn set_carriers(&mut self, ports: &[String], up: &[bool]) {
        let Some(mirror) = &self.mirror else { return };
        for (port, up) in ports.iter().zip(up) {
            if self.carriers.get(port) != Some(up) && mirror.set_carrier(port, *up).is_ok() {
                self.carriers.insert(port.clone(), *up);
            }
        }
    }
}

//! Applies changes of a port's twin, and of interfaces on top of it, to the device: state, MTU, MAC addresses and VLANs.

use std::collections::BTreeSet;

use pollux_dataplane::dpdk::{PortError, StartedPort};

use crate::engine::TwinState;
use crate::log;
use crate::model::network::Mac;

/// A port's device as it was last made to follow its twin.
pub(super) struct FollowingPort {
    pub(super) started: StartedPort,
    up: bool,
    mtu: u32,
    /// Further addresses in the device's filter.
    other_macs: BTreeSet<Mac>,
    /// VLANs in the device's filter.
    vlans: BTreeSet<u16>,
}

impl FollowingPort {
    /// A port that was just started.
    pub(super) fn new(started: StartedPort) -> FollowingPort {
        let mtu = started.port.mtu.into();
        FollowingPort { started, up: true, mtu, other_macs: BTreeSet::new(), vlans: BTreeSet::new() }
    }

    /// Makes the device as its twin is. What the device refuses is logged.
    pub(super) fn follow(&mut self, twin: &TwinState) {
        let name = self.started.port.name.clone();
        if twin.up != self.up {
            self.up = twin.up;
            let word = if twin.up { "up" } else { "down" };
            match self.started.set_link(twin.up) {
                Ok(()) => log!(Info, "port {name}: set {word}, as its twin is"),
                Err(why) => log!(Warn, "{why}; it is not set {word} as its twin is"),
            }
        }
        if twin.mtu != self.mtu {
            self.mtu = twin.mtu;
            self.follow_mtu(&name);
        }
        self.follow_macs(twin);
        self.follow_vlans(twin);
    }

    fn follow_mtu(&mut self, name: &str) {
        let mtu = u16::try_from(self.mtu).unwrap_or(u16::MAX);
        match self.started.set_mtu(mtu) {
            Ok(()) => log!(Info, "port {name}: MTU {mtu}, as its twin has"),
            Err(why) => {
                let old = self.started.port.mtu;
                log!(
                    Warn,
                    "{why}; the device keeps MTU {old}: set `mtu` of the port under [[ports]] and restart"
                );
            }
        }
    }

    fn follow_macs(&mut self, twin: &TwinState) {
        if twin.mac.0 != self.started.port.mac {
            let changed = self.started.set_mac(twin.mac.0);
            self.or_promiscuous(&format!("to {}", twin.mac), changed);
        }
        for mac in self.other_macs.difference(&twin.other_macs) {
            if let Err(why) = self.started.remove_mac(mac.0) {
                log!(Warn, "{why}: it still receives frames to {mac}");
            }
        }
        let new: Vec<Mac> = twin.other_macs.difference(&self.other_macs).copied().collect();
        for mac in new {
            let added = self.started.add_mac(mac.0);
            self.or_promiscuous(&format!("to {mac}"), added);
        }
        self.other_macs.clone_from(&twin.other_macs);
    }

    fn follow_vlans(&mut self, twin: &TwinState) {
        for vlan in self.vlans.difference(&twin.vlans) {
            if let Err(why) = self.started.set_vlan(*vlan, false) {
                log!(Warn, "{why}: it still receives frames of VLAN {vlan}");
            }
        }
        for vlan in twin.vlans.difference(&self.vlans) {
            let added = self.started.set_vlan(*vlan, true);
            self.or_promiscuous(&format!("of VLAN {vlan}"), added);
        }
        self.vlans.clone_from(&twin.vlans);
    }

    /// If a device cannot receive certain frames, it receives all; the data plane filters them.
    fn or_promiscuous(&self, frames: &str, outcome: Result<(), PortError>) {
        let Err(why) = outcome else { return };
        match self.started.set_promiscuous(true) {
            Ok(()) => log!(Info, "{why}; to receive frames {frames} it is promiscuous now"),
            Err(also) => log!(Warn, "{why}; {also}: frames {frames} may be lost"),
        }
    }
}

//! Taking interfaces for the life of the daemon, and giving them back.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use super::InterfaceError;
use super::change::{self, Change};
use super::claim::Claim;
use super::eal::Port;
use super::journal::{Entry, Journal};
use super::link::{self, Link};
use super::plan;
use super::request::{Mode, Request};
use super::system::System;
use crate::log;

/// Longest interface name.
const NAME: usize = 15;
/// Largest MTU of a port.
const MAX_MTU: u32 = 9600;

/// Interfaces in use. Dropping it restores them.
pub struct Interfaces<S: System> {
    pub(super) system: S,
    /// `None` if no interface was ever taken: the file may then belong to another daemon.
    journal: Option<Journal>,
    pub(super) taken: Vec<Taken>,
    /// When TAPs were last looked at; see [`super::follow`].
    pub(super) looked: Option<Instant>,
}

pub(super) struct Taken {
    pub(super) name: String,
    index: u32,
    /// What was changed, or is about to be.
    pub(super) changes: Vec<Change>,
    /// The port, unless this was left behind by another process and is not wanted now.
    pub(super) port: Option<Port>,
    mtu: u16,
    /// Whether the TAP has carrier.
    pub(super) carrier: bool,
    /// Whether it receives frames for all hardware addresses anyway.
    pub(super) promiscuous: bool,
    claim: Claim,
}

impl<S: System> Interfaces<S> {
    /// Restores what a killed daemon left behind, and prepares the interfaces of `requests`.
    ///
    /// # Errors
    /// If an interface cannot be used; all of them are restored then.
    pub fn take(
        requests: &[Request],
        take_over: bool,
        journal: Journal,
        system: S,
    ) -> Result<Interfaces<S>, InterfaceError> {
        if requests.is_empty() && !journal.exists() {
            return Ok(Interfaces { system, journal: None, taken: Vec::new(), looked: None });
        }
        let links = link::all(&system)?;
        // From here on, every return restores them.
        let taken = left_behind(&journal, &links)?;
        let mut interfaces = Interfaces { system, journal: Some(journal), taken, looked: None };
        let mut plans = Vec::new();
        for (number, request) in requests.iter().enumerate() {
            if requests[..number].iter().any(|other| other.name == request.name) {
                return Err(InterfaceError::Twice { name: request.name.clone() });
            }
            plans.push(interfaces.plan(request, &links, take_over)?);
        }
        interfaces.change(plans)?;
        Ok(interfaces)
    }

    fn plan(&self, request: &Request, links: &[Link], take_over: bool) -> Result<Taken, InterfaceError> {
        let left = self.taken.iter().find(|taken| taken.name == request.name);
        let before = left.map_or(&[][..], |left| &left.changes);
        let link = plan::find(request, links, before, take_over)?;
        let (mode, why) = plan::mode(request);
        let claim = match left {
            Some(left) => left.claim.clone(),
            None => Claim::new(&link.name, link.index)?,
        };
        let tap = tap_name(link);
        if mode == Mode::Tap && links.iter().any(|link| link.name == tap) {
            return Err(InterfaceError::TapExists { name: link.name.clone(), tap });
        }
        let observed = plan::observe(link, mode, &self.system)?;
        let changes = plan::changes(&observed, mode, &tap, before)?;
        let port = Port { interface: link.name.clone(), mode, tap, mac: link.mac.clone() };
        log!(Info, "interface {}: port {}, mode {mode}: {why}", link.name, port.name());
        Ok(Taken {
            name: link.name.clone(),
            index: link.index,
            changes,
            port: Some(port),
            mtu: link.mtu.min(MAX_MTU) as u16,
            carrier: true,
            promiscuous: link.promiscuous,
            claim,
        })
    }

    /// Undoes what is not needed any more, and makes all changes that are possible before the ports exist.
    fn change(&mut self, plans: Vec<Taken>) -> Result<(), InterfaceError> {
        for old in &mut self.taken {
            let kept = plans.iter().find(|plan| plan.name == old.name).map_or(&[][..], |plan| &plan.changes);
            old.changes.retain(|change| !kept.iter().any(|kept| kept.is_about(change)));
        }
        // The file still lists them.
        let restored = undo_all(&self.taken, &self.system);
        self.taken = plans;
        if !restored {
            log!(Warn, "not everything that an earlier polluxd changed could be restored");
        }
        self.write()?;
        for taken in &self.taken {
            for change in taken.changes.iter().filter(|change| !matches!(change, Change::Redirect { .. })) {
                change.make(&taken.name, &self.system)?;
                log!(Info, "interface {}: {}", taken.name, change.made());
            }
            if taken.port.as_ref().is_some_and(|port| port.mode != Mode::Tap) {
                log!(
                    Warn,
                    "interface {0}: a virtual peer (veth, virtio) must send complete checksums: switch its \
                     offloads off with `ethtool -K PEER tx off tso off gso off`, or use --interface {0},tap",
                    taken.name
                );
            }
        }
        Ok(())
    }

    pub(super) fn write(&self) -> Result<(), InterfaceError> {
        let entry = |taken: &Taken| Entry {
            name: taken.name.clone(),
            index: taken.index,
            changes: taken.changes.clone(),
        };
        let entries = self.taken.iter().map(entry).collect();
        self.journal.as_ref().map_or(Ok(()), |journal| journal.write(entries))
    }

    /// The ports to create.
    pub fn ports(&self) -> Vec<Port> {
        self.taken.iter().filter_map(|taken| taken.port.clone()).collect()
    }

    /// The MTU of each interface, by the name of the port.
    pub fn mtus(&self) -> BTreeMap<String, u16> {
        self.taken.iter().filter_map(|taken| Some((taken.port.as_ref()?.name(), taken.mtu))).collect()
    }

    /// Connects the interfaces to their TAPs, which DPDK has created and not yet brought up.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn connect(&self) -> Result<(), InterfaceError> {
        for taken in &self.taken {
            let Some(port) = taken.port.as_ref().filter(|port| port.mode == Mode::Tap) else { continue };
            let key = plan::disable_ipv6(&port.tap);
            // The host's stack must not send anything through it.
            if self.system.sysctl(&key).is_some() {
                self.system.set_sysctl(&key, "1")?;
            }
            change::redirect(&port.tap, &taken.name, &self.system)?;
            for change in taken.changes.iter().filter(|change| matches!(change, Change::Redirect { .. })) {
                change.make(&taken.name, &self.system)?;
                log!(Info, "interface {}: {}", taken.name, change.made());
            }
        }
        Ok(())
    }

    /// Adds the addresses and routes of the interfaces to the twins. `twins` are their names by that of the port.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn move_to_twins(&self, twins: &BTreeMap<String, String>) -> Result<(), InterfaceError> {
        for taken in &self.taken {
            let is_address = |change: &&Change| matches!(change, Change::Address { .. });
            let Some(twin) = taken.port.as_ref().and_then(|port| twins.get(&port.name())) else {
                if taken.changes.iter().any(|change| is_address(&change)) {
                    log!(
                        Warn,
                        "interface {}: without a twin, its addresses are gone until polluxd stops",
                        taken.name
                    );
                }
                continue;
            };
            let (addresses, others): (Vec<&Change>, Vec<&Change>) =
                taken.changes.iter().partition(is_address);
            for change in addresses.into_iter().chain(others) {
                change.add_to(twin, &self.system)?;
            }
        }
        Ok(())
    }

    /// Restores everything now.
    ///
    /// # Errors
    /// If something cannot be restored; the log has the details.
    pub fn restore(mut self) -> Result<(), InterfaceError> {
        if self.undo() { Ok(()) } else { Err(InterfaceError::NotRestored) }
    }

    fn undo(&mut self) -> bool {
        let restored = undo_all(&self.taken, &self.system);
        self.taken.clear();
        match self.write() {
            Ok(()) => restored,
            Err(why) => {
                log!(Warn, "{why}");
                false
            }
        }
    }
}

impl<S: System> Drop for Interfaces<S> {
    fn drop(&mut self) {
        self.undo();
    }
}

/// Claims the interfaces that another process left behind, with its changes.
fn left_behind(journal: &Journal, links: &[Link]) -> Result<Vec<Taken>, InterfaceError> {
    let mut taken = Vec::new();
    for Entry { name, index, changes } in journal.read()? {
        if !links.iter().any(|link| link.index == index && link.name == name) {
            log!(Warn, "interface {name} is gone; what an earlier polluxd changed on it is not restored");
            continue;
        }
        let claim = Claim::new(&name, index)?;
        log!(Info, "interface {name}: an earlier polluxd did not restore it");
        taken.push(Taken {
            name,
            index,
            changes,
            port: None,
            mtu: 0,
            carrier: true,
            promiscuous: false,
            claim,
        });
    }
    Ok(taken)
}

/// Undoes changes, the last first, as far as possible. Returns false if one could not be undone.
fn undo_all(taken: &[Taken], system: &impl System) -> bool {
    let mut restored = true;
    for taken in taken.iter().rev() {
        // Every interface has this sysctl.
        if system.sysctl(&format!("net/ipv4/conf/{}/forwarding", taken.name)).is_none() {
            log!(Info, "interface {} is gone; there is nothing to restore", taken.name);
            continue;
        }
        let mut changes: Vec<&Change> = taken.changes.iter().collect();
        changes.sort_by_key(|change| Reverse(change.order()));
        for change in changes {
            match change.undo(&taken.name, system) {
                Ok(()) => log!(Info, "interface {}: {}", taken.name, change.undone()),
                Err(why) => {
                    restored = false;
                    log!(Warn, "interface {}: not restored: {}: {why}", taken.name, change.undone());
                }
            }
        }
    }
    restored
}

/// Name of an interface's TAP: `dtap-eth1`, or with the interface's index if its name is too long.
fn tap_name(link: &Link) -> String {
    let name = format!("dtap-{}", link.name);
    if name.len() <= NAME { name } else { format!("dtap-{}", link.index) }
}

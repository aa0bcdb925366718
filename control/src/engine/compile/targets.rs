//! The distinct addresses of destinations, and their routes.

use std::net::IpAddr;
use std::sync::Arc;

use pollux_dataplane::config::{Network, NextHop, Target};
use pollux_dataplane::service::TargetId;

use super::ids::Ids;

/// Target ids by address, and the number of destinations that use each.
pub struct Targets {
    ids: Ids<IpAddr>,
    uses: Vec<u32>,
    /// Targets whose route has not been looked up yet.
    new: Vec<(u32, IpAddr)>,
    /// Targets whose routes were looked up last.
    fresh: Vec<u32>,
}

impl Targets {
    /// Returns a table of at most `capacity` targets.
    pub fn new(capacity: usize) -> Targets {
        Targets { ids: Ids::new(capacity), uses: Vec::new(), new: Vec::new(), fresh: Vec::new() }
    }

    /// Returns the target id of an address. `fresh` means that the destination is new and counts as a user.
    pub fn claim(&mut self, address: IpAddr, fresh: bool) -> Option<TargetId> {
        let (id, new) = self.ids.claim(address)?;
        if new {
            self.uses.resize(self.uses.len().max(id as usize + 1), 0);
            self.uses[id as usize] = 0;
            self.new.push((id, address));
        }
        self.uses[id as usize] += u32::from(fresh);
        Some(TargetId(id))
    }

    /// Removes one user of an address.
    pub fn release(&mut self, address: IpAddr) {
        let Some(id) = self.ids.get(&address) else { return };
        self.uses[id as usize] = self.uses[id as usize].saturating_sub(1);
        if self.uses[id as usize] == 0 {
            self.ids.free(&address);
        }
    }

    /// Looks up the routes of all targets.
    pub fn resolve_all(&mut self, network: &Network) -> Arc<[Target]> {
        self.new.clear();
        self.ids.slots().map(|address| address.map_or(UNUSED, |&address| network.target(address))).collect()
    }

    /// Looks up the routes of new targets; the others do not change.
    pub fn resolve_new(&mut self, network: &Network, known: &Arc<[Target]>) -> Arc<[Target]> {
        self.fresh.clear();
        if self.new.is_empty() {
            return Arc::clone(known);
        }
        let mut targets = known.to_vec();
        for (id, address) in self.new.drain(..) {
            targets.resize(targets.len().max(id as usize + 1), UNUSED);
            targets[id as usize] = network.target(address);
            self.fresh.push(id);
        }
        targets.into()
    }

    /// Returns the targets that [`Targets::resolve_new`] looked up last.
    pub fn fresh(&self) -> impl Iterator<Item = usize> {
        self.fresh.iter().map(|&id| id as usize)
    }

    /// Returns true if a destination uses this target.
    pub fn is_used(&self, id: usize) -> bool {
        self.uses.get(id).is_some_and(|&uses| uses > 0)
    }
}

/// Target that no destination uses.
const UNUSED: Target =
    Target { next: NextHop::None, mtu: 0, source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED) };

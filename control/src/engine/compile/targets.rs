//! The distinct addresses of destinations, and the ways there.

use std::net::IpAddr;
use std::sync::Arc;

use pollux_dataplane::config::{Network, NextHop, Target};
use pollux_dataplane::service::TargetId;

use super::ids::Ids;

/// Addresses with their numbers, and how many destinations have each.
pub struct Targets {
    ids: Ids<IpAddr>,
    uses: Vec<u32>,
    /// Numbers whose ways are not looked up yet.
    new: Vec<(u32, IpAddr)>,
    /// Numbers whose ways were looked up last.
    fresh: Vec<u32>,
}

impl Targets {
    /// So many at most.
    pub fn new(capacity: usize) -> Targets {
        Targets { ids: Ids::new(capacity), uses: Vec::new(), new: Vec::new(), fresh: Vec::new() }
    }

    /// The number of an address that a destination has. `fresh` says that the destination is new.
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

    /// A destination with this address is gone for good.
    pub fn release(&mut self, address: IpAddr) {
        let Some(id) = self.ids.get(&address) else { return };
        self.uses[id as usize] = self.uses[id as usize].saturating_sub(1);
        if self.uses[id as usize] == 0 {
            self.ids.free(&address);
        }
    }

    /// Looks all ways up.
    pub fn aim_all(&mut self, network: &Network) -> Arc<[Target]> {
        self.new.clear();
        self.ids.places().map(|address| address.map_or(NOWHERE, |&address| network.target(address))).collect()
    }

    /// Looks the ways to new addresses up; the others stay.
    pub fn aim(&mut self, network: &Network, known: &Arc<[Target]>) -> Arc<[Target]> {
        self.fresh.clear();
        if self.new.is_empty() {
            return Arc::clone(known);
        }
        let mut targets = known.to_vec();
        for (id, address) in self.new.drain(..) {
            targets.resize(targets.len().max(id as usize + 1), NOWHERE);
            targets[id as usize] = network.target(address);
            self.fresh.push(id);
        }
        targets.into()
    }

    /// Numbers whose ways [`Targets::aim`] looked up last.
    pub fn fresh(&self) -> impl Iterator<Item = usize> {
        self.fresh.iter().map(|&id| id as usize)
    }

    /// Whether the address with this number still belongs to a destination.
    pub fn is_used(&self, id: usize) -> bool {
        self.uses.get(id).is_some_and(|&uses| uses > 0)
    }
}

/// Of a number that no destination has.
const NOWHERE: Target =
    Target { next: NextHop::None, mtu: 0, source: IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED) };

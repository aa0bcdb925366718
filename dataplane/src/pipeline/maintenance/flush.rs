//! Removal of the connections of removed destinations and of protocols that were switched off, in slices of the table; then
//! of those destinations' templates.

use crate::conn::ConnId;
use crate::pipeline::Pipeline;
use crate::service::DestinationId;
use crate::work_budget::WorkBudget;

/// Cost of removing a connection, in budget units: its index buckets are in no cache.
const REMOVAL_COST: u32 = 3;

/// Progress of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Connections from this place of the table on.
    Connections(u32),
    /// Templates from this cursor on.
    Templates(u64),
}

impl Flush {
    /// The beginning.
    pub const BEGIN: Flush = Flush::Connections(0);
}

impl Pipeline {
    /// Continues a flush within the budget: with `expire_nodest_conn` connections of removed destinations are removed, and
    /// always those of protocols that are off.
    #[inline]
    pub fn flush(&mut self, budget: &mut WorkBudget) {
        if let Some(at) = self.maintenance.flush {
            self.maintenance.flush = self.flush_from(at, budget);
        }
    }

    #[cold]
    fn flush_from(&mut self, at: Flush, budget: &mut WorkBudget) -> Option<Flush> {
        match at {
            Flush::Connections(from) => self.flush_connections(from, budget),
            Flush::Templates(from) => {
                let (services, shared) = (&self.snapshot.services, &self.shared);
                let stays = |id| services.destination(id).is_some_and(|d| d.available);
                let on_remove = |id| shared.quotas.count_template(id, false);
                let next = shared.templates.retain(from, budget.remaining(), stays, on_remove);
                next.map(Flush::Templates)
            }
        }
    }

    fn flush_connections(&mut self, mut from: u32, budget: &mut WorkBudget) -> Option<Flush> {
        let settings_expire = self.snapshot.settings.expire_nodest_conn;
        while !budget.is_exhausted() {
            let (found, next) = self.conns.next_live(from, budget.remaining());
            budget.spend(next.unwrap_or_else(|| self.conns.capacity()).saturating_sub(from));
            if let Some(id) = found.filter(|&id| self.is_to_go(id, settings_expire)) {
                self.remove_connection(id, true);
                budget.spend_units(REMOVAL_COST);
            }
            let Some(next) = next else {
                return settings_expire.then_some(Flush::Templates(0));
            };
            from = next;
        }
        Some(Flush::Connections(from))
    }

    fn is_to_go(&self, id: ConnId, settings_expire: bool) -> bool {
        let entry = self.conns.entry(id);
        let is_unavailable = || {
            let destination = self.snapshot.services.destination(DestinationId(entry.destination));
            destination.is_some_and(|d| !d.available)
        };
        self.snapshot.settings.is_off(entry.protocol) || (settings_expire && is_unavailable())
    }
}

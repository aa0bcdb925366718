//! Connections of removed destinations and of protocols that were switched off are looked for and ended, a part of the
//! table at a time; then the templates of those destinations.

use crate::conn::ConnId;
use crate::pipeline::Pipeline;
use crate::service::DestinationId;
use crate::work_budget::WorkBudget;

/// Deeds that it takes to end a connection, whose lines are all over the index.
const ENDING: u32 = 3;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Connections from this place on.
    Connections(u32),
    /// Templates from this one on.
    Templates(u64),
}

impl Flush {
    /// Nothing was looked at.
    pub const BEGIN: Flush = Flush::Connections(0);
}

impl Pipeline {
    /// `expire_nodest_conn`: connections of removed destinations end, and in any case those of protocols that are off, as
    /// far as there is leisure.
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
                let gone = |id| shared.quotas.count_template(id, false);
                let next = shared.templates.retain(from, budget.remaining(), stays, gone);
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
                budget.spend_units(ENDING);
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
        let gone = || {
            let of = self.snapshot.services.destination(DestinationId(entry.destination));
            of.is_some_and(|d| !d.available)
        };
        self.snapshot.settings.is_off(entry.protocol) || (settings_expire && gone())
    }
}

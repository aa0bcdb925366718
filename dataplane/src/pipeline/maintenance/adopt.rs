//! Adoption of snapshots. A snapshot takes effect at once. Its configuration events, which change scheduler state and the
//! counts behind thresholds, are applied afterwards in bounded slices, but those of a service before a packet uses it.

use crate::config::{ConfigEvent, ConfigEvents, Snapshot};
use crate::conn::slab::prefetch_at;
use crate::pipeline::Pipeline;
use crate::pipeline::maintenance::flush::Flush;
use crate::sched::Load;
use crate::service::{DestinationId, ServiceId};
use crate::trace::{Record, event};
use crate::work_budget::WorkBudget;

impl Pipeline {
    /// Puts `snapshot` into force and returns the one it replaces. Events of that one which are still pending are applied
    /// first.
    pub fn adopt(&mut self, snapshot: Box<Snapshot>, events: ConfigEvents) -> Box<Snapshot> {
        self.apply_events(&mut { WorkBudget::UNLIMITED });
        if snapshot.network.generation != self.snapshot.network.generation {
            self.pmtu.clear();
        }
        let removed = events.has_removals() && snapshot.settings.expire_nodest_conn;
        if removed || snapshot.settings.protocols_off != self.snapshot.settings.protocols_off {
            self.maintenance.flush = Some(Flush::BEGIN);
        }
        self.config_events = events;
        let old = std::mem::replace(&mut self.snapshot, snapshot);
        event!(self, Adopted, |pipeline| Record::new([pipeline.snapshot.generation as u32, 0, 0, 0]));
        old
    }

    /// Applies pending events within the budget. Returns the events, to be freed, when all are applied.
    pub fn apply_events(&mut self, budget: &mut WorkBudget) -> Option<ConfigEvents> {
        while let Some((service, event)) = self.config_events.next(budget) {
            if let Some(service) = self.config_events.lookahead() {
                prefetch_at(&self.scheduler_states, service.0 as usize);
            }
            self.apply_event(service, event);
        }
        self.config_events.is_done().then(|| std::mem::take(&mut self.config_events))
    }

    /// Applies the pending events of a destination's service, before connections of the destination are counted.
    #[inline]
    pub(crate) fn apply_events_of_destination(&mut self, id: DestinationId) {
        if !self.config_events.is_done()
            && let Some(destination) = self.snapshot.services.destination(id)
        {
            self.apply_events_of_service(destination.service);
        }
    }

    /// Applies all pending events of a service.
    #[cold]
    #[inline(never)]
    pub(crate) fn apply_events_of_service(&mut self, service: ServiceId) {
        let mut events = std::mem::take(&mut self.config_events);
        events.of_service(service).for_each(|event| self.apply_event(service, event));
        self.config_events = events;
    }

    fn apply_event(&mut self, service: ServiceId, event: ConfigEvent) {
        match event {
            ConfigEvent::Scheduler(scheduler, event) => {
                if let Some(state) = self.scheduler_states.get_mut(service.0 as usize) {
                    state.apply_event(scheduler, &event);
                }
            }
            ConfigEvent::Threshold(id, counting, clears) => {
                let load = self.stats.destinations.get(id.0 as usize).map_or(Load::default(), |c| c.load());
                self.shared.quotas.edited(id, counting, (load.active + load.inactive).cast_signed(), clears);
            }
        }
    }
}

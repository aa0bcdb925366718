//! Changes that come with a snapshot for state that outlives it: scheduler state, and connection counts of thresholds.
//! There can be thousands, so a worker applies a few per iteration, and those of a service before a packet uses it.

use super::snapshot::{Event, EventKind};
use crate::conn::quota::Counting;
use crate::service::{DestinationId, Scheduler, ServiceId, Services};
use crate::work_budget::WorkBudget;

/// How many events ahead the state to change is prefetched.
const LOOKAHEAD: usize = 8;

/// Cost of an event in units of the work budget. Control has just written it and the state is cold, so neither is in
/// the cache.
const APPLY_COST: u32 = 3;

/// One change to apply.
#[derive(Clone, Copy, Debug)]
pub enum ConfigEvent {
    /// Changes the state of the service's scheduler.
    Scheduler(Scheduler, Event),
    /// Changes whether a destination's connections are counted. True if it also ends the overload.
    Threshold(DestinationId, Counting, bool),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    service: ServiceId,
    event: ConfigEvent,
    applied: bool,
}

/// The events of a snapshot, and which of them have been applied.
#[derive(Debug, Default)]
pub struct ConfigEvents {
    /// Sorted by service; the events of a service are in order.
    entries: Box<[Entry]>,
    next: usize,
    has_removals: bool,
}

impl ConfigEvents {
    /// The changes that these events mean to a worker with these services.
    pub fn new(events: &[Event], services: &Services) -> ConfigEvents {
        let mut entries = Vec::new();
        let mut add = |service, event| entries.push(Entry { service, event, applied: false });
        for event in events {
            let scheduler = services.service(event.service).map(|service| service.scheduler);
            if let Some(scheduler) = scheduler.filter(|scheduler| scheduler.needs_event(event.kind)) {
                add(event.service, ConfigEvent::Scheduler(scheduler, *event));
            }
            // Filed under the destination's current service, because packets look it up there.
            if let Some((id, counting, clears)) = threshold(event)
                && let Some(destination) = services.destination(id)
            {
                add(destination.service, ConfigEvent::Threshold(id, counting, clears));
            }
        }
        entries.sort_by_key(|entry| entry.service);
        let has_removals = events.iter().any(|event| matches!(event.kind, EventKind::Removed(..)));
        ConfigEvents { entries: entries.into(), next: 0, has_removals }
    }

    /// Whether all events have been applied.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.next == self.entries.len()
    }

    /// Whether destinations were removed.
    pub fn has_removals(&self) -> bool {
        self.has_removals
    }

    /// The next event to apply, within the budget.
    pub fn next(&mut self, budget: &mut WorkBudget) -> Option<(ServiceId, ConfigEvent)> {
        while !budget.is_exhausted() {
            let entry = self.entries.get_mut(self.next)?;
            self.next += 1;
            if !std::mem::replace(&mut entry.applied, true) {
                budget.spend_units(APPLY_COST);
                return Some((entry.service, entry.event));
            }
            budget.spend(1);
        }
        None
    }

    /// The service of an event further on, to prefetch its state.
    pub fn lookahead(&self) -> Option<ServiceId> {
        Some(self.entries.get(self.next + LOOKAHEAD)?.service)
    }

    /// The events of a service that have not been applied.
    pub fn of_service(&mut self, service: ServiceId) -> impl Iterator<Item = ConfigEvent> {
        let first = self.entries.partition_point(|entry| entry.service < service);
        self.entries[first..]
            .iter_mut()
            .take_while(move |entry| entry.service == service)
            .filter_map(|entry| (!std::mem::replace(&mut entry.applied, true)).then_some(entry.event))
    }
}

/// The effect of an event on a destination's thresholds.
fn threshold(event: &Event) -> Option<(DestinationId, Counting, bool)> {
    let (id, clears) = match event.kind {
        EventKind::Added(id) => (id, false),
        EventKind::Edited { destination, clears } => (destination, clears),
        EventKind::Reset | EventKind::Removed(..) => return None,
    };
    let is_relevant = match event.counting {
        Counting::Never => false,
        Counting::Continues => clears,
        Counting::Begins | Counting::Ends => true,
    };
    is_relevant.then_some((id, event.counting, clears))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::service::Method;
    use crate::testkit::{Plan, nth_server, vip};

    /// Services with `wrr`, which needs every event.
    fn services(count: u32) -> Services {
        let plan = Plan { scheduler: Scheduler::Wrr, ..Plan::new(Method::Nat) };
        let mut services = Services::default();
        (0..count).for_each(|_| plan.serve(&mut services, vip(), std::iter::once(nth_server(0))));
        services
    }

    /// An event with a number, as its greatest weight.
    fn event(service: u32, number: u32) -> Event {
        let (service, kind) = (ServiceId(service), EventKind::Added(DestinationId(0)));
        Event { service, kind, gcd: 1, max_weight: number, counting: Counting::Never }
    }

    proptest! {
        #[test]
        fn each_service_gets_its_events_once_and_in_order(
            changed in proptest::collection::vec(0u32..5, 0..60),
            requests in proptest::collection::vec((0usize..20, 0u32..6), 0..12),
        ) {
            let events: Vec<_> = changed.iter().zip(0..).map(|(&service, n)| event(service, n)).collect();
            let mut events = ConfigEvents::new(&events, &services(5));
            let mut applied = vec![Vec::new(); 6];
            let mut note = |service: ServiceId, event| {
                let ConfigEvent::Scheduler(_, event) = event else { panic!("no event has a threshold") };
                applied[service.0 as usize].push(event.max_weight);
            };
            for (count, service) in requests {
                for _ in 0..count {
                    events.next(&mut { WorkBudget::UNLIMITED }).into_iter().for_each(|(service, event)| note(service, event));
                }
                events.of_service(ServiceId(service)).for_each(|event| note(ServiceId(service), event));
            }
            while let Some((service, event)) = events.next(&mut { WorkBudget::UNLIMITED }) {
                note(service, event);
            }
            prop_assert!(events.is_done());
            for service in 0..6 {
                let expected: Vec<u32> =
                    changed.iter().zip(0..).filter(|(changed_service, _)| **changed_service == service).map(|(_, n)| n).collect();
                prop_assert_eq!(&applied[service as usize], &expected);
            }
        }
    }

    #[test]
    fn events_without_effect_are_left_out() {
        let mut services = services(2);
        let scheduler = |services: &mut Services, to| {
            services.services[0].iter_mut().for_each(|service| service.scheduler = to);
        };
        let kinds = [
            EventKind::Reset,
            EventKind::Added(DestinationId(0)),
            EventKind::Removed(DestinationId(0), None),
        ];
        let events: Vec<_> = kinds.into_iter().map(|kind| Event { kind, ..event(0, 1) }).collect();
        for (to, count) in [(Scheduler::Wrr, 3), (Scheduler::Rr, 2), (Scheduler::Sh, 1)] {
            scheduler(&mut services, to);
            assert_eq!(ConfigEvents::new(&events, &services).entries.len(), count, "{to:?}");
        }
        assert_eq!(
            ConfigEvents::new(&[event(9, 1)], &services).entries.len(),
            0,
            "the service does not exist"
        );
        let edit = |counting, clears| {
            let kind = EventKind::Edited { destination: DestinationId(1), clears };
            let event = Event { service: ServiceId(9), kind, counting, ..event(9, 1) };
            ConfigEvents::new(&[event], &services).entries.first().map(|entry| entry.service)
        };
        assert_eq!(edit(Counting::Never, true), None);
        assert_eq!(edit(Counting::Continues, false), None);
        for (counting, clears) in
            [(Counting::Continues, true), (Counting::Begins, false), (Counting::Ends, false)]
        {
            assert_eq!(edit(counting, clears), Some(ServiceId(1)), "filed under the destination's service");
        }
    }
}

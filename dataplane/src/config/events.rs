//! What comes with a snapshot for those who remember: schedulers, and the counts behind thresholds. It can be thousands of
//! things, so a worker hears of them a few at a time, and of a service's before a packet makes use of what it changes.

use super::snapshot::{Event, EventKind};
use crate::conn::quota::Counting;
use crate::service::{DestinationId, Scheduler, ServiceId, Services};
use crate::work_budget::WorkBudget;

/// How many places ahead the next ones are known, so that what they change can be asked for.
const AHEAD: usize = 8;

/// Deeds that it takes to hear of something: control has just written it, and what it changes is in no cache.
const APPLY_COST: u32 = 3;

/// One thing to hear.
#[derive(Clone, Copy, Debug)]
pub enum ConfigEvent {
    /// The memory of a service's scheduler hears this.
    Scheduler(Scheduler, Event),
    /// The count behind a destination's thresholds changes so; whether it is no longer overloaded.
    Threshold(DestinationId, Counting, bool),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    service: ServiceId,
    event: ConfigEvent,
    applied: bool,
}

/// All of it, and how far it was heard.
#[derive(Debug, Default)]
pub struct ConfigEvents {
    /// By service; those of one in the order they happened.
    entries: Box<[Entry]>,
    at: usize,
    removes: bool,
}

impl ConfigEvents {
    /// What these events, in their order, mean to workers that are to act on these services.
    pub fn new(events: &[Event], services: &Services) -> ConfigEvents {
        let mut entries = Vec::new();
        let mut add = |service, event| entries.push(Entry { service, event, applied: false });
        for event in events {
            let scheduler = services.service(event.service).map(|service| service.scheduler);
            if let Some(scheduler) = scheduler.filter(|scheduler| scheduler.wants(event.kind)) {
                add(event.service, ConfigEvent::Scheduler(scheduler, *event));
            }
            // Found by the service that a packet of the destination will find, whatever it was of when this happened.
            if let Some((id, counting, clears)) = threshold(event)
                && let Some(destination) = services.destination(id)
            {
                add(destination.service, ConfigEvent::Threshold(id, counting, clears));
            }
        }
        entries.sort_by_key(|entry| entry.service);
        let removes = events.iter().any(|event| matches!(event.kind, EventKind::Removed(..)));
        ConfigEvents { entries: entries.into(), at: 0, removes }
    }

    /// Whether all was heard.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.at == self.entries.len()
    }

    /// Whether destinations were removed.
    pub fn removes(&self) -> bool {
        self.removes
    }

    /// The next that was not heard, if there is leisure for it.
    pub fn next(&mut self, budget: &mut WorkBudget) -> Option<(ServiceId, ConfigEvent)> {
        while !budget.is_exhausted() {
            let entry = self.entries.get_mut(self.at)?;
            self.at += 1;
            if !std::mem::replace(&mut entry.applied, true) {
                budget.spend_units(APPLY_COST);
                return Some((entry.service, entry.event));
            }
            budget.spend(1);
        }
        None
    }

    /// The service that will be heard of in a while.
    pub fn ahead(&self) -> Option<ServiceId> {
        Some(self.entries.get(self.at + AHEAD)?.service)
    }

    /// What is about a service and was not heard.
    pub fn of(&mut self, service: ServiceId) -> impl Iterator<Item = ConfigEvent> {
        let first = self.entries.partition_point(|entry| entry.service < service);
        self.entries[first..]
            .iter_mut()
            .take_while(move |entry| entry.service == service)
            .filter_map(|entry| (!std::mem::replace(&mut entry.applied, true)).then_some(entry.event))
    }
}

/// What an event changes about a destination's thresholds.
fn threshold(event: &Event) -> Option<(DestinationId, Counting, bool)> {
    let (id, clears) = match event.kind {
        EventKind::Added(id) => (id, false),
        EventKind::Edited { destination, clears } => (destination, clears),
        EventKind::Fresh | EventKind::Removed(..) => return None,
    };
    let matters = match event.counting {
        Counting::Never => false,
        Counting::GoesOn => clears,
        Counting::Begins | Counting::Ends => true,
    };
    matters.then_some((id, event.counting, clears))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::service::Method;
    use crate::testkit::{Plan, nth_server, vip};

    /// As many services by `wrr`, which hears everything.
    fn services(count: u32) -> Services {
        let plan = Plan { scheduler: Scheduler::Wrr, ..Plan::new(Method::Nat) };
        let mut services = Services::default();
        (0..count).for_each(|_| plan.serve(&mut services, vip(), std::iter::once(nth_server(0))));
        services
    }

    /// An event that is told from others by its greatest weight.
    fn event(service: u32, number: u32) -> Event {
        let (service, kind) = (ServiceId(service), EventKind::Added(DestinationId(0)));
        Event { service, kind, gcd: 1, max_weight: number, counting: Counting::Never }
    }

    proptest! {
        /// Whoever is heard of first, each service hears all that is about it, once and in order.
        #[test]
        fn each_service_hears_what_happened_in_its_order(
            connection_record in proptest::collection::vec(0u32..5, 0..60),
            asked in proptest::collection::vec((0usize..20, 0u32..6), 0..12),
        ) {
            let events: Vec<_> = connection_record.iter().zip(0..).map(|(&service, n)| event(service, n)).collect();
            let mut events = ConfigEvents::new(&events, &services(5));
            let mut applied = vec![Vec::new(); 6];
            let mut note = |service: ServiceId, event| {
                let ConfigEvent::Scheduler(_, event) = event else { panic!("there are no thresholds") };
                applied[service.0 as usize].push(event.max_weight);
            };
            for (some, service) in asked {
                for _ in 0..some {
                    events.next(&mut { WorkBudget::UNLIMITED }).into_iter().for_each(|(of, event)| note(of, event));
                }
                events.of(ServiceId(service)).for_each(|event| note(ServiceId(service), event));
            }
            while let Some((of, event)) = events.next(&mut { WorkBudget::UNLIMITED }) {
                note(of, event);
            }
            prop_assert!(events.is_over());
            for service in 0..6 {
                let expected: Vec<u32> =
                    connection_record.iter().zip(0..).filter(|(of, _)| **of == service).map(|(_, n)| n).collect();
                prop_assert_eq!(&applied[service as usize], &expected);
            }
        }
    }

    #[test]
    fn what_changes_nothing_is_left_out() {
        let mut services = services(2);
        let scheduler = |services: &mut Services, to| {
            services.services[0].iter_mut().for_each(|service| service.scheduler = to);
        };
        let kinds = [
            EventKind::Fresh,
            EventKind::Added(DestinationId(0)),
            EventKind::Removed(DestinationId(0), None),
        ];
        let events: Vec<_> = kinds.into_iter().map(|kind| Event { kind, ..event(0, 1) }).collect();
        for (to, count) in [(Scheduler::Wrr, 3), (Scheduler::Rr, 2), (Scheduler::Sh, 1)] {
            scheduler(&mut services, to);
            assert_eq!(ConfigEvents::new(&events, &services).entries.len(), count, "{to:?}");
        }
        assert_eq!(ConfigEvents::new(&[event(9, 1)], &services).entries.len(), 0, "the service is gone");
        let edit = |counting, clears| {
            let kind = EventKind::Edited { destination: DestinationId(1), clears };
            let event = Event { service: ServiceId(9), kind, counting, ..event(9, 1) };
            ConfigEvents::new(&[event], &services).entries.first().map(|entry| entry.service)
        };
        assert_eq!(edit(Counting::Never, true), None);
        assert_eq!(edit(Counting::GoesOn, false), None);
        for (counting, clears) in
            [(Counting::GoesOn, true), (Counting::Begins, false), (Counting::Ends, false)]
        {
            assert_eq!(
                edit(counting, clears),
                Some(ServiceId(1)),
                "by the service that the destination is of"
            );
        }
    }
}

//! What comes with a snapshot for those who remember: schedulers, and the counts behind thresholds. It can be thousands of
//! things, so a worker hears of them a few at a time, and of a service's before a packet makes use of what it changes.

use super::snapshot::{Counting, Event, EventKind};
use crate::leisure::Leisure;
use crate::service::{DestinationId, Scheduler, ServiceId, Services};

/// How many places ahead the next ones are known, so that what they change can be asked for.
const AHEAD: usize = 8;

/// One thing to hear.
#[derive(Clone, Copy, Debug)]
pub enum Piece {
    /// The memory of a service's scheduler hears this.
    Scheduler(Scheduler, Event),
    /// The count behind a destination's thresholds changes so; whether it is no longer overloaded.
    Threshold(DestinationId, Counting, bool),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    service: ServiceId,
    piece: Piece,
    heard: bool,
}

/// All of it, and how far it was heard.
#[derive(Debug, Default)]
pub struct News {
    /// By service; those of one in the order they happened.
    entries: Box<[Entry]>,
    at: usize,
    removes: bool,
}

impl News {
    /// What these events, in their order, mean to workers that are to act on these services.
    pub fn new(events: &[Event], services: &Services) -> News {
        let mut entries = Vec::new();
        let mut add = |service, piece| entries.push(Entry { service, piece, heard: false });
        for event in events {
            let scheduler = services.service(event.service).map(|service| service.scheduler);
            if let Some(scheduler) = scheduler.filter(|scheduler| scheduler.hears(event.kind)) {
                add(event.service, Piece::Scheduler(scheduler, *event));
            }
            // Found by the service that a packet of the destination will find, whatever it was of when this happened.
            if let Some((id, counting, clears)) = threshold(event)
                && let Some(destination) = services.destination(id)
            {
                add(destination.service, Piece::Threshold(id, counting, clears));
            }
        }
        entries.sort_by_key(|entry| entry.service);
        let removes = events.iter().any(|event| matches!(event.kind, EventKind::Removed(..)));
        News { entries: entries.into(), at: 0, removes }
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
    pub fn next(&mut self, leisure: &mut Leisure) -> Option<(ServiceId, Piece)> {
        while !leisure.is_over() {
            let entry = self.entries.get_mut(self.at)?;
            self.at += 1;
            if !std::mem::replace(&mut entry.heard, true) {
                leisure.act();
                return Some((entry.service, entry.piece));
            }
            leisure.look(1);
        }
        None
    }

    /// The service that will be heard of in a while.
    pub fn ahead(&self) -> Option<ServiceId> {
        Some(self.entries.get(self.at + AHEAD)?.service)
    }

    /// What is about a service and was not heard.
    pub fn of(&mut self, service: ServiceId) -> impl Iterator<Item = Piece> {
        let first = self.entries.partition_point(|entry| entry.service < service);
        self.entries[first..]
            .iter_mut()
            .take_while(move |entry| entry.service == service)
            .filter_map(|entry| (!std::mem::replace(&mut entry.heard, true)).then_some(entry.piece))
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

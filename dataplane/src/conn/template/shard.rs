//! One shard of the templates: its places, keys and timers.

use hashbrown::HashMap;

use super::{CHILDREN_WAIT, Claim, Handle, Key, ListedTemplate, NewTemplate, SHARD_BITS};
use crate::service::DestinationId;
use crate::time::wheel::{Linked, Links, Wheel};
use crate::time::{Millis, Tick};

pub(super) struct Template {
    /// `None` in a free place.
    pub(super) key: Option<Key>,
    pub(super) new: NewTemplate,
    pub(super) assured: bool,
    pub(super) disabled: bool,
    pub(super) children: u32,
    pub(super) in_packets: u32,
    pub(super) timeout: Millis,
    pub(super) since: Tick,
    pub(super) links: Links,
}

impl Linked for Template {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Aligned so that no two shards share a cache line.
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) by_key: HashMap<Key, u32>,
    pub(super) places: Vec<Template>,
    pub(super) free: Vec<u32>,
    pub(super) capacity: usize,
    pub(super) wheel: Wheel,
}

const _: () =
    assert!(align_of::<Shard>() >= crate::cache_aligned_alloc::PAIR, "shards have cache lines of their own");

impl Template {
    fn deadline(&self) -> Tick {
        self.since.after(self.timeout)
    }

    pub(super) fn listed(&self, now: Tick) -> Option<ListedTemplate> {
        Some(ListedTemplate {
            key: self.key.clone()?,
            new: self.new,
            assured: self.assured,
            disabled: self.disabled,
            children: self.children,
            expires: self.deadline().since(now),
        })
    }
}

impl Shard {
    pub(super) fn new(capacity: usize) -> Shard {
        Shard {
            by_key: HashMap::with_capacity(capacity),
            places: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
            wheel: Wheel::new(),
        }
    }

    pub(super) fn claim(&mut self, number: usize, place: u32, now: Tick) -> Claim {
        let template = &mut self.places[place as usize];
        template.children += 1;
        let destination = template.new.destination;
        self.restart(place, now);
        Claim { template: Handle(place << SHARD_BITS | number as u32), destination, fresh: false }
    }

    pub(super) fn insert(&mut self, key: Key, new: NewTemplate, now: Tick) -> Option<u32> {
        let template = Template {
            key: Some(key.clone()),
            new,
            assured: false,
            disabled: false,
            children: 0,
            in_packets: 0,
            timeout: new.timeout,
            since: now,
            links: Links::default(),
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = template;
                place
            }
            None if self.places.len() < self.capacity => {
                self.places.push(template);
                (self.places.len() - 1) as u32
            }
            None => return None,
        };
        self.by_key.insert(key, place);
        self.wheel.arm(&mut self.places, place, now.after(new.timeout));
        Some(place)
    }

    /// Handles the expiry of a template's timer. Returns the template's destination if the template ends.
    pub(super) fn on_timer(&mut self, place: u32, now: Tick) -> Option<DestinationId> {
        let template = &mut self.places[place as usize];
        if template.deadline() <= now && template.children == 0 {
            return Some(self.remove(place));
        }
        if template.deadline() <= now {
            (template.timeout, template.since) = (CHILDREN_WAIT, now);
        }
        let deadline = template.deadline();
        self.wheel.arm(&mut self.places, place, deadline);
        None
    }

    fn restart(&mut self, place: u32, now: Tick) {
        let template = &mut self.places[place as usize];
        template.since = now;
        let deadline = template.deadline();
        if Wheel::due(deadline) < template.links.armed {
            self.wheel.disarm(&mut self.places, place);
            self.wheel.arm(&mut self.places, place, deadline);
        }
    }

    pub(super) fn remove(&mut self, place: u32) -> DestinationId {
        self.wheel.disarm(&mut self.places, place);
        let template = &mut self.places[place as usize];
        let destination = template.new.destination;
        // The key of a disabled template may belong to another one now.
        if let Some(key) = template.key.take().filter(|_| !template.disabled) {
            self.by_key.remove(&key);
        }
        self.free.push(place);
        destination
    }
}

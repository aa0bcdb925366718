//! Persistence templates: which destination a client's network was given. All workers share them, since a client's
//! connections land on different workers and must still meet one destination; spec 4.3.
//!
//! A template is touched when a connection is made, is first found open, or ends, never by a packet in between. The
//! store is cut into shards by the client's network; a shard is locked for a lookup's length.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::flow::{Endpoint, Seed};
use crate::service::{DestinationId, Method};
use crate::time::wheel::{Linked, Links, Wheel};
use crate::time::{Millis, Tick};

/// Shards are chosen by these bits of a handle.
const SHARD_BITS: u32 = 4;
const SHARDS: usize = 1 << SHARD_BITS;
/// How long a template waits for its connections to end once its own time is over; spec 4.9.
const CHILDREN_WAIT: Millis = Millis::from_secs(60);
/// The longest Call-ID that is kept; spec 9.3.
pub const MAX_ENGINE_DATA: usize = 255;

/// What clients address, in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A virtual address, and a port or 0.
    Address(IpAddr, u16),
    /// A mark.
    Fwmark(u32),
}

/// What tells one template from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Protocol number; 0 for marks.
    pub protocol: u8,
    /// The client's address, masked.
    pub client: IpAddr,
    /// What the client addresses.
    pub target: Target,
    /// What the persistence engine found in the packet; empty without one.
    pub data: Box<[u8]>,
}

/// Names a template as long as it lives: as long as it has connections, at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u32);

/// A template that a connection is about to be made by. It counts as the template's child from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The template.
    pub template: Handle,
    /// Where it sends its clients.
    pub destination: DestinationId,
    /// It was not there before.
    pub fresh: bool,
}

/// What a new template starts with.
#[derive(Clone, Copy, Debug)]
pub struct NewTemplate {
    /// The destination that was chosen.
    pub destination: DestinationId,
    /// Where it is, with the port that is listed.
    pub endpoint: Endpoint,
    /// How packets reach it.
    pub method: Method,
    /// How long the template lives after the last new connection.
    pub timeout: Millis,
    /// It belongs to a service of one-packet scheduling: random early expiry judges it by its packets.
    pub ops: bool,
}

/// A template as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What tells it from others.
    pub key: Key,
    /// Where its clients go.
    pub new: NewTemplate,
    /// Saw a connection that was really opened.
    pub assured: bool,
    /// No longer used for new connections: its destination was gone.
    pub disabled: bool,
    /// Connections that it controls.
    pub children: u32,
    /// Time left.
    pub expires: Millis,
}

struct Template {
    /// `None` is a free place.
    key: Option<Key>,
    new: NewTemplate,
    assured: bool,
    disabled: bool,
    children: u32,
    in_packets: u32,
    timeout: Millis,
    since: Tick,
    links: Links,
}

impl Linked for Template {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// Workers wait for one shard, not for what lies beside it.
#[repr(align(128))]
struct Shard {
    by_key: HashMap<Key, u32>,
    places: Vec<Template>,
    free: Vec<u32>,
    capacity: usize,
    wheel: Wheel,
}

const _: () =
    assert!(align_of::<Shard>() >= crate::cache_aligned_alloc::PAIR, "shards lie on lines of their own");

/// All templates.
pub struct Templates {
    shards: Box<[Mutex<Shard>]>,
    seed: Seed,
}

impl Templates {
    /// A store for so many templates at most; its memory is set aside now.
    pub fn new(capacity: usize) -> Templates {
        let each = capacity.div_ceil(SHARDS);
        let shard = || Mutex::new(Shard::new(each));
        Templates { shards: (0..SHARDS).map(|_| shard()).collect(), seed: Seed::random() }
    }

    fn shard_of(&self, key: &Key) -> usize {
        let client = Endpoint { address: key.client, l4_port: 0 };
        let Some(flow) = crate::flow::Key::between(client, client, key.protocol) else { return 0 };
        self.seed.hash(&flow) as usize % SHARDS
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, handle: Handle) -> (MutexGuard<'_, Shard>, u32) {
        (self.lock(handle.0 as usize % SHARDS), handle.0 >> SHARD_BITS)
    }

    /// Claims the template of `key`, if `usable` still agrees with its destination; one it does not agree with is
    /// disabled. Its time begins anew.
    pub fn claim(
        &self,
        key: &Key,
        now: Tick,
        mut usable: impl FnMut(DestinationId) -> bool,
    ) -> Option<Claim> {
        let number = self.shard_of(key);
        let mut shard = self.lock(number);
        let &place = shard.by_key.get(key)?;
        let template = &mut shard.places[place as usize];
        if usable(template.new.destination) {
            return Some(shard.claim(number, place, now));
        }
        template.disabled = true;
        shard.by_key.remove(key);
        None
    }

    /// Makes a template and claims it, or claims the one that another worker has made meanwhile. `None` when there is
    /// no room for it.
    pub fn make(&self, key: Key, new: NewTemplate, now: Tick) -> Option<Claim> {
        let number = self.shard_of(&key);
        let mut shard = self.lock(number);
        if let Some(&place) = shard.by_key.get(&key) {
            return Some(shard.claim(number, place, now));
        }
        let place = shard.insert(key, new, now)?;
        Some(Claim { fresh: true, ..shard.claim(number, place, now) })
    }

    /// A packet came for a connection that the template controls.
    pub fn count_packet(&self, at: Handle) {
        let (mut shard, place) = self.of(at);
        let template = &mut shard.places[place as usize];
        template.in_packets = template.in_packets.wrapping_add(1);
    }

    /// A connection of the template was really opened: it is no flood's.
    pub fn assure(&self, at: Handle) {
        let (mut shard, place) = self.of(at);
        shard.places[place as usize].assured = true;
    }

    /// A connection of the template ended. When it was forced to and nothing else speaks for the template, that ends
    /// too; gives its destination then.
    pub fn release_child(&self, at: Handle, forced: bool) -> Option<DestinationId> {
        let (mut shard, place) = self.of(at);
        let template = &mut shard.places[place as usize];
        template.children = template.children.saturating_sub(1);
        let ends = forced && template.children == 0 && !template.assured;
        ends.then(|| shard.remove(place))
    }

    /// Ends templates whose time is over, in the shards of worker `me` of `workers`; tells `gone` their destinations.
    pub fn expire(&self, (me, workers): (u16, u16), now: Tick, mut gone: impl FnMut(DestinationId)) {
        for number in (usize::from(me)..SHARDS).step_by(usize::from(workers.max(1))) {
            let mut shard = self.lock(number);
            let Shard { wheel, places, .. } = &mut *shard;
            let Some(mut place) = wheel.pop(places, now) else { continue };
            loop {
                if let Some(destination) = shard.ring(place, now) {
                    gone(destination);
                }
                let Shard { wheel, places, .. } = &mut *shard;
                let Some(next) = wheel.pop(places, now) else { break };
                place = next;
            }
        }
    }

    /// Random early expiry of templates, in the shards of worker `me`: `judge` sees whether a template is assured, of
    /// one-packet scheduling, its packets, and how long ago its time began. Those with connections are never asked for.
    pub fn thin_out(
        &self,
        (me, workers): (u16, u16),
        now: Tick,
        mut judge: impl FnMut(bool, bool, u32, Millis) -> bool,
        mut gone: impl FnMut(DestinationId),
    ) {
        for number in (usize::from(me)..SHARDS).step_by(usize::from(workers.max(1))) {
            let mut shard = self.lock(number);
            for place in 0..shard.places.len() as u32 {
                let template = &shard.places[place as usize];
                if template.key.is_none() || template.children > 0 {
                    continue;
                }
                let age = now.since(template.since);
                if judge(template.assured, template.new.ops, template.in_packets, age) {
                    gone(shard.remove(place));
                }
            }
        }
    }

    /// Forgets templates without connections whose destination does not stay; tells `gone` their destinations. Looks at
    /// no more than `reach` places from `from` on, and says where to go on, if anywhere.
    pub fn retain(
        &self,
        from: u64,
        reach: u32,
        mut stays: impl FnMut(DestinationId) -> bool,
        mut gone: impl FnMut(DestinationId),
    ) -> Option<u64> {
        let (number, first) = ((from >> 32) as usize, from as u32);
        if number >= SHARDS {
            return None;
        }
        let mut shard = self.lock(number);
        let places = shard.places.len() as u32;
        let stop = first.saturating_add(reach).min(places);
        for place in first..stop {
            let template = &shard.places[place as usize];
            if template.key.is_some() && template.children == 0 && !stays(template.new.destination) {
                gone(shard.remove(place));
            }
        }
        let (number, first) = if stop < places { (number, stop) } else { (number + 1, 0) };
        (number < SHARDS).then_some((number as u64) << 32 | u64::from(first))
    }

    /// Forgets all templates; tells `gone` their destinations.
    pub fn clear(&self, mut gone: impl FnMut(DestinationId)) {
        for number in 0..SHARDS {
            let mut shard = self.lock(number);
            for place in 0..shard.places.len() as u32 {
                if shard.places[place as usize].key.is_some() {
                    gone(shard.remove(place));
                }
            }
        }
    }

    /// Templates from `from` on, at most `limit`, and where to go on.
    pub fn list(&self, from: u64, limit: usize, now: Tick) -> (Vec<Listed>, Option<u64>) {
        let mut listed = Vec::new();
        let (mut number, mut place) = ((from >> 32) as usize, from as u32 as usize);
        while number < SHARDS {
            let shard = self.lock(number);
            while let Some(template) = shard.places.get(place) {
                if listed.len() == limit {
                    return (listed, Some((number as u64) << 32 | place as u64));
                }
                listed.extend(template.listed(now));
                place += 1;
            }
            (number, place) = (number + 1, 0);
        }
        (listed, None)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        (0..SHARDS).map(|number| self.lock(number)).map(|shard| shard.places.len() - shard.free.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Template {
    fn deadline(&self) -> Tick {
        self.since.after(self.timeout)
    }

    fn listed(&self, now: Tick) -> Option<Listed> {
        Some(Listed {
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
    fn new(capacity: usize) -> Shard {
        Shard {
            by_key: HashMap::with_capacity(capacity),
            places: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
            wheel: Wheel::new(),
        }
    }

    fn claim(&mut self, number: usize, place: u32, now: Tick) -> Claim {
        let template = &mut self.places[place as usize];
        template.children += 1;
        let destination = template.new.destination;
        self.restart(place, now);
        Claim { template: Handle(place << SHARD_BITS | number as u32), destination, fresh: false }
    }

    fn insert(&mut self, key: Key, new: NewTemplate, now: Tick) -> Option<u32> {
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

    /// A template's timer went off: gives its destination when it ends.
    fn ring(&mut self, place: u32, now: Tick) -> Option<DestinationId> {
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

    fn remove(&mut self, place: u32) -> DestinationId {
        self.wheel.disarm(&mut self.places, place);
        let template = &mut self.places[place as usize];
        let destination = template.new.destination;
        // A disabled template has left its key to another.
        if let Some(key) = template.key.take().filter(|_| !template.disabled) {
            self.by_key.remove(&key);
        }
        self.free.push(place);
        destination
    }
}

impl Target {
    /// The address and port it is listed with: a mark's four bytes as an IPv4 address.
    pub fn listed(self) -> Endpoint {
        match self {
            Target::Address(address, l4_port) => Endpoint { address, l4_port },
            Target::Fwmark(fwmark) => Endpoint { address: Ipv4Addr::from_bits(fwmark).into(), l4_port: 0 },
        }
    }
}

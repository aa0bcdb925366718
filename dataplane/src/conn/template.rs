//! Persistence templates, which assign a client's network to a destination; spec 4.3. All workers share them: connections
//! of one client arrive at different workers and must reach the same destination.
//!
//! A template is accessed when a connection is added, first found open, and removed, never by the packets in between. The
//! store is divided into shards by the client's network. A shard is locked for the duration of one lookup.

mod shard;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::flow::{Endpoint, Seed};
use crate::service::{DestinationId, Method};
use crate::time::{Millis, Tick};

use shard::Shard;

/// Number of low bits of a handle that select the shard.
const SHARD_BITS: u32 = 4;
const SHARDS: usize = 1 << SHARD_BITS;
/// Interval at which an expired template checks whether its connections have ended; spec 4.9.
const CHILDREN_WAIT: Millis = Millis::from_secs(60);

/// The service of a template, as its key has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TemplateService {
    /// A virtual address, and a port or 0.
    Address(IpAddr, u16),
    /// A firewall mark.
    Fwmark(u32),
}

/// The key that identifies a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Protocol number; 0 for firewall marks.
    pub protocol: u8,
    /// The client's address, masked.
    pub client: IpAddr,
    /// What the client's packets are addressed to.
    pub service: TemplateService,
    /// Data that the persistence engine found in the packet; empty without an engine.
    pub data: Box<[u8]>,
}

/// Identifies a template, for as long as the template has connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u32);

/// A template for a connection that is about to be added, and already counts as its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The template.
    pub template: Handle,
    /// Its destination.
    pub destination: DestinationId,
    /// It did not exist before.
    pub fresh: bool,
}

/// The data of a new template.
#[derive(Clone, Copy, Debug)]
pub struct NewTemplate {
    /// The scheduled destination.
    pub destination: DestinationId,
    /// Address of the destination, and the port to list.
    pub endpoint: Endpoint,
    /// Forwarding method.
    pub method: Method,
    /// Time to live after the last new connection.
    pub timeout: Millis,
    /// It belongs to a service with one-packet scheduling, so random early expiry judges it by its packets.
    pub ops: bool,
}

/// The shards that one worker maintains.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Number of the worker.
    pub worker: u16,
    /// Number of workers.
    pub workers: u16,
}

impl Share {
    fn shards(self) -> impl Iterator<Item = usize> {
        (usize::from(self.worker)..SHARDS).step_by(usize::from(self.workers.max(1)))
    }
}

/// A template without connections, for random early expiry to judge.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// At least one of its connections was really opened.
    pub assured: bool,
    /// It belongs to a service with one-packet scheduling.
    pub ops: bool,
    /// Packets of its connections with one-packet scheduling.
    pub in_packets: u32,
    /// Time since its timeout was restarted.
    pub age: Millis,
}

/// A template in a list.
#[derive(Clone, Debug)]
pub struct ListedTemplate {
    /// Its key.
    pub key: Key,
    /// The data that it was made with.
    pub new: NewTemplate,
    /// At least one of its connections was really opened.
    pub assured: bool,
    /// Not used for new connections any more, because its destination was unavailable.
    pub disabled: bool,
    /// Number of its connections.
    pub children: u32,
    /// Time left.
    pub expires: Millis,
}

/// All templates.
pub struct Templates {
    shards: Box<[Mutex<Shard>]>,
    seed: Seed,
}

impl Templates {
    /// A store for at most `capacity` templates. Takes the memory for them.
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

    /// Claims the template of `key` and restarts its timeout, if its destination is `usable`; else disables it.
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

    /// Adds a template and claims it, or claims the one that another worker has added in the meantime. Returns `None` if
    /// there is no room for it.
    pub fn make(&self, key: Key, new: NewTemplate, now: Tick) -> Option<Claim> {
        let number = self.shard_of(&key);
        let mut shard = self.lock(number);
        if let Some(&place) = shard.by_key.get(&key) {
            return Some(shard.claim(number, place, now));
        }
        let place = shard.insert(key, new, now)?;
        Some(Claim { fresh: true, ..shard.claim(number, place, now) })
    }

    /// Counts a packet of a connection of the template.
    pub fn count_packet(&self, at: Handle) {
        let (mut shard, place) = self.of(at);
        let template = &mut shard.places[place as usize];
        template.in_packets = template.in_packets.wrapping_add(1);
    }

    /// Records that a connection of the template was really opened, so that the template is not the product of a flood.
    pub fn assure(&self, at: Handle) {
        let (mut shard, place) = self.of(at);
        shard.places[place as usize].assured = true;
    }

    /// Records that a connection of the template ended. If it was evicted (`forced`), and the template has no other
    /// connection and is not assured, the template ends too, and its destination is returned.
    pub fn release_child(&self, at: Handle, forced: bool) -> Option<DestinationId> {
        let (mut shard, place) = self.of(at);
        let template = &mut shard.places[place as usize];
        template.children = template.children.saturating_sub(1);
        let ends = forced && template.children == 0 && !template.assured;
        ends.then(|| shard.remove(place))
    }

    /// Removes expired templates from a worker's share of the shards, and passes their destinations to `on_remove`.
    pub fn expire(&self, share: Share, now: Tick, mut on_remove: impl FnMut(DestinationId)) {
        for number in share.shards() {
            let mut shard = self.lock(number);
            let Shard { wheel, places, .. } = &mut *shard;
            let Some(mut place) = wheel.pop(places, now) else { continue };
            loop {
                if let Some(destination) = shard.on_timer(place, now) {
                    on_remove(destination);
                }
                let Shard { wheel, places, .. } = &mut *shard;
                let Some(next) = wheel.pop(places, now) else { break };
                place = next;
            }
        }
    }

    /// Random early expiry in a worker's share of the shards: removes the templates for which `judge` returns true, and
    /// passes their destinations to `on_remove`. Templates with connections are exempt.
    pub fn thin_out(
        &self,
        share: Share,
        now: Tick,
        mut judge: impl FnMut(Candidate) -> bool,
        mut on_remove: impl FnMut(DestinationId),
    ) {
        for number in share.shards() {
            let mut shard = self.lock(number);
            for place in 0..shard.places.len() as u32 {
                let template = &shard.places[place as usize];
                if template.key.is_none() || template.children > 0 {
                    continue;
                }
                let candidate = Candidate {
                    assured: template.assured,
                    ops: template.new.ops,
                    in_packets: template.in_packets,
                    age: now.since(template.since),
                };
                if judge(candidate) {
                    on_remove(shard.remove(place));
                }
            }
        }
    }

    /// Removes templates without connections for whose destination `stays` is false, and passes their destinations to
    /// `on_remove`. Examines at most `reach` places from `from` on. Returns the place to continue at, if there are more.
    pub fn retain(
        &self,
        from: u64,
        reach: u32,
        mut stays: impl FnMut(DestinationId) -> bool,
        mut on_remove: impl FnMut(DestinationId),
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
                on_remove(shard.remove(place));
            }
        }
        let (number, first) = if stop < places { (number, stop) } else { (number + 1, 0) };
        (number < SHARDS).then_some((number as u64) << 32 | u64::from(first))
    }

    /// At most `limit` templates from `from` on, and the place to continue at.
    pub fn list(&self, from: u64, limit: usize, now: Tick) -> (Vec<ListedTemplate>, Option<u64>) {
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

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        (0..SHARDS).map(|number| self.lock(number)).map(|shard| shard.places.len() - shard.free.len()).sum()
    }
}

impl TemplateService {
    /// Address and port to list it with. A firewall mark is listed as an IPv4 address.
    pub fn listed(self) -> Endpoint {
        match self {
            TemplateService::Address(address, l4_port) => Endpoint { address, l4_port },
            TemplateService::Fwmark(fwmark) => {
                Endpoint { address: Ipv4Addr::from_bits(fwmark).into(), l4_port: 0 }
            }
        }
    }
}

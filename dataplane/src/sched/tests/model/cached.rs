//! Spec 3.9 and 3.10.

use std::net::IpAddr;

use super::hashed::fold;
use super::{Model, Packet, Server};

const SOFT: usize = 16384;
pub const EXPIRATION: u64 = 86_400_000;

pub struct Entry {
    pub address: IpAddr,
    pub last_use: u64,
    /// The newest first; lblc has only one.
    pub set: Vec<usize>,
    pub lastmod: u64,
}

pub struct Garbage {
    pub next: u64,
    pub counter: u32,
    pub rover: usize,
}

/// 1024 buckets.
pub struct Cached {
    pub buckets: Vec<Vec<Entry>>,
    pub garbage: Garbage,
}

impl Default for Cached {
    fn default() -> Cached {
        let buckets = (0..1024).map(|_| Vec::new()).collect();
        Cached { buckets, garbage: Garbage { next: 60_000, counter: 1, rover: 0 } }
    }
}

fn bucket_of(address: IpAddr) -> usize {
    ((u64::from(fold(address)) * 0x61C8_8647) & 0xffff_ffff) as usize >> 22
}

impl Cached {
    fn entry(&mut self, address: IpAddr) -> Option<&mut Entry> {
        self.buckets[bucket_of(address)].iter_mut().find(|e| e.address == address)
    }

    pub fn len(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }

    fn purge(&mut self, bucket: usize, now: u64, idle: u64) -> i64 {
        let before = self.buckets[bucket].len();
        self.buckets[bucket].retain(|e| now - e.last_use < idle);
        (before - self.buckets[bucket].len()) as i64
    }

    /// Runs the timer if a minute has passed.
    pub fn timer(&mut self, now: u64) {
        if now < self.garbage.next {
            return;
        }
        self.garbage.next += 60_000;
        if self.garbage.counter.is_multiple_of(30) {
            for bucket in 0..1024 {
                self.purge(bucket, now, EXPIRATION);
            }
            self.garbage.counter = 1;
        } else if self.len() <= SOFT {
            self.garbage.counter += 1;
        } else {
            let mut goal = (((self.len() - SOFT) * 4 / 3) as i64).min(8192);
            for _ in 0..1024 {
                self.garbage.rover = (self.garbage.rover + 1) % 1024;
                goal -= self.purge(self.garbage.rover, now, 360_000);
                if goal <= 0 {
                    break;
                }
            }
        }
    }
}

impl Model {
    fn lblc_overloaded(&self, n: usize) -> bool {
        let mut one_is_idle = false;
        for &d in &self.list {
            if 2 * i64::from(self.servers[d].active) < self.servers[d].weight {
                one_is_idle = true;
            }
        }
        i64::from(self.servers[n].active) > self.servers[n].weight && one_is_idle
    }

    fn entered(&mut self, address: IpAddr, n: usize) {
        let entry = Entry { address, last_use: self.now, set: vec![n], lastmod: self.now };
        self.cached.buckets[bucket_of(address)].push(entry);
    }

    pub(super) fn lblc(&mut self, packet: &Packet) -> Option<usize> {
        let now = self.now;
        let found = self.cached.entry(packet.virtual_address).map(|e| {
            e.last_use = now;
            e.set[0]
        });
        if let Some(n) = found
            && self.servers[n].available
            && self.servers[n].weight > 0
            && !self.lblc_overloaded(n)
        {
            return Some(n);
        }
        let chosen = self.wlc()?;
        match self.cached.entry(packet.virtual_address) {
            Some(entry) => entry.set = vec![chosen],
            None => self.entered(packet.virtual_address, chosen),
        }
        Some(chosen)
    }

    pub(super) fn lblcr(&mut self, packet: &Packet) -> Option<usize> {
        let (now, address) = (self.now, packet.virtual_address);
        let Some(entry) = self.cached.entry(address) else {
            let chosen = self.wlc()?;
            self.entered(address, chosen);
            return Some(chosen);
        };
        entry.last_use = now;
        let (set, lastmod) = (entry.set.clone(), entry.lastmod);
        let usable: Vec<usize> = set.iter().copied().filter(|&n| self.servers[n].usable()).collect();
        let d = self.by_ratio(&usable, Server::oh);
        if set.len() > 1
            && now > lastmod + EXPIRATION
            && let Some(most) = self.most_loaded(&set)
        {
            let entry = self.cached.entry(address).unwrap();
            entry.set.retain(|&n| n != most);
            entry.lastmod = now;
        }
        if let Some(n) = d
            && !self.lblc_overloaded(n)
        {
            return d;
        }
        let chosen = self.wlc()?;
        let entry = self.cached.entry(address).unwrap();
        if !entry.set.contains(&chosen) {
            entry.set.insert(0, chosen);
            entry.lastmod = now;
        }
        Some(chosen)
    }

    fn most_loaded(&self, set: &[usize]) -> Option<usize> {
        let mut most: Option<usize> = None;
        for &n in set {
            let d = &self.servers[n];
            if d.weight == 0 {
                continue;
            }
            if most.is_none_or(|m| d.oh() * self.servers[m].weight > self.servers[m].oh() * d.weight) {
                most = Some(n);
            }
        }
        most
    }
}

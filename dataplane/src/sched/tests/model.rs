//! A literal implementation of spec 3, independent of the code under test and without regard to speed.

mod cached;
mod hashed;

use std::net::IpAddr;

pub use cached::{Cached, EXPIRATION};
pub use hashed::siphash;

use crate::service::Scheduler;

pub struct Server {
    pub address: IpAddr,
    pub port: u16,
    pub weight: i64,
    pub last_weight: i64,
    pub active: i32,
    pub inactive: i32,
    pub overload: bool,
    pub available: bool,
}

impl Server {
    fn usable(&self) -> bool {
        self.available && !self.overload && self.weight > 0
    }

    fn oh(&self) -> i64 {
        i64::from(self.active.wrapping_mul(256).wrapping_add(self.inactive))
    }
}

pub struct Packet {
    pub client: IpAddr,
    pub client_port: u16,
    pub virtual_address: IpAddr,
}

pub struct Model {
    pub scheduler: Scheduler,
    pub fallback: bool,
    pub port: bool,
    /// All servers that ever existed, by number. Those that are not in the list are in the trash.
    pub servers: Vec<Server>,
    pub list: Vec<usize>,
    pub now: u64,
    /// The pointer of rr and wrr: a server's number, or the head.
    p: Option<usize>,
    di: i64,
    mw: i64,
    cw: i64,
    table: Vec<Option<usize>>,
    pub cached: Cached,
}

impl Model {
    pub fn new(scheduler: Scheduler, fallback: bool, port: bool) -> Model {
        let (servers, list, table) = (Vec::new(), Vec::new(), Vec::new());
        let (di, mw, cw, cached) = (1, 0, 0, Cached::default());
        Model { scheduler, fallback, port, servers, list, now: 0, p: None, di, mw, cw, table, cached }
    }

    pub fn add(&mut self, n: usize, weight: i64) {
        self.servers[n].weight = weight;
        self.servers[n].last_weight = weight;
        self.servers[n].available = true;
        self.list.insert(0, n);
        self.changed(true);
    }

    pub fn remove(&mut self, n: usize) {
        let place = self.list.iter().position(|&m| m == n).unwrap();
        if self.scheduler == Scheduler::Rr && self.p == Some(n) {
            self.p = if place == 0 { None } else { Some(self.list[place - 1]) };
        }
        self.list.remove(place);
        self.servers[n].available = false;
        self.changed(true);
    }

    pub fn edit(&mut self, n: usize, weight: i64) {
        self.servers[n].weight = weight;
        if weight != 0 {
            self.servers[n].last_weight = weight;
        }
        self.changed(false);
    }

    fn changed(&mut self, membership: bool) {
        match self.scheduler {
            Scheduler::Wrr => self.wrr_changed(),
            Scheduler::Dh if membership => self.table = self.dh_refill(),
            Scheduler::Sh => self.table = self.sh_refill(),
            Scheduler::Mh => self.table = self.mh_build(),
            _ => {}
        }
    }

    pub fn select(&mut self, packet: &Packet, mut draw: impl FnMut(u64) -> u64) -> Option<usize> {
        match self.scheduler {
            Scheduler::Rr => self.rr(),
            Scheduler::Wrr => self.wrr(),
            Scheduler::Lc => self.lc(),
            Scheduler::Wlc => self.wlc(),
            Scheduler::Sed => self.sed(),
            Scheduler::Nq => self.nq(),
            Scheduler::Fo => self.heaviest(false),
            Scheduler::Ovf => self.heaviest(true),
            Scheduler::Dh => self.dh(packet),
            Scheduler::Sh => self.sh(packet),
            Scheduler::Mh => self.mh(packet),
            Scheduler::Lblc => self.lblc(packet),
            Scheduler::Lblcr => self.lblcr(packet),
            Scheduler::Twos => self.twos(&mut draw),
            Scheduler::None => None,
        }
    }

    fn rr(&mut self) -> Option<usize> {
        let ring: Vec<usize> = self.list.clone();
        let start = self.p.map_or(0, |p| ring.iter().position(|&n| n == p).unwrap() + 1);
        for step in 0..ring.len() {
            let n = ring[(start + step) % ring.len()];
            if self.servers[n].usable() {
                self.p = Some(n);
                return Some(n);
            }
        }
        None
    }

    fn wrr_changed(&mut self) {
        self.p = None;
        self.di = 0;
        let mut max = 0;
        for &n in &self.list {
            let w = self.servers[n].weight;
            max = max.max(w);
            self.di = hashed::gcd(self.di, w);
        }
        if self.di == 0 {
            self.di = 1;
        }
        self.mw = if max == 0 { 0 } else { max - (self.di - 1) };
        if self.cw > self.mw || self.cw == 0 {
            self.cw = self.mw;
        } else if self.di > 1 {
            self.cw = (self.cw / self.di) * self.di + 1;
        }
    }

    fn wrr(&mut self) -> Option<usize> {
        if self.mw == 0 {
            return None;
        }
        let start = self.p;
        let (mut last_pass, mut restarted, mut stop) = (false, false, None);
        let mut place = start.map_or(0, |p| self.list.iter().position(|&n| n == p).unwrap() + 1);
        loop {
            while place < self.list.len() {
                let d = self.list[place];
                if !self.servers[d].overload && self.servers[d].weight >= self.cw {
                    self.p = Some(d);
                    return Some(d);
                }
                if stop == Some(d) {
                    self.p = Some(d);
                    return None;
                }
                place += 1;
            }
            self.cw -= self.di;
            if self.cw <= 0 {
                self.cw = self.mw;
                if last_pass || start.is_none() {
                    self.p = None;
                    return None;
                }
                restarted = true;
            }
            last_pass = self.cw <= self.di;
            if last_pass && restarted && start.is_some() {
                stop = start;
            }
            place = 0;
        }
    }

    fn lc(&self) -> Option<usize> {
        let mut least: Option<usize> = None;
        for &n in &self.list {
            if self.servers[n].usable() && least.is_none_or(|l| self.servers[n].oh() < self.servers[l].oh()) {
                least = Some(n);
            }
        }
        least
    }

    /// "First available becomes `least`; each later one that is not OVERLOAD replaces it when ..."
    fn by_ratio(&self, among: &[usize], oh: impl Fn(&Server) -> i64) -> Option<usize> {
        let mut least: Option<usize> = None;
        for &n in among {
            let d = &self.servers[n];
            match least {
                None if d.usable() => least = Some(n),
                Some(l) if !d.overload && d.available => {
                    let l = &self.servers[l];
                    if oh(l) * d.weight > oh(d) * l.weight {
                        least = Some(n);
                    }
                }
                _ => {}
            }
        }
        least
    }

    fn wlc(&self) -> Option<usize> {
        self.by_ratio(&self.list, Server::oh)
    }

    fn sed(&self) -> Option<usize> {
        self.by_ratio(&self.list, |d| i64::from(d.active) + 1)
    }

    fn nq(&self) -> Option<usize> {
        for &n in &self.list {
            if self.servers[n].usable() && self.servers[n].active == 0 {
                return Some(n);
            }
        }
        self.sed()
    }

    fn heaviest(&self, overflows: bool) -> Option<usize> {
        let (mut most, mut weight) = (None, 0);
        for &n in &self.list {
            let d = &self.servers[n];
            if d.overload || d.weight == 0 || overflows && i64::from(d.active) > d.weight {
                continue;
            }
            if d.weight > weight {
                (most, weight) = (Some(n), d.weight);
            }
        }
        most
    }

    fn twos(&self, draw: &mut impl FnMut(u64) -> u64) -> Option<usize> {
        let available: Vec<usize> = self.list.iter().copied().filter(|&n| self.servers[n].usable()).collect();
        let t: i64 = available.iter().map(|&n| self.servers[n].weight).sum();
        let (mut r1, mut r2) = (draw(t as u64) as i64, draw(t as u64) as i64);
        let (mut one, mut two) = (None, None);
        for &n in &available {
            r1 -= self.servers[n].weight;
            r2 -= self.servers[n].weight;
            if r1 <= 0 && one.is_none() {
                one = Some(n);
            }
            if r2 <= 0 && two.is_none() {
                two = Some(n);
            }
        }
        let (c1, c2) = (&self.servers[one?], &self.servers[two?]);
        let left = (c2.weight as i32).wrapping_mul(c1.oh() as i32);
        let right = (c1.weight as i32).wrapping_mul(c2.oh() as i32);
        if left > right { two } else { one }
    }
}

//! Spec 3.8, 3.11 and 3.12.

use std::net::IpAddr;

use super::{Model, Packet};

const M: u64 = 4093;

pub fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

pub fn fold(address: IpAddr) -> u32 {
    let mut sum = 0;
    let octets = match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    for word in octets.chunks(4) {
        sum ^= u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
    }
    sum
}

/// `((u32)(n * 0x61C88647)) >> 24`
fn top_byte(n: u64) -> u64 {
    ((n * 0x61C8_8647) & 0xffff_ffff) >> 24
}

/// SipHash-1-3 of any message, with the key as two words; checked against the standard library's below.
pub fn siphash(k0: u64, k1: u64, message: &[u8]) -> u64 {
    let (mut a, mut b) = (0x736f6d6570736575 ^ k0, 0x646f72616e646f6d ^ k1);
    let (mut c, mut d) = (0x6c7967656e657261 ^ k0, 0x7465646279746573 ^ k1);
    let mut turn = |flip: u64, end: u64, rounds: u32| {
        d ^= flip;
        c ^= end;
        for _ in 0..rounds {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        a ^= flip;
        a ^ b ^ c ^ d
    };
    let mut padded = message.to_vec();
    while padded.len() % 8 != 7 {
        padded.push(0);
    }
    padded.push(message.len() as u8);
    for word in padded.chunks(8) {
        turn(u64::from_le_bytes(word.try_into().unwrap()), 0, 1);
    }
    turn(0, 0xff, 3)
}

fn hh(key: u64, off: u64, port: u16, address: IpAddr) -> u64 {
    let number = (off as u32).wrapping_add(u32::from(port)).wrapping_add(fold(address));
    siphash(key, key, &number.to_ne_bytes()) & 0xffff_ffff
}

impl Model {
    pub(super) fn dh_refill(&self) -> Vec<Option<usize>> {
        let n = self.list.len();
        (0..256).map(|bucket| if n == 0 { None } else { Some(self.list[bucket % n]) }).collect()
    }

    pub(super) fn dh(&self, packet: &Packet) -> Option<usize> {
        let h = top_byte(u64::from(fold(packet.virtual_address)));
        let n = (*self.table.get(h as usize)?)?;
        self.servers[n].usable().then_some(n)
    }

    pub(super) fn sh_refill(&self) -> Vec<Option<usize>> {
        let mut table = Vec::new();
        let (mut at, mut taken) = (0, 0);
        while table.len() < 256 {
            if self.list.is_empty() {
                table.push(None);
                continue;
            }
            let n = self.list[at];
            table.push(Some(n));
            taken += 1;
            if taken >= self.servers[n].weight.max(1) {
                taken = 0;
                at = (at + 1) % self.list.len();
            }
        }
        table
    }

    fn hashed_port(&self, packet: &Packet) -> u16 {
        if self.port { packet.client_port } else { 0 }
    }

    /// The walk of sh and of mh, by their own hash.
    fn walk(&self, size: u64, hash: impl Fn(u64) -> u64) -> Option<usize> {
        let i = hash(0);
        let first = (*self.table.get(i as usize)?)?;
        if self.servers[first].usable() {
            return Some(first);
        }
        if !self.fallback {
            return None;
        }
        for k in 0..size {
            let roff = (k + i) % size;
            let n = self.table[hash(roff) as usize]?;
            if self.servers[n].usable() {
                return Some(n);
            }
        }
        None
    }

    pub(super) fn sh(&self, packet: &Packet) -> Option<usize> {
        let number = u64::from(self.hashed_port(packet)) + u64::from(fold(packet.client));
        self.walk(256, |off| (off + top_byte(number & 0xffff_ffff)) & 255)
    }

    pub(super) fn mh(&self, packet: &Packet) -> Option<usize> {
        self.walk(M, |off| hh(2654435761, off, self.hashed_port(packet), packet.client) % M)
    }

    pub(super) fn mh_build(&self) -> Vec<Option<usize>> {
        let mut table = vec![None; M as usize];
        let (mut unit, mut greatest) = (0, 0);
        for &n in &self.list {
            unit = gcd(unit, self.servers[n].last_weight);
            greatest = greatest.max(self.servers[n].last_weight);
        }
        if unit < 1 {
            return table;
        }
        let (mut fls, mut rest) = (0, greatest / unit);
        while rest > 0 {
            (fls, rest) = (fls + 1, rest / 2);
        }
        let shift = (fls - 6).max(0);
        let (mut perm, mut skip, mut turns) = (Vec::new(), Vec::new(), Vec::new());
        for &n in &self.list {
            let d = &self.servers[n];
            perm.push(hh(2654435761, 0, d.port, d.address) % M);
            skip.push(hh(2654446892, 0, d.port, d.address) % (M - 1) + 1);
            let share = (d.last_weight / unit) >> shift;
            turns.push(if share == 0 && d.last_weight != 0 { 1 } else { share });
        }
        let (mut n, mut d, mut done) = (0, 0, 0);
        while n < M {
            if d == self.list.len() {
                d = 0;
            }
            if turns[d] < 1 {
                d += 1;
                continue;
            }
            while table[perm[d] as usize].is_some() {
                perm[d] = (perm[d] + skip[d]) % M;
            }
            table[perm[d] as usize] = Some(self.list[d]);
            n += 1;
            done += 1;
            if done >= turns[d] {
                (d, done) = (d + 1, 0);
            }
        }
        table
    }
}

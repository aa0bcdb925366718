//! Rate limits of our ICMP errors, with the defaults of Linux: for each receiver (`net.ipv4.icmp_ratelimit`,
//! `net.ipv6.icmp.ratelimit`), and in all (`icmp_msgs_per_sec`, `icmp_msgs_burst`). A flood from forged sources would be
//! reflected to them otherwise. Errors about the MTU are not limited: path MTU discovery needs them.

use std::net::IpAddr;

use crate::flow::Seed;
use crate::time::Tick;

/// Receivers that are remembered. One that is forgotten has all its tokens again; the limit for all holds nevertheless.
const PEERS: usize = 1024;
/// Errors that one receiver may get at once.
const PEER_BURST: u64 = 6;
/// Buckets count thousandths of milliseconds.
const THOUSANDTHS: u64 = 1000;

/// The limits, with the names of Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpLimits {
    /// Milliseconds between errors to one receiver; 0 for no limit.
    pub ratelimit: u32,
    /// Errors a second, over all receivers and workers; 0 for no limit.
    pub msgs_per_sec: u32,
    /// Errors at once, over all receivers.
    pub msgs_burst: u32,
}

impl Default for IcmpLimits {
    fn default() -> IcmpLimits {
        IcmpLimits { ratelimit: 1000, msgs_per_sec: 1000, msgs_burst: 50 }
    }
}

/// A token bucket that fills with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of milliseconds collected.
    collected: u64,
    filled: Tick,
}

impl Bucket {
    /// More than any bucket holds: it is full, whatever its size is when it is used.
    const FULL: Bucket = Bucket { collected: u64::MAX, filled: Tick(0) };

    /// Takes `cost` from a bucket that holds `burst` times as much. Returns false, and takes nothing, if it has less.
    fn take(&mut self, now: Tick, cost: u64, burst: u64) -> bool {
        let new = u64::from(now.since(self.filled).0) * THOUSANDTHS;
        self.filled = now;
        self.collected = self.collected.saturating_add(new).min(cost.saturating_mul(burst));
        let enough = self.collected >= cost;
        if enough {
            self.collected -= cost;
        }
        enough
    }
}

/// The buckets of one worker.
pub struct RateLimiter {
    seed: Seed,
    workers: u64,
    all: Bucket,
    peers: Box<[(Option<IpAddr>, Bucket)]>,
}

impl RateLimiter {
    /// The buckets of one of `workers`, which has its share of the limit for all.
    pub fn new(workers: u16) -> RateLimiter {
        let peers = vec![(None, Bucket::FULL); PEERS].into_boxed_slice();
        RateLimiter { seed: Seed::random(), workers: workers.max(1).into(), all: Bucket::FULL, peers }
    }

    /// Whether an error may be sent to `to` now; if so, it is counted. `prefix_len` is that of the route to an IPv6
    /// receiver: behind wide prefixes, as a default route, are many, so they get more.
    pub fn allow(&mut self, limits: IcmpLimits, to: IpAddr, prefix_len: u8, now: Tick) -> bool {
        if let Some(cost) = (self.workers * 1000 * THOUSANDTHS).checked_div(limits.msgs_per_sec.into())
            && !self.all.take(now, cost, limits.msgs_burst.into())
        {
            return false;
        }
        let wide = if to.is_ipv6() { 128_u8.saturating_sub(prefix_len) >> 5 } else { 0 };
        let cost = (u64::from(limits.ratelimit) * THOUSANDTHS) >> wide;
        let slot = self.slot(to);
        let (peer, bucket) = &mut self.peers[slot];
        if *peer != Some(to) {
            (*peer, *bucket) = (Some(to), Bucket::FULL);
        }
        bucket.take(now, cost, PEER_BURST)
    }

    fn slot(&self, to: IpAddr) -> usize {
        let bits = match to {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        };
        let folded = (bits as u64) ^ ((bits >> 64) as u64).rotate_left(32);
        ((folded ^ self.seed.0).wrapping_mul(self.seed.1 | 1) >> 32) as usize % PEERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn allowed(limits: &mut RateLimiter, to: IpAddr, prefix_len: u8, at: u64, tries: usize) -> usize {
        (0..tries).filter(|_| limits.allow(IcmpLimits::default(), to, prefix_len, Tick(at))).count()
    }

    #[test]
    fn a_receiver_gets_a_burst_and_then_one_a_second() {
        let mut limits = RateLimiter::new(1);
        assert_eq!(allowed(&mut limits, v4(1), 32, 10_000, 20), 6);
        assert_eq!(allowed(&mut limits, v4(1), 32, 10_900, 5), 0);
        assert_eq!(allowed(&mut limits, v4(1), 32, 11_000, 5), 1);
        assert_eq!(allowed(&mut limits, v4(2), 32, 11_000, 5), 5, "another has its own");
        assert_eq!(allowed(&mut limits, v4(1), 32, 100_000, 20), 6);
    }

    #[test]
    fn all_receivers_together_are_limited() {
        let mut limits = RateLimiter::new(1);
        let mut flood = |at| (0..=255).map(|last| allowed(&mut limits, v4(last), 32, at, 1)).sum::<usize>();
        assert_eq!((flood(10_000), flood(10_010), flood(10_010)), (50, 10, 0));
        assert_eq!(flood(20_000), 50);
    }

    #[test]
    fn ipv6_receivers_behind_wide_prefixes_get_more() {
        let to = "2001:db8::1".parse().unwrap();
        let each_second = |prefix_len| {
            let mut limits = RateLimiter::new(1);
            allowed(&mut limits, to, prefix_len, 1000, 20);
            (1..=16).map(|n| allowed(&mut limits, to, prefix_len, 1000 + n * 63, 1)).sum::<usize>()
        };
        assert_eq!((each_second(128), each_second(64), each_second(0)), (1, 4, 16));
    }

    #[test]
    fn workers_share_the_limit() {
        let mut limits = RateLimiter::new(4);
        for last in 0..50 {
            assert!(limits.allow(IcmpLimits::default(), v4(last), 32, Tick(1000)));
        }
        let later: usize = (0..200).map(|last| allowed(&mut limits, v4(last), 32, 1100, 1)).sum();
        assert_eq!(later, 25, "in 100 ms a quarter of 100");
    }

    #[test]
    fn zero_is_no_limit() {
        let none = IcmpLimits { ratelimit: 0, msgs_per_sec: 0, msgs_burst: 0 };
        let mut limits = RateLimiter::new(1);
        assert!((0..1000).all(|_| limits.allow(none, v4(1), 32, Tick(5))));
    }
}

//! Rate limits of our ICMP errors, with the defaults of Linux: for each receiver (`net.ipv4.icmp_ratelimit`,
//! `net.ipv6.icmp.ratelimit`), and in all (`icmp_msgs_per_sec`, `icmp_msgs_burst`). A flood from forged sources would be
//! reflected to them otherwise. Errors about the MTU are not limited: path MTU discovery needs them.

use std::net::IpAddr;

use crate::flow::Seed;
use crate::time::Tick;

/// Receivers that are remembered. One that is forgotten has all its tokens again; the limit for all holds nevertheless.
const PEERS: usize = 1024;
/// Milliseconds between errors to one receiver.
const PEER_INTERVAL: u64 = 1000;
/// Errors that one receiver may get at once.
const PEER_BURST: u64 = 6;
/// Errors a second, over all receivers and workers.
const ALL_PER_SECOND: u64 = 1000;
/// Errors at once, over all receivers.
const ALL_BURST: u64 = 50;
/// Milliseconds that an error costs of the time that a bucket has collected, in thousandths.
const THOUSANDTHS: u64 = 1000;

/// A token bucket that fills with time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of milliseconds collected.
    collected: u64,
    filled: Tick,
}

impl Bucket {
    /// Takes `cost` from a bucket that holds `burst` times as much. Returns false, and takes nothing, if it has less.
    fn take(&mut self, now: Tick, cost: u64, burst: u64) -> bool {
        let new = now.since(self.filled).0;
        self.filled = now;
        self.collected = self.collected.saturating_add(u64::from(new) * THOUSANDTHS).min(cost * burst);
        let enough = self.collected >= cost;
        if enough {
            self.collected -= cost;
        }
        enough
    }
}

/// The limits of one worker.
pub struct RateLimits {
    seed: Seed,
    all: Bucket,
    /// Microseconds between errors of this worker.
    interval: u64,
    peers: Box<[(Option<IpAddr>, Bucket)]>,
}

impl RateLimits {
    /// The share of one of `workers`.
    pub fn new(workers: u16) -> RateLimits {
        let interval = u64::from(workers.max(1)) * 1000 * THOUSANDTHS / ALL_PER_SECOND;
        let all = Bucket { collected: interval * ALL_BURST, filled: Tick(0) };
        RateLimits { seed: Seed::random(), all, interval, peers: vec![(None, all); PEERS].into_boxed_slice() }
    }

    /// Whether an error may be sent to `to` now; if so, it is counted. `prefix_len` is that of the route to an IPv6
    /// receiver: behind wide prefixes, as a default route, are many, so they get more.
    pub fn allow(&mut self, to: IpAddr, prefix_len: u8, now: Tick) -> bool {
        if !self.all.take(now, self.interval, ALL_BURST) {
            return false;
        }
        let wide = if to.is_ipv6() { 128_u8.saturating_sub(prefix_len) >> 5 } else { 0 };
        let cost = (PEER_INTERVAL * THOUSANDTHS) >> wide;
        let slot = self.slot(to);
        let (peer, bucket) = &mut self.peers[slot];
        if *peer != Some(to) {
            (*peer, *bucket) = (Some(to), Bucket { collected: cost * PEER_BURST, filled: now });
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

    fn allowed(limits: &mut RateLimits, to: IpAddr, prefix_len: u8, at: u64, tries: usize) -> usize {
        (0..tries).filter(|_| limits.allow(to, prefix_len, Tick(at))).count()
    }

    #[test]
    fn a_receiver_gets_a_burst_and_then_one_a_second() {
        let mut limits = RateLimits::new(1);
        assert_eq!(allowed(&mut limits, v4(1), 32, 10_000, 20), 6);
        assert_eq!(allowed(&mut limits, v4(1), 32, 10_900, 5), 0);
        assert_eq!(allowed(&mut limits, v4(1), 32, 11_000, 5), 1);
        assert_eq!(allowed(&mut limits, v4(2), 32, 11_000, 5), 5, "another has its own");
        assert_eq!(allowed(&mut limits, v4(1), 32, 100_000, 20), 6);
    }

    #[test]
    fn all_receivers_together_are_limited() {
        let mut limits = RateLimits::new(1);
        let mut flood = |at| (0..=255).map(|last| allowed(&mut limits, v4(last), 32, at, 1)).sum::<usize>();
        assert_eq!((flood(10_000), flood(10_010), flood(10_010)), (50, 10, 0));
        assert_eq!(flood(20_000), 50);
    }

    #[test]
    fn ipv6_receivers_behind_wide_prefixes_get_more() {
        let to = "2001:db8::1".parse().unwrap();
        let each_second = |prefix_len| {
            let mut limits = RateLimits::new(1);
            allowed(&mut limits, to, prefix_len, 1000, 20);
            (1..=16).map(|n| allowed(&mut limits, to, prefix_len, 1000 + n * 63, 1)).sum::<usize>()
        };
        assert_eq!((each_second(128), each_second(64), each_second(0)), (1, 4, 16));
    }

    #[test]
    fn workers_share_the_limit() {
        let mut limits = RateLimits::new(4);
        for last in 0..50 {
            assert!(limits.allow(v4(last), 32, Tick(1000)));
        }
        let later: usize = (0..200).map(|last| allowed(&mut limits, v4(last), 32, 1100, 1)).sum();
        assert_eq!(later, 25, "in 100 ms a quarter of 100");
    }
}

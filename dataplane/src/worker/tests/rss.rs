//! A device that hashes as real ones do, in front of several workers: with the keys of `RssKeys` no packet is handed
//! off.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::world::{TestNamespace, World, serving, syn};
use crate::flow::{Endpoint, Seed};
use crate::steer::rss::{BUCKETS, Facing, KEY, RssKeys};
use crate::testkit::*;

/// The Toeplitz hash of a device, over both addresses and both ports.
fn toeplitz(key: &[u8; KEY], source: Endpoint, destination: Endpoint) -> u32 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ports = [source.l4_port.to_be_bytes(), destination.l4_port.to_be_bytes()].concat();
    let input = [address(source.address), address(destination.address), ports].concat();
    let bit = |bytes: &[u8], at: usize| u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
    let window = |at: usize| (at..at + 32).fold(0, |word, at| word << 1 | bit(key, at));
    (0..input.len() * 8).filter(|&at| bit(&input, at) == 1).fold(0, |hash, at| hash ^ window(at))
}

/// The verification suite of Microsoft's RSS specification.
#[test]
fn the_test_device_passes_the_rss_verification_suite() {
    let key = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];
    let rows = [
        ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51cc_c178),
        ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626_b0ea),
        ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x4020_7d3d),
    ];
    for (source, source_port, destination, port, hash) in rows {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        assert_eq!(toeplitz(&key, at(source, source_port), at(destination, port)), hash);
    }
}

fn bucket(rss_keys: &RssKeys, facing: Facing, source: Endpoint, destination: Endpoint) -> u16 {
    toeplitz(rss_keys.key(facing), source, destination) as u16 % BUCKETS
}

proptest! {
    /// The device chooses the same bucket as `RssKeys`, whatever the other endpoint is.
    #[test]
    fn the_device_chooses_the_bucket_of_the_client(seed: (u64, u64), client: (u32, u16), other: (u32, u16), six: (u128, u128)) {
        let rss_keys = RssKeys::new(Seed(seed.0, seed.1));
        let [client4, other4] = [client, other].map(|(address, port)| at(IpAddr::from(address.to_be_bytes()), port));
        let expected = rss_keys.bucket(client4);
        prop_assert_eq!(bucket(&rss_keys, Facing::Clients, client4, other4), expected);
        prop_assert_eq!(bucket(&rss_keys, Facing::Servers, other4, client4), expected);
        let [client6, other6] = [(six.0, client.1), (six.1, other.1)]
            .map(|(address, port)| at(Ipv6Addr::from_bits(address).into(), port));
        prop_assert_eq!(bucket(&rss_keys, Facing::Clients, client6, other6), rss_keys.bucket(client6));
    }

    /// Neighbours differ in their last bits: ports alone, or addresses alone, reach every bucket equally often.
    #[test]
    fn neighbours_are_spread_evenly(seed: (u64, u64), first: u16, address: u32, six: u128) {
        let rss_keys = RssKeys::new(Seed(seed.0, seed.1));
        let even = |client: &dyn Fn(u16) -> Endpoint| {
            let mut counts = [0; BUCKETS as usize];
            (0..BUCKETS).for_each(|n| counts[usize::from(rss_keys.bucket(client(n)))] += 1);
            counts == [1; BUCKETS as usize]
        };
        let base = |n| IpAddr::from((address & !127 | u32::from(n)).to_be_bytes());
        let base6 = |n| Ipv6Addr::from_bits(six & !127 | u128::from(n)).into();
        prop_assert!(even(&|n| at(base(n), first)));
        prop_assert!(even(&|n| at(base(0), first & !127 | n)));
        prop_assert!(even(&|n| at(base6(n), first)));
        prop_assert!(even(&|n| at(base6(0), first & !127 | n)));
    }
}

/// A device with one queue per worker.
struct Device<'a> {
    rss_keys: &'a RssKeys,
    facing: Facing,
    queues: &'a [crate::io::mem::Wire],
}

impl Device<'_> {
    fn receive(&self, frame: &[u8], source: Endpoint, destination: Endpoint) {
        let entry = bucket(self.rss_keys, self.facing, source, destination);
        self.queues[usize::from(entry) % self.queues.len()].put(frame);
    }
}

/// Runs 200 NAT flows in both directions and returns the number of packets handed off.
fn handed_off(workers: u16, facing: [Facing; 2]) -> u64 {
    let rss_keys = Arc::new(RssKeys::new(Seed(0x1234_5678_9abc_def1, 0xfeed_beef_0bad_cafe)));
    let mut world = World::of(TestNamespace::with_rss(workers, Some(Arc::clone(&rss_keys))));
    world.workers.iter_mut().for_each(|worker| worker.install(serving(0, None), &[]));
    let clients: Vec<_> = (0..200).map(|n| at(v4(198, 51, 100, n / 3), 1024 + 77 * u16::from(n))).collect();
    // In chunks that the connection tables and the hand-off rings have room for.
    for chunk in clients.chunks(20) {
        for &client in chunk {
            let outside = Device { rss_keys: &rss_keys, facing: facing[0], queues: &world.outside };
            outside.receive(&syn(client, vip(), None), client, vip());
        }
        world.poll();
        for &client in chunk {
            let inside = Device { rss_keys: &rss_keys, facing: facing[1], queues: &world.inside };
            inside.receive(&syn(nth_server(0), client, None), nth_server(0), client);
        }
        world.poll();
    }
    let default_namespace = &world.default_namespace;
    default_namespace.assert_reconciled();
    assert_eq!(default_namespace.sum(|stats| stats.destinations[0].connections.get()), 200);
    assert_eq!(default_namespace.sum(|stats| stats.destinations[0].in_packets.get()), 200);
    assert_eq!(default_namespace.sum(|stats| stats.destinations[0].out_packets.get()), 200);
    for stats in &default_namespace.worker_stats {
        let own = stats.destinations[0].connections.get();
        assert!(own >= 100 / u64::from(workers), "every worker has its share");
    }
    default_namespace.sum(|stats| stats.counters.handoff_sent.get())
}

#[test]
fn no_packet_is_handed_off_when_devices_have_our_rss_keys() {
    for workers in [2, 3, 8] {
        assert_eq!(handed_off(workers, [Facing::Clients, Facing::Servers]), 0, "{workers} workers");
    }
}

#[test]
fn server_packets_are_handed_off_when_their_port_hashes_as_client_facing() {
    let count = handed_off(2, [Facing::Clients, Facing::Clients]);
    assert!((1..=200).contains(&count), "{count}");
}

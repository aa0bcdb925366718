//! Tests of the averages against their definition, and of counts that outlive destinations.

use std::cell::RefCell;
use std::collections::HashMap;

use pollux_dataplane::service::DestinationId;
use proptest::prelude::*;

use super::*;
use crate::engine::compile::Compiler;
use crate::model::{Config, Destination, Family, Method, Service, ServiceKey, Start};

fn packets(count: u64) -> Stats {
    Stats { in_packets: count, in_bytes: count * 100, ..Stats::default() }
}

#[test]
fn averages_approach_a_steady_rate() {
    let mut estimator = Estimator::default();
    let mut shown = |connections| {
        estimator.add(Stats { connections, in_bytes: connections * 1000, ..Stats::default() });
        estimator.sample();
        let rates = estimator.estimate().rates;
        (rates.connections, rates.in_bytes)
    };
    let first: Vec<_> = (0..3).map(|_| shown(200)).collect();
    assert_eq!(first, [(25, 25_000), (44, 43_750), (58, 57_812)]);
    assert!((0..60).map(|_| shown(200)).all(|(connections, _)| connections <= 100));
    assert_eq!(shown(200), (100, 100_000));
    let last = (0..80).map(|_| shown(0)).last();
    assert_eq!(last, Some((0, 0)));
}

/// The moving average in integer arithmetic, rounding down.
fn expected_average(average: i128, grown: u64, scale: i128) -> i128 {
    average + (i128::from(grown) * scale - average).div_euclid(4)
}

proptest! {
    #[test]
    fn rates_follow_the_definition(grown in prop::collection::vec((0..1_000_000u64, 0..10_000_000_000u64), 0..40)) {
        let (mut estimator, mut count, mut bytes) = (Estimator::default(), 0, 0);
        for (packets, octets) in grown {
            estimator.add(Stats { out_packets: packets, out_bytes: octets, ..Stats::default() });
            estimator.sample();
            count = expected_average(count, packets, 512);
            bytes = expected_average(bytes, octets, 16);
            let rates = estimator.estimate().rates;
            prop_assert_eq!(i128::from(rates.out_packets), (count + 511).div_euclid(1024));
            prop_assert_eq!(i128::from(rates.out_bytes), (bytes + 15).div_euclid(32));
        }
    }
}

/// A compiler, counters of workers, and estimators.
struct Bed {
    compiler: Compiler,
    estimators: Estimators,
    worker_stats: RefCell<HashMap<DestinationId, Stats>>,
    secs: u64,
}

impl Bed {
    fn new() -> Bed {
        let compiler = Compiler::new(&Start::default(), []);
        Bed { compiler, estimators: Estimators::new(), worker_stats: RefCell::default(), secs: 0 }
    }

    fn configure(&mut self, services: &[Service]) {
        let config = Config { services: services.to_vec().into(), ..Config::default() };
        self.compiler.configure(&config, Duration::from_secs(self.secs)).unwrap();
        let worker_stats = &self.worker_stats;
        self.estimators
            .update(&self.compiler, |id| worker_stats.borrow().get(&id).copied().unwrap_or_default());
    }

    fn receive(&self, id: u32, count: u64) {
        let mut worker_stats = self.worker_stats.borrow_mut();
        let stats = worker_stats.entry(DestinationId(id)).or_default();
        *stats = stats.plus(packets(count));
    }

    fn pass(&mut self, secs: u64, runs: bool) {
        for _ in 0..secs {
            self.secs += 1;
            let worker_stats = &self.worker_stats;
            let stats = |id| worker_stats.borrow().get(&id).copied().unwrap_or_default();
            self.estimators.tick(Duration::from_secs(self.secs), runs, stats);
        }
    }

    /// Returns the shown packets of the destination with id 0, of its service, and of the total.
    fn shown(&self) -> (u64, u64, u64) {
        let packets = |estimate: Estimate| estimate.shown.in_packets;
        let estimators = &self.estimators;
        (
            packets(estimators.destination(DestinationId(0))),
            packets(estimators.service(&key())),
            packets(estimators.total()),
        )
    }
}

fn key() -> ServiceKey {
    ServiceKey::Fwmark { fwmark: 1, family: Family::Ipv4 }
}

fn service(servers: &[u8]) -> Service {
    let server = |&n: &u8| Destination::new([10, 0, 2, n].into(), 0, Method::Nat);
    Service { destinations: servers.iter().map(server).collect(), ..Service::new(key()) }
}

#[test]
fn counters_are_shown_as_of_the_last_sample() {
    let mut bed = Bed::new();
    bed.configure(&[service(&[1])]);
    bed.receive(0, 5);
    bed.pass(1, true);
    assert_eq!(bed.shown(), (0, 0, 0));
    bed.pass(1, true);
    bed.receive(0, 2);
    assert_eq!(bed.shown(), (5, 5, 5));
    bed.estimators.count(|id| bed.worker_stats.borrow()[&id]);
    assert_eq!(bed.estimators.total().live.in_packets, 7);
    bed.pass(4, false);
    assert_eq!(bed.shown(), (5, 5, 5), "frozen");
    bed.pass(2, true);
    assert_eq!(bed.shown(), (7, 7, 7));
}

#[test]
fn zero_is_where_the_last_sample_was() {
    let mut bed = Bed::new();
    bed.configure(&[service(&[1])]);
    bed.receive(0, 5);
    bed.pass(2, true);
    bed.receive(0, 3);
    assert_ne!(bed.estimators.service(&key()).rates, Rates::default());
    bed.estimators.zero(Some(key()));
    assert_eq!(bed.shown(), (0, 0, 5), "the total has its own zero point");
    assert_eq!(bed.estimators.service(&key()).rates, Rates::default());
    bed.pass(2, true);
    assert_eq!(bed.shown(), (3, 3, 8));
    bed.estimators.zero(None);
    assert_eq!(bed.shown(), (0, 0, 0));
    assert_eq!(bed.estimators.total().live.in_packets, 8);
}

#[test]
fn services_keep_the_counts_of_removed_destinations() {
    let mut bed = Bed::new();
    bed.configure(&[service(&[1, 2])]);
    bed.receive(0, 5);
    bed.receive(1, 1);
    bed.configure(&[service(&[2])]);
    bed.receive(0, 100);
    bed.pass(2, true);
    assert_eq!(bed.shown(), (5, 6, 6), "packets for a removed destination are not counted");
    bed.configure(&[service(&[1, 2])]);
    bed.receive(0, 2);
    bed.pass(2, true);
    assert_eq!(bed.shown(), (7, 8, 8), "it is added again to the same service and keeps its counters");
    bed.configure(&[service(&[2])]);
    bed.estimators.remove(&[DestinationId(0)]);
    assert_eq!(bed.shown(), (0, 8, 8));
}

#[test]
fn a_new_service_begins_at_zero_and_so_do_its_destinations() {
    let mut bed = Bed::new();
    bed.configure(&[service(&[1])]);
    bed.receive(0, 5);
    bed.pass(2, true);
    bed.configure(&[]);
    bed.configure(&[service(&[1])]);
    assert_eq!(bed.shown(), (0, 0, 5), "the same id, another service");
    bed.receive(0, 1);
    bed.pass(2, true);
    assert_eq!(bed.shown(), (1, 1, 6));
}

#[test]
fn counts_after_the_last_sample_are_shown_at_the_next() {
    let mut bed = Bed::new();
    bed.configure(&[service(&[1])]);
    bed.receive(0, 2);
    bed.configure(&[]);
    bed.configure(&[service(&[1])]);
    bed.receive(0, 1);
    bed.pass(2, true);
    assert_eq!(bed.shown(), (3, 1, 3), "as recorded in service-readd.json");
}

#[test]
fn missed_samples_are_not_made_up_for() {
    let mut bed = Bed::new();
    bed.configure(&[service(&[1])]);
    bed.receive(0, 5);
    bed.estimators.tick(Duration::from_secs(100), true, |id| bed.worker_stats.borrow()[&id]);
    bed.receive(0, 1);
    bed.estimators.tick(Duration::from_secs(101), true, |id| bed.worker_stats.borrow()[&id]);
    assert_eq!(bed.shown(), (5, 5, 5));
    bed.estimators.tick(Duration::from_secs(102), true, |id| bed.worker_stats.borrow()[&id]);
    assert_eq!(bed.shown(), (6, 6, 6));
}

//! Sequences of choices, from the specification's examples and golden recordings.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::flow::Endpoint;
use crate::service::{Method, Name, ServiceId, TargetId};

/// Loads written down.
struct Noted(Vec<Load>);

impl Loads for Noted {
    fn load(&self, id: DestinationId) -> Load {
        self.0[id.0 as usize]
    }

    fn is_overloaded(&self, _: DestinationId) -> bool {
        false
    }
}

fn setup(scheduler: Scheduler, weights: &[u32]) -> (Service, Services, Memory) {
    let endpoint = Endpoint { address: Ipv4Addr::new(10, 9, 9, 1).into(), l4_port: 80 };
    let mut service = Service {
        name: Name::Address(endpoint, 6),
        scheduler,
        fallback: false,
        hash_l4_port: false,
        one_packet: false,
        persistence: None,
        destinations: Vec::new(),
        slots: Arc::new([]),
    };
    let (mut services, mut cursor) = (Services::default(), Memory::default());
    let event = |kind, gcd, max_weight| Event { service: ServiceId(0), kind, gcd, max_weight };
    cursor.hear(scheduler, &event(EventKind::Fresh, 1, 0));
    for (i, &weight) in weights.iter().enumerate() {
        let destination = Destination {
            endpoint,
            method: Method::Dr,
            available: true,
            weight,
            last_weight: weight,
            upper: 0,
            lower: 0,
            service: ServiceId(0),
            target: TargetId(0),
        };
        services.destinations.push(Some(destination));
        service.destinations.insert(0, DestinationId(i as u32));
        let known = &weights[..=i];
        let gcd = known.iter().copied().fold(0, gcd).max(1);
        cursor.hear(
            scheduler,
            &event(EventKind::Added(DestinationId(i as u32)), gcd, known.iter().copied().max().unwrap()),
        );
    }
    (service, services, cursor)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn picks(scheduler: Scheduler, weights: &[u32], count: usize) -> Vec<Option<u32>> {
    let (service, services, mut memory) = setup(scheduler, weights);
    let mut loads = Noted(vec![Load::default(); weights.len()]);
    (0..count)
        .map(|_| {
            let (client, virtual_address) =
                (Endpoint { address: Ipv4Addr::LOCALHOST.into(), l4_port: 1 }, Ipv4Addr::LOCALHOST.into());
            let scene = Scene {
                service: &service,
                services: &services,
                loads: &loads,
                client,
                virtual_address,
                settings: &Settings::default(),
                now: Tick(0),
            };
            let picked = memory.pick(&scene)?;
            loads.0[picked.0 as usize].active += 1;
            Some(picked.0)
        })
        .collect()
}

#[test]
fn rr_begins_with_the_newest_and_skips_weight_zero() {
    assert_eq!(picks(Scheduler::Rr, &[1, 0, 5], 4), [Some(2), Some(0), Some(2), Some(0)]);
}

#[test]
fn wrr_gives_each_its_share() {
    let picked = picks(Scheduler::Wrr, &[4, 3, 2], 90);
    let share = |id| picked.iter().filter(|&&p| p == Some(id)).count();
    assert_eq!([share(0), share(1), share(2)], [40, 30, 20]);
}

#[test]
fn lc_takes_turns_among_equals() {
    assert_eq!(picks(Scheduler::Lc, &[1, 9], 4), [Some(1), Some(0), Some(1), Some(0)]);
}

#[test]
fn wlc_follows_the_weights() {
    let picked = picks(Scheduler::Wlc, &[3, 1], 8);
    assert_eq!(picked.iter().filter(|&&p| p == Some(0)).count(), 6);
}

#[test]
fn nobody_is_chosen_when_all_weigh_nothing() {
    for scheduler in [Scheduler::Rr, Scheduler::Wrr, Scheduler::Lc, Scheduler::Wlc] {
        assert_eq!(picks(scheduler, &[0, 0], 2), [None, None], "{scheduler:?}");
        assert_eq!(picks(scheduler, &[], 1), [None], "{scheduler:?}");
    }
}

//! Sequences of choices from the specification's examples and from recordings, and properties checked against a model
//! of the specification.

mod caches;
mod golden;
mod laws;
mod model;
mod workers;
mod world;

use std::hash::Hasher;

use super::*;
use world::World;

const CLIENT: Endpoint = Endpoint { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), l4_port: 1 };

const ALL: [Scheduler; 15] = {
    use Scheduler::*;
    [Rr, Wrr, Lc, Wlc, Fo, Ovf, Lblc, Lblcr, Dh, Sh, Mh, Sed, Nq, Twos, None]
};

fn picks(scheduler: Scheduler, weights: &[u32], count: usize) -> Vec<Option<u32>> {
    let mut world = World::with_weights(scheduler, weights);
    (0..count).map(|_| world.open(CLIENT, CLIENT.address)).collect()
}

#[test]
fn rr_begins_with_the_newest_and_skips_weight_zero() {
    assert_eq!(picks(Scheduler::Rr, &[1, 0, 5], 4), [Some(2), Some(0), Some(2), Some(0)]);
}

#[test]
fn rr_keeps_its_position_while_none_is_available() {
    let mut world = World::with_weights(Scheduler::Rr, &[1, 1, 1]);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(2));
    world.loads.overloaded = vec![true; 3];
    assert_eq!(world.pick(CLIENT, CLIENT.address), None);
    world.loads.overloaded = vec![false; 3];
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(1));
}

#[test]
fn rr_continues_after_the_chosen_destination_is_removed() {
    let mut world = World::with_weights(Scheduler::Rr, &[1, 1, 1]);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(2));
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(1));
    world.remove(1);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(0));
}

#[test]
fn wrr_interleaves_as_in_the_specification() {
    let nine = |world: &mut World| -> String {
        (0..9).map(|_| ["C", "B", "A"][world.pick(CLIENT, CLIENT.address).unwrap() as usize]).collect()
    };
    let mut world = World::with_weights(Scheduler::Wrr, &[2, 3, 4]);
    // Adding a heavier destination does not raise the current weight, so the first round starts with the last pass.
    assert_eq!(nine(&mut world), "ABCAABABC");
    world.apply(EventKind::Reset);
    assert_eq!(nine(&mut world), "AABABCABC");
}

#[test]
fn wrr_distributes_by_weight() {
    let picked = picks(Scheduler::Wrr, &[4, 3, 2], 90);
    let share = |id| picked.iter().filter(|&&p| p == Some(id)).count();
    assert_eq!([share(0), share(1), share(2)], [40, 30, 20]);
}

#[test]
fn wrr_skips_empty_passes() {
    let mut world = World::with_weights(Scheduler::Wrr, &[1, i32::MAX as u32]);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(1));
    world.loads.overloaded[1] = true;
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(0));
    world.loads.overloaded[0] = true;
    assert_eq!(world.pick(CLIENT, CLIENT.address), None);
}

#[test]
fn lc_alternates_among_equals() {
    assert_eq!(picks(Scheduler::Lc, &[1, 9], 4), [Some(1), Some(0), Some(1), Some(0)]);
}

#[test]
fn wlc_follows_the_weights() {
    let picked = picks(Scheduler::Wlc, &[3, 1], 8);
    assert_eq!(picked.iter().filter(|&&p| p == Some(0)).count(), 6);
}

#[test]
fn overhead_is_signed_as_in_ipvs() {
    assert_eq!(Load { active: 1 << 23, inactive: 0 }.overhead(), i32::MIN);
}

#[test]
fn twos_takes_the_less_loaded_of_two_draws() {
    let world = World::with_weights(Scheduler::Twos, &[1, 2, 3]);
    let mut loads = world.loads.clone();
    loads.by_id[2].active = 9;
    let chosen = |draws: [u64; 2]| {
        let context = PickContext {
            service: &world.service,
            services: &world.services,
            loads: &loads,
            client: CLIENT,
            virtual_address: CLIENT.address,
            settings: &world.settings,
            now: Tick(0),
        };
        let mut draws = draws.into_iter();
        let drawn = twos::pick(context.available(), |max| {
            assert_eq!(max, 6, "the sum of the weights is included");
            draws.next().unwrap()
        });
        drawn.map(|id| id.0)
    };
    // In list order: destination 2 has draws 0..=3, 1 has 4..=5, 0 has 6.
    assert_eq!(chosen([0, 3]), Some(2));
    assert_eq!(chosen([3, 4]), Some(1));
    assert_eq!(chosen([4, 6]), Some(1));
    assert_eq!(chosen([6, 5]), Some(0));
}

#[test]
fn draws_cover_the_whole_range() {
    let mut random = twos::Random(1);
    let drawn: Vec<u64> = (0..100).map(|_| random.draw(3)).collect();
    assert!((0..=3).all(|n| drawn.contains(&n)) && drawn.iter().all(|&n| n <= 3));
}

#[test]
fn no_destination_of_weight_zero_is_chosen() {
    for scheduler in ALL {
        assert_eq!(picks(scheduler, &[0, 0], 2), [None, None], "{scheduler:?}");
        assert_eq!(picks(scheduler, &[], 1), [None], "{scheduler:?}");
    }
}

#[test]
fn every_scheduler_chooses_the_only_destination() {
    for scheduler in ALL {
        let picked = picks(scheduler, &[2], 1);
        assert_eq!(picked == [Some(0)], scheduler != Scheduler::None, "{scheduler:?}");
    }
}

#[test]
fn the_hash_of_mh_is_siphash_1_3_of_four_bytes() {
    for number in [0, 1, 0xc612_0001, u32::MAX] {
        let bytes = number.to_ne_bytes();
        // The standard library's hasher has a key of zero.
        let mut standard = std::hash::DefaultHasher::new();
        standard.write(&bytes);
        assert_eq!(mh::siphash13(0, number), standard.finish() as u32);
        for word in [2_654_435_761, 2_654_446_892] {
            assert_eq!(mh::siphash13(word, number), model::siphash(word, word, &bytes) as u32);
        }
    }
}

#[test]
fn mh_has_room_for_as_many_destinations_as_slots() {
    let world = World::with_weights(Scheduler::Mh, &[1]);
    let one = world.services.destination(DestinationId(0)).unwrap();
    let list: Vec<_> = (0..mh::SLOTS as u32).map(|n| (DestinationId(n), one)).collect();
    let slots = mh::slots(false, &list);
    let mut owners: Vec<_> = slots.iter().flatten().collect();
    owners.sort();
    owners.dedup();
    assert_eq!(owners.len(), mh::SLOTS, "each destination has a slot");
}

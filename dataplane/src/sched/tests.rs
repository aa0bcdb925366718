//! Sequences of choices, from the specification's examples and golden recordings, and laws against a model of its
//! text.

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
    let mut world = World::of(scheduler, weights);
    (0..count).map(|_| world.open(CLIENT, CLIENT.address)).collect()
}

#[test]
fn rr_begins_with_the_newest_and_skips_weight_zero() {
    assert_eq!(picks(Scheduler::Rr, &[1, 0, 5], 4), [Some(2), Some(0), Some(2), Some(0)]);
}

#[test]
fn rr_stays_where_it_is_while_nobody_is_available() {
    let mut world = World::of(Scheduler::Rr, &[1, 1, 1]);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(2));
    world.noted.overloaded = vec![true; 3];
    assert_eq!(world.pick(CLIENT, CLIENT.address), None);
    world.noted.overloaded = vec![false; 3];
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(1));
}

#[test]
fn rr_goes_on_before_a_removed_destination() {
    let mut world = World::of(Scheduler::Rr, &[1, 1, 1]);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(2));
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(1));
    world.remove(1);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(0));
}

#[test]
fn wrr_interleaves_as_the_specification_shows() {
    let nine = |world: &mut World| -> String {
        (0..9).map(|_| ["C", "B", "A"][world.pick(CLIENT, CLIENT.address).unwrap() as usize]).collect()
    };
    let mut world = World::of(Scheduler::Wrr, &[2, 3, 4]);
    // Adding a heavier destination does not raise the current weight, so the first round begins with the last pass.
    assert_eq!(nine(&mut world), "ABCAABABC");
    world.emit(EventKind::Fresh);
    assert_eq!(nine(&mut world), "AABABCABC");
}

#[test]
fn wrr_gives_each_its_share() {
    let picked = picks(Scheduler::Wrr, &[4, 3, 2], 90);
    let share = |id| picked.iter().filter(|&&p| p == Some(id)).count();
    assert_eq!([share(0), share(1), share(2)], [40, 30, 20]);
}

#[test]
fn wrr_does_not_walk_two_billion_passes() {
    let mut world = World::of(Scheduler::Wrr, &[1, i32::MAX as u32]);
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(1));
    world.noted.overloaded[1] = true;
    assert_eq!(world.pick(CLIENT, CLIENT.address), Some(0));
    world.noted.overloaded[0] = true;
    assert_eq!(world.pick(CLIENT, CLIENT.address), None);
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
fn overhead_has_a_sign_as_in_ipvs() {
    assert_eq!(Load { active: 1 << 23, inactive: 0 }.overhead(), i32::MIN);
}

#[test]
fn twos_takes_the_better_of_what_is_drawn() {
    let world = World::of(Scheduler::Twos, &[1, 2, 3]);
    let mut loads = world.noted.clone();
    loads.loads[2].active = 9;
    let chosen = |draws: [u64; 2]| {
        let scene = PickContext {
            service: &world.service,
            services: &world.services,
            loads: &loads,
            client: CLIENT,
            virtual_address: CLIENT.address,
            settings: &world.settings,
            now: Tick(0),
        };
        let mut draws = draws.into_iter();
        let drawn = twos::pick(scene.available(), |most| {
            assert_eq!(most, 6, "the weights' sum is drawn too");
            draws.next().unwrap()
        });
        drawn.map(|id| id.0)
    };
    // In list order 2 has 0..=3, 1 has 4..=5, 0 has 6.
    assert_eq!(chosen([0, 3]), Some(2));
    assert_eq!(chosen([3, 4]), Some(1));
    assert_eq!(chosen([4, 6]), Some(1));
    assert_eq!(chosen([6, 5]), Some(0));
}

#[test]
fn draws_reach_both_ends() {
    let mut draws = twos::Draws(1);
    let drawn: Vec<u64> = (0..100).map(|_| draws.draw(3)).collect();
    assert!((0..=3).all(|n| drawn.contains(&n)) && drawn.iter().all(|&n| n <= 3));
}

#[test]
fn nobody_is_chosen_when_all_weigh_nothing() {
    for scheduler in ALL {
        assert_eq!(picks(scheduler, &[0, 0], 2), [None, None], "{scheduler:?}");
        assert_eq!(picks(scheduler, &[], 1), [None], "{scheduler:?}");
    }
}

#[test]
fn somebody_is_chosen_unless_there_is_no_scheduler() {
    for scheduler in ALL {
        let picked = picks(scheduler, &[2], 1);
        assert_eq!(picked == [Some(0)], scheduler != Scheduler::None, "{scheduler:?}");
    }
}

#[test]
fn the_hash_of_mh_is_siphash_1_3_of_four_bytes() {
    for number in [0, 1, 0xc612_0001, u32::MAX] {
        let bytes = number.to_ne_bytes();
        // The standard library's, whose key is zero.
        let mut standard = std::hash::DefaultHasher::new();
        standard.write(&bytes);
        assert_eq!(mh::siphash13(0, number), standard.finish() as u32);
        for word in [2_654_435_761, 2_654_446_892] {
            assert_eq!(mh::siphash13(word, number), model::siphash(word, word, &bytes) as u32);
        }
    }
}

#[test]
fn mh_has_room_for_as_many_as_there_are_slots() {
    let world = World::of(Scheduler::Mh, &[1]);
    let one = world.services.destination(DestinationId(0)).unwrap();
    let list: Vec<_> = (0..mh::SLOTS as u32).map(|n| (DestinationId(n), one)).collect();
    let slots = mh::slots(false, &list);
    let mut owners: Vec<_> = slots.iter().flatten().collect();
    owners.sort();
    owners.dedup();
    assert_eq!(owners.len(), mh::SLOTS, "each has one");
}

#[test]
fn memory_without_a_cache_is_a_cache_line_at_most() {
    assert!(size_of::<SchedulerState>() <= 64);
}

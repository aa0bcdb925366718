//! Entries that `lblc` and `lblcr` cache and expire.

use std::net::{IpAddr, Ipv4Addr};

use super::CLIENT;
use super::model::{Model, Packet, Server};
use super::world::World;
use crate::flow::Endpoint;
use crate::sched::cached::{MAX_ENTRIES, SOFT_MAX_ENTRIES};
use crate::sched::{Load, SchedulerState};
use crate::service::Scheduler;
use crate::time::Millis;

const MINUTE: u64 = 60_000;
const BOTH: [Scheduler; 2] = [Scheduler::Lblc, Scheduler::Lblcr];

fn nth(n: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + n).into()
}

fn cached(state: &SchedulerState) -> usize {
    state.lblc.as_ref().map_or(0, |cache| cache.len()) + state.lblcr.as_ref().map_or(0, |cache| cache.len())
}

#[test]
fn a_flood_of_addresses_is_served_but_not_cached_beyond_the_maximum() {
    for scheduler in BOTH {
        let mut world = World::with_weights(scheduler, &[1, 1]);
        for n in 0..MAX_ENTRIES as u32 + 1000 {
            assert!(world.pick(CLIENT, nth(n)).is_some(), "{scheduler:?}");
        }
        assert_eq!(cached(&world.state), MAX_ENTRIES);
    }
}

#[test]
fn idle_entries_expire_at_the_pace_of_the_specification() {
    for scheduler in BOTH {
        let mut world = World::with_weights(scheduler, &[1]);
        let mut model = Model::new(scheduler, false, false);
        model.servers.push(Server {
            address: [10, 0, 2, 11].into(),
            port: 80,
            weight: 1,
            last_weight: 1,
            active: 0,
            inactive: 0,
            overload: false,
            available: false,
        });
        model.add(0, 1);
        world.wait(0);
        let mut counts = Vec::new();
        for minute in 0..60 {
            // A flood in the first minute; then a few addresses stay in use.
            let fresh = if minute == 0 { 0..30_000 } else { 0..500 };
            for n in fresh {
                let packet = Packet { client: CLIENT.address, client_port: 1, virtual_address: nth(n * 977) };
                world.pick(CLIENT, packet.virtual_address);
                model.select(&packet, |_| 0);
            }
            world.wait(MINUTE);
            model.now = world.now.0;
            model.cached.timer(model.now);
            assert_eq!(cached(&world.state), model.cached.len(), "{scheduler:?}, minute {minute}");
            counts.push(model.cached.len());
        }
        assert!(counts[4] == 30_000 && counts[5] < 22_000 && counts[59] <= SOFT_MAX_ENTRIES, "{counts:?}");
    }
}

#[test]
fn the_full_check_runs_in_the_thirtieth_minute() {
    for scheduler in BOTH {
        let mut world = World::with_weights(scheduler, &[1]);
        let ten_minutes = Millis::from_secs(600);
        (world.settings.lblc_expiration, world.settings.lblcr_expiration) = (ten_minutes, ten_minutes);
        world.wait(0);
        world.pick(CLIENT, nth(1));
        for _ in 0..29 {
            world.wait(MINUTE);
        }
        assert_eq!(cached(&world.state), 1, "{scheduler:?}");
        world.wait(MINUTE);
        assert_eq!(cached(&world.state), 0, "{scheduler:?}");
    }
}

#[test]
fn a_destination_added_again_is_recognised_under_another_id() {
    for scheduler in BOTH {
        let mut world = World::with_weights(scheduler, &[1, 1]);
        assert_eq!(world.pick(CLIENT, nth(1)), Some(1));
        let endpoint = |host: u8| Endpoint { address: [10, 0, 2, host].into(), l4_port: 80 };
        world.remove(1);
        world.add(1, endpoint(99), 1);
        world.add(2, endpoint(12), 1);
        world.loads.by_id[2] = Load { active: 1, inactive: 0 };
        assert_eq!(world.pick(CLIENT, nth(1)), Some(2), "{scheduler:?}");
    }
}

#[test]
fn lblcr_reuses_the_slots_of_removed_members() {
    let mut world = World::with_weights(Scheduler::Lblcr, &[1, 1]);
    world.settings.lblcr_expiration = Millis::from_secs(600);
    world.wait(0);
    // More members in total than fit at one time.
    for round in 0..20 {
        for n in 0..4000 {
            world.pick(CLIENT, nth(round * 4000 + n));
        }
        assert_eq!(cached(&world.state), 4000);
        (0..30).for_each(|_| world.wait(MINUTE));
        assert_eq!(cached(&world.state), 0);
    }
}

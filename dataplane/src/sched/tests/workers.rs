//! What several workers do to the spread, since each has a memory of its own and knows of the others' loads a little
//! late. The bounds are those that the module's text names.

use proptest::prelude::*;

use super::CLIENT;
use super::world::World;
use crate::sched::Load;
use crate::service::Scheduler;

const WORKERS: usize = 4;

/// Opens `order.len()` connections, each at the worker that `order` names; every `interval` of them control tells each
/// worker what the others carry. Gives the connections by destination.
fn spread(scheduler: Scheduler, weights: &[u32], order: &[usize], interval: usize) -> Vec<u32> {
    let mut workers: Vec<World> = (0..WORKERS).map(|_| World::of(scheduler, weights)).collect();
    let mut own = vec![vec![0; weights.len()]; WORKERS];
    let total = |own: &[Vec<u32>], n: usize| own.iter().map(|counts| counts[n]).sum::<u32>();
    for (opened, &at) in order.iter().enumerate() {
        if opened % interval == 0 {
            for world in &mut workers {
                for (n, load) in world.noted.loads.iter_mut().enumerate() {
                    *load = Load { active: total(&own, n), inactive: 0 };
                }
            }
        }
        // `open` counts on the worker's own copy at once: own exact, others as they were.
        let chosen = workers[at].open(CLIENT, CLIENT.address).expect("somebody is there") as usize;
        own[at][chosen] += 1;
    }
    (0..weights.len()).map(|n| total(&own, n)).collect()
}

fn orders() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..WORKERS, 1..600)
}

proptest! {
    #[test]
    fn rr_differs_by_one_for_each_worker(order in orders(), count in 1_usize..8) {
        let carried = spread(Scheduler::Rr, &vec![1; count], &order, 1);
        let (most, least) = (carried.iter().max().unwrap(), carried.iter().min().unwrap());
        prop_assert!(most - least <= WORKERS as u32);
    }

    #[test]
    fn wrr_is_off_by_a_weight_for_each_worker(order in orders(), weights in prop::collection::vec(1_u32..9, 1..6)) {
        let carried = spread(Scheduler::Wrr, &weights, &order, 1);
        let sum: u32 = weights.iter().sum();
        for (&weight, carried) in weights.iter().zip(carried) {
            let share = order.len() as f64 * f64::from(weight) / f64::from(sum);
            let off = (f64::from(carried) - share).abs();
            prop_assert!(off <= f64::from(weight) * WORKERS as f64, "{off} of weight {weight}");
        }
    }

    #[test]
    fn wlc_is_off_by_what_was_opened_since_control_last_looked(
        order in orders(),
        weights in prop::collection::vec(1_u32..9, 1..6),
        interval in 1_usize..40,
    ) {
        let carried = spread(Scheduler::Wlc, &weights, &order, interval);
        for (&weight, &most) in weights.iter().zip(&carried) {
            for (&other, &least) in weights.iter().zip(&carried) {
                // most / weight - least / other <= interval / weight, without fractions.
                prop_assert!(most * other <= least * weight + interval as u32 * other);
            }
        }
    }
}

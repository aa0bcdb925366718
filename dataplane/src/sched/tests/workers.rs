//! The distribution over several workers, each with its own state and a delayed view of the others' load. The bounds
//! are those in the documentation of [`crate::sched`].

use proptest::prelude::*;

use super::CLIENT;
use super::world::World;
use crate::sched::Load;
use crate::service::Scheduler;

const WORKERS: usize = 4;

/// Opens one connection at each worker of `order`, in turn. Control samples the load every `interval` connections.
/// Returns the number of connections by destination.
fn spread(scheduler: Scheduler, weights: &[u32], order: &[usize], interval: usize) -> Vec<u32> {
    let mut workers: Vec<World> = (0..WORKERS).map(|_| World::with_weights(scheduler, weights)).collect();
    let mut own = vec![vec![0; weights.len()]; WORKERS];
    let total = |own: &[Vec<u32>], n: usize| own.iter().map(|counts| counts[n]).sum::<u32>();
    for (opened, &at) in order.iter().enumerate() {
        if opened % interval == 0 {
            for world in &mut workers {
                for (n, load) in world.loads.by_id.iter_mut().enumerate() {
                    *load = Load { active: total(&own, n), inactive: 0 };
                }
            }
        }
        // `open` counts at once at this worker; the others see it after the next sample.
        let chosen = workers[at].open(CLIENT, CLIENT.address).expect("a destination is usable") as usize;
        own[at][chosen] += 1;
    }
    (0..weights.len()).map(|n| total(&own, n)).collect()
}

fn orders() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..WORKERS, 1..600)
}

proptest! {
    #[test]
    fn rr_is_off_by_at_most_one_connection_per_worker(order in orders(), count in 1_usize..8) {
        let loads = spread(Scheduler::Rr, &vec![1; count], &order, 1);
        let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
        prop_assert!(most - least <= WORKERS as u32);
    }

    #[test]
    fn wrr_is_off_by_at_most_its_weight_per_worker(order in orders(), weights in prop::collection::vec(1_u32..9, 1..6)) {
        let loads = spread(Scheduler::Wrr, &weights, &order, 1);
        let sum: u32 = weights.iter().sum();
        for (&weight, load) in weights.iter().zip(loads) {
            let share = order.len() as f64 * f64::from(weight) / f64::from(sum);
            let off = (f64::from(load) - share).abs();
            prop_assert!(off <= f64::from(weight) * WORKERS as f64, "{off} of weight {weight}");
        }
    }

    #[test]
    fn wlc_is_off_by_at_most_the_connections_since_the_last_sample(
        order in orders(),
        weights in prop::collection::vec(1_u32..9, 1..6),
        interval in 1_usize..40,
    ) {
        let loads = spread(Scheduler::Wlc, &weights, &order, interval);
        for (&weight, &most) in weights.iter().zip(&loads) {
            for (&other, &least) in weights.iter().zip(&loads) {
                // most / weight - least / other <= interval / weight, without fractions.
                prop_assert!(most * other <= least * weight + interval as u32 * other);
            }
        }
    }
}

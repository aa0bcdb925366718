//! Packets provoke every reason for which the slow path is taken.

use std::sync::Arc;

use super::super::bed::*;
use super::super::edges::cut;
use super::super::fragments::fragments;
use super::super::services::{sticky, with_service};
use super::{clients_send, datagram, nat, needs_fragmentation, nth_client, syn, udp_plan, with};
use crate::service::Method;
use crate::stats::WorkerStats;
use crate::verdict::SlowPathReason;
use crate::wire::protocol;

#[test]
fn packets_provoke_every_slow_path_reason() {
    for &why in SlowPathReason::ALL {
        let stats = provoke(why);
        assert!(stats.counters.slow_path[why as usize].get() > 0, "no packet provokes {why}");
    }
}

/// Counters of a worker to which packets were sent that take the slow path for this reason.
fn provoke(why: SlowPathReason) -> Arc<WorkerStats> {
    use SlowPathReason::*;
    let ack = || tcp(client(), vip(), "A");
    match why {
        NotPlain => clients_send(nat(), [with_byte(cut(&syn(), 34), 23, protocol::SCTP)]),
        Fragment => clients_send(udp_plan(), datagram()),
        IcmpError => clients_send(nat(), [needs_fragmentation()]),
        NoConnection => clients_send(nat(), [syn()]),
        State => clients_send(nat(), [syn(), syn()]),
        Feature => {
            let plan = Plan::new(Method::Dr);
            let snapshot = with_service(&plan, |service| service.persistence = sticky(50));
            let mut bed = plan.bed_with(snapshot).unwrap();
            [syn(), ack()].iter().for_each(|frame| bed.client_sends(frame));
            bed.stats
        }
        Adjacency => clients_send(with(nat(), |plan| plan.network.neighbours.clear()), [syn(), ack()]),
        ClientRoute => {
            let mut bed = nat().bed().unwrap();
            bed.client_sends(&syn());
            bed.server_sends(&tcp(server(), client(), "SA"));
            bed.stats
        }
        SizeOrTtl => clients_send(Plan::new(Method::Dr), [syn(), ack(), with_byte(ack(), 22, 1)]),
        NoChecksum => {
            let mut without = udp(client(), vip(), b"data");
            without[40..42].fill(0);
            clients_send(udp_plan(), [without.clone(), without])
        }
    }
}

#[test]
fn a_packet_that_is_handed_off_is_counted_as_what_it_is() {
    let some = |n: u16| {
        let about = error_about(&udp(vip(), nth_client(n), b"reply"), vip().address, 3, 4);
        fragments(3000, 1000, n).into_iter().chain([about])
    };
    let stats = clients_send(Plan { workers: 3, hand_off_ring: 64, ..udp_plan() }, (1..=10).flat_map(some));
    let count = |why: SlowPathReason| stats.counters.slow_path[why as usize].get();
    assert!(stats.counters.handoff_sent.get() > 10, "a third of the flows are this worker's");
    assert_eq!((count(SlowPathReason::IcmpError), count(SlowPathReason::NotPlain)), (10, 0));
    assert_eq!(count(SlowPathReason::Fragment), 40);
}

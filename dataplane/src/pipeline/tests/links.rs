//! Which frames are balanced depends on the link that they arrive on.

use std::sync::Arc;

use super::bed::*;
use crate::config::Snapshot;
use crate::service::Method;
use crate::verdict::DropReason;

/// Address of virtual router 51.
const VIRTUAL_ROUTER: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

fn to_mac(mac: [u8; 6], frame: &[u8]) -> Vec<u8> {
    [&mac[..], &frame[6..]].concat()
}

/// How many frames were sent to the servers since the last call.
fn forwarded(bed: &Bed) -> usize {
    std::iter::from_fn(|| bed.inside.take()).count()
}

fn slow(bed: &Bed) -> u64 {
    bed.stats.counters.slow_path.iter().map(crate::stats::Counter::get).sum()
}

#[test]
fn an_open_connection_ends_with_its_link() {
    let mut plan = Plan::new(Method::Dr);
    let mut bed = Plan::new(Method::Dr).build();
    bed.client_sends(&tcp(client(), vip(), "S"));
    bed.client_sends(&tcp(client(), vip(), "A"));
    assert_eq!(forwarded(&bed), 2);
    plan.network.links[0].up = false;
    bed.worker.install(plan.snapshot(), &[]);
    bed.client_sends(&tcp(client(), vip(), "A"));
    assert_eq!(forwarded(&bed), 0);
    assert_eq!(bed.stats.counters.drops[DropReason::LinkDown as usize].get(), 1);
    plan.network.links[0].up = true;
    bed.worker.install(plan.snapshot(), &[]);
    bed.client_sends(&tcp(client(), vip(), "A"));
    assert_eq!(forwarded(&bed), 1);
}

#[test]
fn an_interface_on_the_twin_receives_by_its_own_address_on_the_fast_path() {
    let mut plan = Plan::new(Method::Nat);
    plan.network.links[0].other_macs.push(VIRTUAL_ROUTER);
    let mut bed = plan.build();
    bed.client_sends(&to_mac(VIRTUAL_ROUTER, &tcp(client(), vip(), "S")));
    assert_eq!((forwarded(&bed), slow(&bed)), (1, 1));
    for _ in 0..3 {
        bed.client_sends(&to_mac(VIRTUAL_ROUTER, &tcp(client(), vip(), "A")));
        bed.client_sends(&tcp(client(), vip(), "A"));
    }
    assert_eq!(forwarded(&bed), 6);
    let before = slow(&bed);
    bed.client_sends(&to_mac(VIRTUAL_ROUTER, &tcp(client(), vip(), "A")));
    assert_eq!(slow(&bed), before, "it takes the fast path");
}

#[test]
fn a_vlan_without_a_link_is_the_kernels() {
    let mut bed = Plan::new(Method::Nat).build();
    let frame = tcp(client(), vip(), "S");
    let tagged = [&frame[..12], &[0x81, 0, 0, 77], &frame[12..]].concat();
    bed.client_sends(&tagged);
    assert_eq!((forwarded(&bed), bed.kernel.len()), (0, 1));
    let priority = [&frame[..12], &[0x81, 0, 0x60, 0], &frame[12..]].concat();
    bed.client_sends(&priority);
    assert_eq!(forwarded(&bed), 1, "a tag with a priority and no VLAN is none");
}

#[test]
fn without_links_nothing_is_balanced() {
    let plan = Plan::new(Method::Nat);
    let snapshot = Snapshot { network: Arc::default(), ..plan.snapshot() };
    let mut bed = plan.bed_with(snapshot).unwrap();
    bed.client_sends(&tcp(client(), vip(), "S"));
    bed.client_sends(&to_mac([0xff; 6], &tcp(client(), vip(), "S")));
    assert_eq!(bed.stats.counters.drops[DropReason::LinkDown as usize].get(), 1);
    assert_eq!((forwarded(&bed), bed.kernel.len()), (0, 1));
}

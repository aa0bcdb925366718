//! Choices recorded from Linux 6.1. Every connection becomes active and stays active.

use std::net::{IpAddr, Ipv6Addr};

use super::world::World;
use crate::flow::Endpoint;
use crate::service::Scheduler;

/// Source and destination address of the nth packet.
type Flow = fn(u16) -> (IpAddr, IpAddr);

/// A change after a number of packets. Servers are numbered from 1, as in the recordings.
#[derive(Clone, Copy)]
enum Then {
    Weight(u32, u32),
    Remove(u32),
    /// The server reaches its upper threshold.
    Overload(u32),
}

struct Row {
    scheduler: Scheduler,
    /// Fallback, and port hashing.
    flags: (bool, bool),
    /// Addresses of servers are 10.0.2.11 and following, or fd00:2::b and following.
    weights: &'static [u32],
    l4_port: u16,
    flow: Flow,
    then: &'static [(usize, Then)],
    /// The server chosen for each packet; `-` for none.
    chosen: &'static str,
}

const PLAIN: (bool, bool) = (false, false);

fn seven_nets(n: u16) -> (IpAddr, IpAddr) {
    ([198, 18, (n % 7) as u8, (5 * n + 1) as u8].into(), [10, 9, 9, (3 * n % 23 + 1) as u8].into())
}

fn five_nets(n: u16) -> (IpAddr, IpAddr) {
    ([198, 18, (n % 5) as u8, (3 * n + 1) as u8].into(), [10, 9, 9, 1].into())
}

fn seven_clients(n: u16) -> (IpAddr, IpAddr) {
    ([192, 0, 2, (n % 7 + 1) as u8].into(), [10, 9, 9, 1].into())
}

/// The host parts were written in decimal: ::1 to ::9, then ::10 to ::12.
fn ipv6_clients(n: u16) -> (IpAddr, IpAddr) {
    let host = if n < 9 { n + 1 } else { n + 7 };
    let address = |high, group, host| IpAddr::from(Ipv6Addr::new(high, group, 0, 0, 0, 0, 0, host));
    (address(0x2001, 0xdb8, host), address(0xfd00, 9, 1))
}

fn check(row: &Row) {
    let mut world = World::new(row.scheduler, row.flags.0, row.flags.1);
    let ipv6 = (row.flow)(0).0.is_ipv6();
    for (n, &weight) in (0..).zip(row.weights) {
        let host = 11 + n as u16;
        let ipv4 = [10, 0, 2, host as u8];
        let address = if ipv6 { Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, host).into() } else { ipv4.into() };
        world.add(n, Endpoint { address, l4_port: row.l4_port }, weight);
    }
    let mut chosen = String::new();
    for n in 0..row.chosen.len() {
        for (_, then) in row.then.iter().filter(|(after, _)| *after == n) {
            match *then {
                Then::Weight(server, weight) => world.edit(server - 1, weight),
                Then::Remove(server) => world.remove(server - 1),
                Then::Overload(server) => world.loads.overloaded[server as usize - 1] = true,
            }
        }
        let (client, virtual_address) = (row.flow)(n as u16);
        let server = world.open(Endpoint { address: client, l4_port: 40000 + n as u16 }, virtual_address);
        chosen += &server.map_or("-".into(), |server| (server + 1).to_string());
    }
    assert_eq!(chosen, row.chosen, "{:?}", row.scheduler);
}

#[test]
fn mh_chooses_as_the_kernel_does() {
    let row = Row {
        scheduler: Scheduler::Mh,
        flags: PLAIN,
        weights: &[1, 2, 1],
        l4_port: 80,
        flow: five_nets,
        then: &[],
        chosen: "2112222223321113313222222222222322222212",
    };
    check(&row);
    let chosen = "3113133313131111313333313133113333313113";
    check(&Row { flags: (true, true), weights: &[1, 0, 1], flow: seven_clients, chosen, ..row });
    check(&Row { weights: &[1, 1, 1], flow: ipv6_clients, chosen: "131132321311", ..row });
}

#[test]
fn mh_keeps_its_slots_at_weight_zero_and_moves_them_at_other_edits() {
    check(&Row {
        scheduler: Scheduler::Mh,
        flags: PLAIN,
        weights: &[4, 2, 6],
        l4_port: 80,
        flow: seven_nets,
        then: &[(12, Then::Weight(3, 0)), (24, Then::Weight(3, 1)), (36, Then::Remove(1))],
        chosen: "3313333332131--11------1111211112112223233222222",
    });
}

#[test]
fn sh_chooses_as_the_kernel_does() {
    let row = Row {
        scheduler: Scheduler::Sh,
        flags: PLAIN,
        weights: &[1, 2, 1],
        l4_port: 80,
        flow: five_nets,
        then: &[],
        chosen: "3232312121232122232312121232322122332121",
    };
    check(&row);
    let chosen = "1133133111111313111111331331113133311111";
    check(&Row { flags: (true, true), weights: &[1, 0, 1], flow: seven_clients, chosen, ..row });
    check(&Row {
        flags: (true, false),
        weights: &[4, 2, 6],
        flow: seven_nets,
        then: &[(12, Then::Weight(3, 0)), (24, Then::Weight(3, 1)), (36, Then::Remove(1))],
        chosen: "132313333211112212222112112313113112222333322222",
        ..row
    });
}

#[test]
fn dh_chooses_as_the_kernel_does() {
    check(&Row {
        scheduler: Scheduler::Dh,
        flags: PLAIN,
        weights: &[1, 1, 1],
        l4_port: 0,
        flow: seven_nets,
        then: &[(16, Then::Remove(2))],
        chosen: "33232121313233233113113131131133",
    });
}

#[test]
fn lblc_and_lblcr_leave_an_overloaded_server_as_the_kernel_does() {
    for scheduler in [Scheduler::Lblc, Scheduler::Lblcr] {
        check(&Row {
            scheduler,
            flags: PLAIN,
            weights: &[1, 3, 2],
            l4_port: 0,
            flow: seven_nets,
            then: &[(16, Then::Weight(3, 40)), (32, Then::Weight(3, 0))],
            chosen: "3212323212323212333333333333333122222122",
        });
    }
}

#[test]
fn sed_and_nq_choose_as_the_kernel_does() {
    let row = Row {
        scheduler: Scheduler::Sed,
        flags: PLAIN,
        weights: &[3, 1, 2],
        l4_port: 80,
        flow: seven_nets,
        then: &[(16, Then::Weight(2, 9))],
        chosen: "131321131321131322222222",
    };
    check(&row);
    let chosen = "32122232223223212232";
    check(&Row { scheduler: Scheduler::Nq, weights: &[1, 5, 2], then: &[], chosen, ..row });
}

#[test]
fn fo_and_ovf_choose_as_the_kernel_does() {
    let row = Row {
        scheduler: Scheduler::Fo,
        flags: PLAIN,
        weights: &[1, 3, 2, 9],
        l4_port: 80,
        flow: seven_nets,
        then: &[(4, Then::Overload(4)), (8, Then::Weight(2, 0))],
        chosen: "444422223333",
    };
    check(&row);
    check(&Row {
        scheduler: Scheduler::Ovf,
        weights: &[2, 4, 3],
        then: &[],
        chosen: "222223333111--",
        ..row
    });
}

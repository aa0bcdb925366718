//! Packets provoke every drop reason. The match over the reasons is exhaustive, so a new reason does not compile without
//! a scenario. [`icmp`] and [`slow_path`] do the same for ICMP reasons and for reasons to take the slow path.

mod icmp;
mod limits;
mod slow_path;

use std::sync::Arc;

use super::bed::*;
use super::edges::cut;
use super::families::{self, frame6};
use super::fragments::fragments;
use super::services::{sticky, with_service};
use super::tunnels::about_outer;
use crate::config::{FwmarkRule, Route, RouteTable, Rule};
use crate::conn::Sizes;
use crate::service::{Method, Persistence, ServiceId, ServiceKey, Tunnel};
use crate::stats::WorkerStats;
use crate::verdict::DropReason;
use crate::wire::{ipv4, protocol};
use crate::worker::binding::{Binding, NamespaceId};
use crate::worker::namespace_rings::NamespaceCommand;

#[test]
fn packets_provoke_every_drop_reason() {
    for &why in DropReason::ALL {
        let stats = provoke(why);
        assert!(stats.counters.drops[why as usize].get() > 0, "no packet provokes {why}");
    }
}

/// Counters of a worker to which packets were sent that provoke this reason.
#[allow(clippy::too_many_lines, reason = "a table with a row for each drop reason")]
fn provoke(why: DropReason) -> Arc<WorkerStats> {
    use DropReason::*;
    match why {
        ShortEther => clients_send(nat(), [syn()[..10].to_vec()]),
        OtherHost => clients_send(nat(), [[&SERVER_SIDE[..], &syn()[6..]].concat()]),
        LinkDown => clients_send(with(nat(), |plan| plan.network.links[0].up = false), [syn()]),
        OtherNamespace => port_of_a_missing_namespace(),
        ShortIp => clients_send(nat(), [syn()[..40].to_vec()]),
        BadIpHeader => clients_send(nat(), [with_byte(syn(), 14, 0x65)]),
        BadIpChecksum => clients_send(nat(), [flipped(syn(), 24)]),
        ShortTcp => clients_send(nat(), [cut(&syn(), 30)]),
        ShortSctp => clients_send(nat(), [with_byte(cut(&syn(), 34), 23, protocol::SCTP)]),
        ShortUdp => clients_send(udp_plan(), [cut(&udp(client(), vip(), b"data"), 24)]),
        Untranslatable => clients_send(nat(), [syn(), cut(&tcp(client(), vip(), "A"), 28)]),
        BadIcmpChecksum => clients_send(nat(), [syn(), flipped(needs_fragmentation(), 36)]),
        IcmpLimited => clients_send(with(nat(), |plan| plan.weight = 0), syns(7)),
        Unanswerable => refused_at_a_foreign_address(),
        DatagramAnswered => clients_send(Plan { weight: 0, ..udp_plan() }, datagram()),
        AhLikeLinux => ah_after_its_key_exchange(),
        Defence => clients_send(with(nat(), |plan| plan.settings.drop_rate = 2), syns(2)),
        NoCallId => options_without_call_id(),
        TemplatesFull => more_persistent_clients_than_templates(),
        NoDestination => {
            let plan = with(nat(), |plan| (plan.weight, plan.settings.schedule_icmp) = (0, true));
            clients_send(plan, [needs_fragmentation()])
        }
        PmtuLearnt => small_mtu_for_a_client_that_allows_fragments(),
        FragmentLength => clients_send(udp_plan(), [at_offset(&fragments(1003, 1500, 9)[0], 0x2000)]),
        FragmentTooFar => clients_send(udp_plan(), [at_offset(&datagram()[1], 0x1fff)]),
        FragmentDuplicate => clients_send(udp_plan(), [datagram()[0].clone(), datagram()[0].clone()]),
        FragmentOverlap => {
            clients_send(udp_plan(), [datagram()[0].clone(), at_offset(&datagram()[1], 0x2008)])
        }
        FragmentEnd => clients_send(udp_plan(), [400, 600].map(|end| at_offset(&datagram()[1], end))),
        FragmentsTooMany => {
            let small = &fragments(400, 28, 5000)[1];
            clients_send(udp_plan(), (1..70).map(|offset| at_offset(small, 0x2000 | offset)))
        }
        FragmentsFull => clients_send(udp_plan(), (0..1025).map(|id| fragments(3000, 1000, id)[1].clone())),
        FragmentTimeout => {
            let mut bed = udp_plan().build();
            bed.client_sends(&datagram()[1]);
            later(bed, 31_000)
        }
        NoBuffer => limits::no_buffer_for_fragments(),
        TableFull => {
            let plan = Plan { sizes: Sizes { ipv4: 1, ipv6: 1, extra: 0 }, ..nat() };
            let established = [tcp(nth_client(1), vip(), "S"), tcp(nth_client(1), vip(), "A")];
            clients_send(plan, established.into_iter().chain([tcp(nth_client(2), vip(), "S")]))
        }
        DestinationGone => destination_removed_under_a_connection(),
        NoRoute => {
            let refuse = |plan: &mut Plan| {
                plan.network.routes4.insert("10.0.2.0/24".parse().unwrap(), Route::Refuse);
            };
            clients_send(with(nat(), refuse), [syn()])
        }
        NeighbourUnresolved => {
            let mut bed = with(nat(), |plan| plan.network.neighbours.clear()).build();
            bed.client_sends(&syn());
            later(bed, 4000)
        }
        NoHeadroom => limits::no_headroom_for_a_tunnel(),
        TunnelMtu => {
            let plan = Plan::new(Method::Tunnel(Tunnel::Ipip));
            clients_send(with(plan, |plan| plan.network.links[1].mtu = 80), [syn()])
        }
        TooBig => icmpv6_error_above_the_mtu(),
        TtlOfError => clients_send(nat(), [syn(), with_byte(needs_fragmentation(), 22, 1)]),
        HandOffFull => clients_send(Plan { workers: 2, ..nat() }, syns(40)),
        KernelRingFull => {
            let not_a_service = tcp(client(), at(vip().address, 81), "S");
            clients_send(Plan { kernel_ring: 1, ..nat() }, [not_a_service.clone(), not_a_service])
        }
        TransmitFull => limits::transmit_queue_full(),
    }
}

fn nat() -> Plan {
    Plan::new(Method::Nat)
}

fn udp_plan() -> Plan {
    Plan { protocol: protocol::UDP, ..nat() }
}

/// The plan with a change.
fn with(mut plan: Plan, change: impl FnOnce(&mut Plan)) -> Plan {
    change(&mut plan);
    plan
}

/// Counters of a worker after these frames from the clients' side.
fn clients_send(plan: Plan, frames: impl IntoIterator<Item = Vec<u8>>) -> Arc<WorkerStats> {
    let mut bed = plan.build();
    frames.into_iter().for_each(|frame| bed.client_sends(&frame));
    bed.stats
}

/// Counters of a bed's worker once the clock shows this many milliseconds.
fn later(mut bed: Bed, millis: u64) -> Arc<WorkerStats> {
    bed.at(millis).worker.poll_once();
    bed.reconciles();
    bed.stats
}

fn syn() -> Vec<u8> {
    tcp(client(), vip(), "S")
}

fn nth_client(n: u16) -> crate::flow::Endpoint {
    at(client().address, 5000 + n)
}

/// SYNs of this many clients.
fn syns(count: u16) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|n| tcp(nth_client(n), vip(), "S"))
}

/// A frame with one bit of a byte flipped; its checksums stay as they were.
fn flipped(mut frame: Vec<u8>, place: usize) -> Vec<u8> {
    frame[place] ^= 1;
    frame
}

/// "Fragmentation needed" about a reply of the service.
fn needs_fragmentation() -> Vec<u8> {
    error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4)
}

/// A datagram of 3000 bytes in four fragments.
fn datagram() -> Vec<Vec<u8>> {
    fragments(3000, 1000, 7)
}

/// A fragment with other flags and offset.
fn at_offset(fragment: &[u8], flags_and_offset: u16) -> Vec<u8> {
    let mut fragment = fragment.to_vec();
    fragment[20..22].copy_from_slice(&flags_and_offset.to_be_bytes());
    ipv4::fill_checksum(&mut fragment[14..]);
    fragment
}

/// A frame on a port that is bound to a namespace the worker does not have.
fn port_of_a_missing_namespace() -> Arc<WorkerStats> {
    let mut bed = nat().build();
    let bindings = [Binding { port: NamespaceId(1), vlans: vec![] }, Binding::default()];
    let bind = NamespaceCommand::Bind(bindings.into());
    assert!(bed.namespace_rings.commands.push((1, bind)).is_ok());
    bed.client_sends(&syn());
    bed.stats
}

/// A firewall mark catches an address that is not the machine's, so no ICMP error may have it as source.
fn refused_at_a_foreign_address() -> Arc<WorkerStats> {
    let plan = Plan { weight: 0, ..Plan::new(Method::Dr) };
    let mut snapshot =
        with_service(&plan, |service| service.key = ServiceKey::Fwmark { fwmark: 7, ipv6: false });
    Arc::make_mut(&mut snapshot.services).by_fwmark.insert((7, false), ServiceId(0));
    snapshot.fwmarks = [FwmarkRule { fwmark: 7, ..FwmarkRule::default() }].into();
    let network = Arc::make_mut(&mut snapshot.network);
    let mut table = RouteTable::default();
    table.routes4.insert("0.0.0.0/0".parse().unwrap(), Route::Local);
    network.tables.push(table);
    network.rules.push(Rule { ipv6: false, from: None, to: None, fwmark: Some(7), table: 0 });
    let mut bed = plan.bed_with(snapshot).unwrap();
    bed.client_sends(&tcp(client(), at(v4(203, 0, 113, 80), 80), "S"));
    bed.stats
}

fn ah_after_its_key_exchange() -> Arc<WorkerStats> {
    let plan = Plan { protocol: protocol::UDP, ..Plan::new(Method::Dr) };
    let plan = with(plan, |plan| plan.settings.like_linux_6_1 = true);
    let mut bed = families::bed(plan, 500, 1500);
    bed.client_sends(&frame6(protocol::UDP, &[1, 0xf4, 1, 0xf4, 0, 8, 0, 0]));
    bed.client_sends(&frame6(protocol::AH, &[59, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]));
    bed.stats
}

fn options_without_call_id() -> Arc<WorkerStats> {
    let snapshot = with_service(&udp_plan(), |service| {
        service.persistence = sticky(50).map(|persistence| Persistence { sip: true, ..persistence });
    });
    let mut bed = udp_plan().bed_with(snapshot).unwrap();
    bed.client_sends(&udp(client(), vip(), b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"));
    bed.stats
}

/// Each client is in a network of its own, so each needs a template.
fn more_persistent_clients_than_templates() -> Arc<WorkerStats> {
    let plan = Plan { sizes: Sizes { ipv4: 512, ipv6: 1, extra: 0 }, ..nat() };
    let snapshot = with_service(&plan, |service| service.persistence = sticky(50));
    let mut bed = plan.bed_with(snapshot).unwrap();
    (0..255).for_each(|net| bed.client_sends(&tcp(at(v4(198, 51, net, 1), 1000), vip(), "S")));
    bed.stats
}

/// A router reports the MTU of a tunnel path, and the client's packets need not be refused: they may be fragmented.
fn small_mtu_for_a_client_that_allows_fragments() -> Arc<WorkerStats> {
    let plan = Plan::new(Method::Tunnel(Tunnel::Ipip));
    let mut bed = with(plan, |plan| _ = plan.network.local.insert(v4(10, 0, 2, 1))).build();
    bed.client_sends(&with_byte(syn(), 20, 0));
    let outer = bed.inside.take().unwrap();
    bed.server_sends(&about_outer(&outer, 3, 4, 1400));
    bed.stats
}

fn destination_removed_under_a_connection() -> Arc<WorkerStats> {
    let mut bed = nat().build();
    bed.client_sends(&syn());
    let mut snapshot = nat().snapshot();
    Arc::make_mut(&mut snapshot.services).destinations[0].as_mut().unwrap().available = false;
    bed.worker.install(snapshot, &[]);
    bed.client_sends(&tcp(client(), vip(), "A"));
    bed.stats
}

fn icmpv6_error_above_the_mtu() -> Arc<WorkerStats> {
    let mut bed = families::bed(Plan::new(Method::Dr), 80, 1280);
    let (vip, client) = (families::vip6(80), families::client6());
    bed.client_sends(&tcp(client, vip, "S"));
    let reply = tcp_with(vip, client, "A", &[0; 1300]);
    let error = [&[1, 0, 0, 0, 0, 0, 0, 0], &reply[14..]].concat();
    bed.client_sends(&frame6(protocol::ICMPV6, &error));
    bed.stats
}

//! Every drop reason and every answer is provoked by a packet.

use std::collections::BTreeSet;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::bed::*;
use crate::config::Route;
use crate::conn::Sizes;
use crate::fragments::ReassemblyBuffer;
use crate::io::mem::{Frame, ManualClock};
use crate::io::{Batch, QueuePair};
use crate::pipeline::{RxContext, TxBuffers};
use crate::service::{Method, Tunnel};
use crate::time::Tick;
use crate::verdict::{DropReason, IcmpReason};
use crate::worker::{Port, Setup, Worker};

/// Provoked in the other files here.
const ELSEWHERE: [DropReason; 20] = [
    DropReason::OtherNamespace,
    DropReason::Untranslatable,
    DropReason::Unanswerable,
    DropReason::BadIpChecksum,
    DropReason::AhLikeLinux,
    DropReason::TooBig,
    DropReason::DatagramAnswered,
    DropReason::FragmentLength,
    DropReason::FragmentTooFar,
    DropReason::FragmentDuplicate,
    DropReason::FragmentOverlap,
    DropReason::FragmentEnd,
    DropReason::FragmentsTooMany,
    DropReason::FragmentsFull,
    DropReason::FragmentTimeout,
    DropReason::Defence,
    DropReason::NoDestination,
    DropReason::NoCallId,
    DropReason::TemplatesFull,
    DropReason::PmtuLearnt,
];

/// The reasons counted so far.
fn provoked(bed: &Bed) -> BTreeSet<DropReason> {
    DropReason::ALL.iter().copied().filter(|&why| bed.stats.counters.drops[why as usize].get() > 0).collect()
}

fn nat() -> Bed {
    Plan::new(Method::Nat).build()
}

/// A bed to which this happened.
fn after(mut bed: Bed, what: impl FnOnce(&mut Bed)) -> BTreeSet<DropReason> {
    what(&mut bed);
    bed.reconciles();
    provoked(&bed)
}

fn malformed() -> BTreeSet<DropReason> {
    let syn = || tcp(client(), vip(), "S");
    let mut icmp = error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4);
    icmp.truncate(14 + 20 + 8 + 22);
    icmp[16..18].copy_from_slice(&(20u16 + 8 + 22).to_be_bytes());
    let udp = Plan { protocol: crate::wire::protocol::UDP, ..Plan::new(Method::Nat) };
    let short_udp = with_byte(udp_frame(), 17, 24);
    let rows: Vec<Vec<u8>> = vec![
        syn()[..10].to_vec(),
        [&SERVER_SIDE[..], &syn()[6..]].concat(),
        syn()[..40].to_vec(),
        with_byte(syn(), 14, 0x65),
        with_byte(syn(), 17, 30),
        icmp,
    ];
    let mut all = after(nat(), |bed| rows.iter().for_each(|frame| bed.client_sends(frame)));
    let short_sctp = with_byte(with_byte(syn(), 23, crate::wire::protocol::SCTP), 17, 34);
    all.extend(after(nat(), |bed| bed.client_sends(&short_sctp)));
    all.extend(after(udp.build(), |bed| bed.client_sends(&short_udp)));
    all
}

fn udp_frame() -> Vec<u8> {
    udp(client(), vip(), b"data")
}

fn of_connections() -> BTreeSet<DropReason> {
    let mut all = after(nat(), |bed| {
        bed.client_sends(&tcp(client(), vip(), "S"));
        let mut error = error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4);
        error[36] ^= 1;
        bed.client_sends(&error);
        let tired = error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4);
        bed.client_sends(&with_byte(tired, 22, 1));
    });
    all.extend(after(
        Plan { sizes: Sizes { ipv4: 1, ipv6: 1, extra: 0 }, ..Plan::new(Method::Nat) }.build(),
        |bed| {
            for (port, flags) in [(1, "S"), (1, "A"), (2, "S")] {
                bed.client_sends(&tcp(at(client().address, 4000 + port), vip(), flags));
            }
        },
    ));
    all.extend(after(nat(), |bed| {
        bed.client_sends(&tcp(client(), vip(), "S"));
        let mut snapshot = Plan::new(Method::Nat).snapshot();
        let services = Arc::make_mut(&mut snapshot.services);
        services.destinations[0].as_mut().unwrap().available = false;
        bed.worker.install(snapshot, &[]);
        bed.client_sends(&tcp(client(), vip(), "A"));
    }));
    all
}

fn of_the_network() -> BTreeSet<DropReason> {
    let mut refused = Plan::new(Method::Nat);
    refused.network.routes4.insert("10.0.2.0/24".parse().unwrap(), Route::Refuse);
    let mut all = after(refused.build(), |bed| bed.client_sends(&tcp(client(), vip(), "S")));
    let mut narrow = Plan::new(Method::Tunnel(Tunnel::Ipip));
    narrow.network.links[1].mtu = 80;
    all.extend(after(narrow.build(), |bed| bed.client_sends(&tcp(client(), vip(), "S"))));
    let mut small = Plan::new(Method::Dr);
    small.network.links[1].mtu = 60;
    all.extend(after(small.build(), |bed| {
        bed.client_sends(&tcp(client(), vip(), "S"));
        let error = error_about(&tcp(vip(), client(), "A"), vip().address, 3, 4);
        bed.client_sends(&with_byte(error, 20, 0x40));
    }));
    let mut deaf = Plan::new(Method::Nat);
    deaf.network.neighbours.clear();
    all.extend(after(deaf.build(), |bed| {
        bed.client_sends(&tcp(client(), vip(), "S"));
        bed.at(4000).worker.poll_once();
    }));
    all
}

fn of_full_rings() -> BTreeSet<DropReason> {
    let kernel_bound = tcp(client(), at(vip().address, 81), "S");
    let mut all = after(Plan { kernel_ring: 1, ..Plan::new(Method::Nat) }.build(), |bed| {
        bed.client_sends(&kernel_bound);
        bed.client_sends(&kernel_bound);
    });
    all.extend(after(Plan { workers: 2, ..Plan::new(Method::Nat) }.build(), |bed| {
        for port in 0..40 {
            bed.client_sends(&tcp(at(client().address, 5000 + port), vip(), "S"));
        }
    }));
    all
}

/// A port that takes nothing, and a buffer without room in front: the worker's own ports have neither fault.
fn of_tight_places() -> BTreeSet<DropReason> {
    struct Stuck;
    impl QueuePair for Stuck {
        type Packet = Frame;
        fn receive(&mut self, batch: &mut Batch<Frame>) {
            batch.push(Frame::new(&tcp(client(), vip(), "S")));
        }
        fn transmit(&mut self, _: &mut Batch<Frame>) {}
    }
    let mut bed = Plan::new(Method::Tunnel(Tunnel::Ipip)).build();
    let mut out: TxBuffers<Frame> = TxBuffers::new(2, Arc::clone(&bed.kernel), Box::new([]));
    let mut frame = Frame::new(&tcp(client(), vip(), "S"));
    while crate::packet::Packet::push_front(&mut frame, 1) {}
    let room = crate::packet::Packet::bytes(&frame).len() - tcp(client(), vip(), "S").len();
    let shifted = [&tcp(client(), vip(), "S")[..], &vec![0; room][..]].concat();
    crate::packet::Packet::bytes_mut(&mut frame).copy_from_slice(&shifted);
    let mut batch = Batch::new();
    batch.push(frame);
    let rx = RxContext { port: 0, mac: CLIENT_SIDE, now: Tick(0), relayed: false };
    bed.worker.default_namespace.pipeline.run(&mut batch, &rx, &mut out);
    let mut all = provoked(&bed);
    all.extend(without_buffers());

    let plan = Plan::new(Method::Nat);
    let snapshot = plan.snapshot();
    let default_namespace = plan.namespace_parts().take_first();
    let stats = Arc::clone(&default_namespace.stats);
    let ports = vec![Port::new(0, CLIENT_SIDE, Stuck), Port::new(1, SERVER_SIDE, Stuck)];
    let mut worker = Worker::new(Setup::new(ports, default_namespace), ManualClock::default()).unwrap();
    worker.install(snapshot, &[]);
    worker.poll_once();
    if stats.counters.drops[DropReason::TransmitFull as usize].get() > 0 {
        all.insert(DropReason::TransmitFull);
    }
    all
}

/// A packet that must leave in pieces, of a kind that has no buffers for them.
fn without_buffers() -> BTreeSet<DropReason> {
    let mut plan = Plan::new(Method::Dr);
    plan.network.links[1].mtu = 600;
    let mut bed = plan.build();
    let mut out: TxBuffers<ReassemblyBuffer> = TxBuffers::new(2, Arc::new(ArrayQueue::new(1)), Box::new([]));
    let mut packet = ReassemblyBuffer::new();
    packet.copy(&with_byte(tcp_with(client(), vip(), "S", &[0; 1000]), 20, 0));
    let mut batch = Batch::new();
    batch.push(packet);
    let rx = RxContext { port: 0, mac: CLIENT_SIDE, now: Tick(0), relayed: false };
    bed.worker.default_namespace.pipeline.run(&mut batch, &rx, &mut out);
    provoked(&bed)
}

#[test]
fn every_drop_reason_is_provoked_by_a_packet() {
    let parts = [malformed(), of_connections(), of_the_network(), of_full_rings(), of_tight_places()];
    let all: BTreeSet<_> = parts.into_iter().flatten().chain(ELSEWHERE).collect();
    for why in DropReason::ALL {
        assert!(all.contains(why), "no packet provokes {why}");
    }
}

#[test]
fn every_answer_is_provoked_and_goes_back_to_its_sender() {
    let rows: [(IcmpReason, Plan, Vec<u8>, [u8; 2]); 3] = [
        (
            IcmpReason::NoDestination,
            Plan { weight: 0, ..Plan::new(Method::Nat) },
            tcp(client(), vip(), "S"),
            [3, 3],
        ),
        (
            IcmpReason::TtlExceeded,
            Plan::new(Method::Dr),
            with_byte(tcp(client(), vip(), "S"), 22, 1),
            [11, 0],
        ),
        (
            IcmpReason::FragmentationNeeded,
            {
                let mut plan = Plan::new(Method::Dr);
                plan.network.links[1].mtu = 39;
                plan
            },
            with_byte(tcp(client(), vip(), "S"), 20, 0x40),
            [3, 4],
        ),
    ];
    for (answer, plan, frame, kind) in rows {
        let mut bed = plan.build();
        bed.client_sends(&frame);
        let got = bed.outside.take().unwrap_or_else(|| panic!("{answer}: nothing came back"));
        assert_eq!((&got[..6], &got[30..34], &got[34..36]), (&ROUTER[..], &[192, 0, 2, 10][..], &kind[..]));
        assert_eq!(bed.stats.counters.icmp_sent[answer as usize].get(), 1, "{answer}");
    }
    let mut plan = Plan::new(Method::Nat);
    plan.settings.nat_icmp_send = true;
    let mut bed = plan.build();
    bed.server_sends(&tcp(server(), client(), "A"));
    assert_eq!(bed.inside.take().map(|got| got[34..36].to_vec()), Some(vec![3, 3]));
    assert_eq!(bed.stats.counters.icmp_sent[IcmpReason::NoConnection as usize].get(), 1);
}

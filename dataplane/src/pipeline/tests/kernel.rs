//! Fragments sent by this machine's kernel, and two workers that reassemble for each other.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::bed::*;
use super::datagrams::{error, fragments, joined};
use crate::io::mem::Frame;
use crate::packet::Packet;
use crate::parse::{Parsed, parse};
use crate::pipeline::egress::tx_buffers::{FROM_KERNEL, HandOffRing, RELAYED};
use crate::pipeline::{RxContext, TxBuffers};
use crate::service::Method;
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::wire::{ipv4, protocol};

/// A frame as this machine's kernel sends it by a port, addressed to its receiver.
fn of_kernel(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..12].copy_from_slice(&[&ROUTER[..], &CLIENT_SIDE[..]].concat());
    frame
}

fn tx_buffers(bed: &Bed, rings: usize) -> TxBuffers<Frame> {
    let rings: Box<[HandOffRing<Frame>]> = (0..rings).map(|_| Arc::new(ArrayQueue::new(64))).collect();
    TxBuffers::new(2, Arc::clone(&bed.kernel), rings)
}

fn sent(tx: &mut TxBuffers<Frame>) -> Vec<Vec<u8>> {
    tx.ports[0].drain(..).map(|packet| packet.bytes().to_vec()).collect()
}

/// A worker with a UDP connection to a destination on this machine.
fn with_server_here(method: Method) -> Bed {
    let mut plan = Plan { protocol: protocol::UDP, ..Plan::new(method) };
    plan.network.local.insert(server().address);
    let mut bed = plan.build();
    bed.client_sends(&udp(client(), vip(), b"query"));
    bed.kernel.pop().expect("the kernel delivers it");
    bed
}

#[test]
fn a_reply_that_the_kernel_fragments_is_translated_like_a_whole_one() {
    for (method, from) in [(Method::Nat, server()), (Method::Dr, vip())] {
        let mut bed = with_server_here(method);
        let mut tx = tx_buffers(&bed, 1);
        let reply = of_kernel(with_byte(udp(from, client(), &[3; 3000]), 20, 0));
        let mut datagram = reply.clone();
        datagram[19] = 9;
        ipv4::fill_checksum(&mut datagram[14..]);
        let pipeline = &mut bed.worker.default_namespace.pipeline;
        pipeline.from_kernel(0, Frame::new(&datagram), Tick(0), &mut tx);
        let expected = sent(&mut tx);
        let fragments = fragments(&reply, &[185, 370], 9);
        for fragment in &fragments[..2] {
            pipeline.from_kernel(0, Frame::new(fragment), Tick(0), &mut tx);
            assert_eq!((sent(&mut tx).len(), tx.reassembler.held() > 0), (0, true), "they wait");
        }
        pipeline.from_kernel(0, Frame::new(&fragments[2]), Tick(0), &mut tx);
        let got = sent(&mut tx);
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [1514, 1514, 82], "in the kernel's sizes");
        assert_eq!(joined(got), expected[0], "{method:?}");
        let counters = &bed.stats.destinations[0];
        assert_eq!((counters.out_packets.get(), counters.out_bytes.get()), (2, 2 * 3028));
    }
}

#[test]
fn an_icmp_error_that_the_kernel_fragments_is_translated() {
    let mut bed = with_server_here(Method::Nat);
    let mut tx = tx_buffers(&bed, 1);
    let asked = udp(client(), server(), &[3; 400]);
    let error = of_kernel(error(&asked, client(), true));
    let pipeline = &mut bed.worker.default_namespace.pipeline;
    pipeline.from_kernel(0, Frame::new(&error), Tick(0), &mut tx);
    let expected = sent(&mut tx);
    assert_ne!(expected[0], error);
    for fragment in fragments(&error, &[4, 30], 9) {
        pipeline.from_kernel(0, Frame::new(&fragment), Tick(0), &mut tx);
    }
    assert_eq!(joined(sent(&mut tx)), expected[0]);
}

#[test]
fn other_fragments_of_the_kernel_are_sent_unchanged() {
    let mut bed = with_server_here(Method::Nat);
    let mut tx = tx_buffers(&bed, 1);
    let other = of_kernel(with_byte(udp(at(server().address, 99), client(), &[3; 3000]), 20, 0));
    let strange = of_kernel(with_byte(udp(at(v4(10, 0, 1, 1), 99), client(), &[3; 3000]), 20, 0));
    for (frame, waits) in [(other, true), (strange, false)] {
        let fragments = fragments(&frame, &[185, 370], 9);
        for fragment in &fragments {
            bed.worker.default_namespace.pipeline.from_kernel(0, Frame::new(fragment), Tick(0), &mut tx);
            assert!(waits || tx.reassembler.held() == 0, "no connection could have sent it");
        }
        assert_eq!(sent(&mut tx), fragments);
    }
    assert_eq!(bed.stats.destinations[0].out_packets.get(), 0);
}

/// Fragments from outside, spoofed as a local server's, do not disturb its replies.
#[test]
fn fragments_from_outside_do_not_mix_with_the_kernels() {
    let mut bed = with_server_here(Method::Nat);
    let mut tx = tx_buffers(&bed, 1);
    let replies = fragments(&with_byte(udp(server(), client(), &[3; 3000]), 20, 0), &[185, 370], 9);
    let forged = fragments(&with_byte(udp(server(), client(), &[6; 3000]), 20, 0), &[100, 370], 9);
    let mut batch = crate::io::Batch::new();
    batch.extend(forged.iter().skip(1).map(|frame| Frame::new(frame)));
    let rx = RxContext { port: 1, now: Tick(0), relayed: false };
    bed.worker.default_namespace.pipeline.run(&mut batch, &rx, &mut tx);
    assert_eq!(tx.reassembler.held(), 2);
    for fragment in replies {
        bed.worker.default_namespace.pipeline.from_kernel(
            0,
            Frame::new(&of_kernel(fragment)),
            Tick(0),
            &mut tx,
        );
    }
    assert_eq!((sent(&mut tx).len(), tx.reassembler.held()), (3, 2));
}

/// Two workers: a datagram that the first reassembles goes to the flow's owner, which reassembles it again.
#[test]
fn fragments_of_errors_and_of_the_kernel_reach_the_owner() {
    let mut plan = Plan { protocol: protocol::UDP, workers: 2, ..Plan::new(Method::Nat) };
    plan.network.local.insert(server().address);
    let mut owner = plan.build();
    owner.worker.default_namespace.pipeline.worker_id = WorkerId(1);
    let ours = |port: u16| {
        let frame = udp(at(client().address, port), vip(), b"query");
        let mut parsed = Parsed::NOTHING;
        parse(&frame, &mut parsed).unwrap();
        let pipeline = &owner.worker.default_namespace.pipeline;
        pipeline.steering.owner(&parsed, 0, &pipeline.snapshot) == Some(WorkerId(1))
    };
    let client = at(client().address, (40000..).find(|port| ours(*port)).unwrap());
    owner.client_sends(&udp(client, vip(), b"query"));
    owner.kernel.pop().expect("the kernel delivers it");

    let mut plan = Plan { protocol: protocol::UDP, workers: 2, ..Plan::new(Method::Nat) };
    plan.network.local.insert(server().address);
    let mut first = plan.build();
    let (mut tx, mut owner_tx) = (tx_buffers(&first, 2), tx_buffers(&owner, 2));
    let reply = of_kernel(with_byte(udp(server(), client, &[3; 3000]), 20, 0));
    for fragment in fragments(&reply, &[185, 370], 9) {
        first.worker.default_namespace.pipeline.from_kernel(0, Frame::new(&fragment), Tick(0), &mut tx);
    }
    let mut count = 0;
    while let Some((port, packet)) = tx.hand_off[1].pop() {
        assert_eq!(port, FROM_KERNEL);
        owner.worker.default_namespace.pipeline.from_kernel(0, packet, Tick(0), &mut owner_tx);
        count += 1;
    }
    let got = joined(sent(&mut owner_tx));
    assert_eq!(
        (count, &got[26..30], owner.stats.destinations[0].out_packets.get()),
        (3, &[10, 9, 9, 1][..], 1)
    );

    let asked = with_byte(udp(vip(), client, &[3; 200]), 20, 0);
    let rx = |relayed| RxContext { port: 0, now: Tick(0), relayed };
    let mut batch = crate::io::Batch::new();
    // The first worker reassembles datagrams with the right identification.
    let id = (0..).find(|id| {
        let info = crate::fragments::FragmentInfo::read(
            &fragments(&error(&asked, vip(), false), &[3], *id)[0],
            14,
            false,
        );
        first.worker.default_namespace.pipeline.steering.datagram_owner(&info.unwrap().datagram)
            == WorkerId(0)
    });
    let fragments = fragments(&error(&asked, vip(), false), &[3, 8], id.unwrap());
    batch.extend(fragments.iter().map(|frame| Frame::new(frame)));
    first.worker.default_namespace.pipeline.run(&mut batch, &rx(false), &mut tx);
    while let Some((port, packet)) = tx.hand_off[1].pop() {
        assert_eq!(port, RELAYED);
        batch.push(packet);
        owner.worker.default_namespace.pipeline.run(&mut batch, &rx(true), &mut owner_tx);
    }
    assert_eq!(owner.kernel.len(), 3, "the destination is on this machine");
    assert_eq!(owner.stats.destinations[0].in_packets.get(), 2);
}

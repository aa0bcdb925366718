use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::io::mem::Frame;

mod model;

const SEED: Seed = Seed(11, 13);
const L3: u16 = 14;

/// A fragment of the datagram `id` between two hosts.
fn fragment(ipv6: bool, id: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xee; L3.into()];
    if ipv6 {
        let len = payload.len() as u16 + 8;
        frame.extend_from_slice(&[0x60, 0, 0, 0]);
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&[44, 64]);
        frame.extend_from_slice(&[[7; 16], [9; 16]].concat());
        frame.extend_from_slice(&[17, 0]);
        frame.extend_from_slice(&(offset | u16::from(more)).to_be_bytes());
        frame.extend_from_slice(&u32::from(id).to_be_bytes());
    } else {
        let len = payload.len() as u16 + 20;
        let field = offset / 8 + if more { 0x2000 } else { 0 };
        frame.extend_from_slice(&[0x45, 0]);
        for word in [len, id, field, 64 << 8 | 17, 0] {
            frame.extend_from_slice(&word.to_be_bytes());
        }
        frame.extend_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    }
    frame.extend_from_slice(payload);
    frame
}

fn take(
    reassembler: &mut Reassembler<Frame>,
    frame: &[u8],
    now: u64,
    gone: &mut Vec<DropReason>,
) -> Outcome<Frame> {
    let ipv6 = frame[usize::from(L3)] >> 4 == 6;
    let info = FragmentInfo::read(frame, L3, ipv6).expect("a fragment");
    reassembler.take(Frame::new(frame), &info, Tick(now), |_, why| gone.push(why))
}

/// Takes fragments of one datagram, as (offset, length, more). Returns the outcome of each, and why others were dropped.
fn outcomes(fragments: &[(u16, u16, bool)]) -> (Vec<String>, Vec<DropReason>) {
    let mut reassembler = Reassembler::new(Limits::default(), SEED);
    let mut gone = Vec::new();
    let outcomes = fragments.iter().map(|&(offset, len, more)| {
        let frame = fragment(false, 1, offset, more, &vec![offset as u8; len.into()]);
        match take(&mut reassembler, &frame, 0, &mut gone) {
            Outcome::Held => "held".to_owned(),
            Outcome::Complete(datagram) => format!("complete {}", datagram.len),
            Outcome::Refused(_, why) => why.to_string(),
        }
    });
    (outcomes.collect(), gone)
}

#[test]
fn contradicting_fragments_drop_their_datagram() {
    type Row<'a> = (&'a str, &'a [(u16, u16, bool)], &'a [&'a str], usize);
    let rows: [Row; 12] = [
        ("in order", &[(0, 8, true), (8, 3, false)], &["held", "complete 11"], 0),
        ("the last one first", &[(8, 3, false), (0, 8, true)], &["held", "complete 11"], 0),
        (
            "twice the same",
            &[(0, 8, true), (0, 8, true), (8, 1, false)],
            &["held", "fragment-duplicate", "complete 9"],
            0,
        ),
        ("another start", &[(0, 16, true), (8, 16, true)], &["held", "fragment-overlap"], 1),
        ("another end", &[(8, 16, true), (0, 16, true)], &["held", "fragment-overlap"], 1),
        ("the same start", &[(8, 16, true), (8, 8, true)], &["held", "fragment-overlap"], 1),
        ("inside", &[(0, 32, true), (8, 8, true)], &["held", "fragment-overlap"], 1),
        ("two ends", &[(8, 3, false), (16, 3, false)], &["held", "fragment-end"], 1),
        ("beyond the end", &[(8, 3, false), (16, 8, true)], &["held", "fragment-end"], 1),
        ("an end too early", &[(16, 8, true), (8, 8, false)], &["held", "fragment-end"], 1),
        ("no multiple of eight", &[(8, 3, false), (0, 7, true)], &["held", "fragment-length"], 0),
        ("nothing", &[(0, 0, true), (8, 0, false)], &["fragment-length", "fragment-length"], 0),
    ];
    for (what, fragments, want, dead) in rows {
        let (outcomes, gone) = outcomes(fragments);
        assert_eq!(
            (outcomes.iter().map(String::as_str).collect::<Vec<_>>(), gone.len()),
            (want.to_vec(), dead),
            "{what}"
        );
    }
}

#[test]
fn a_datagram_longer_than_any_packet_is_refused() {
    let longest = 65535 - 20;
    let (outcomes, _) = outcomes(&[(65504, longest - 65504, false), (65504, longest - 65504 + 1, false)]);
    assert_eq!(outcomes, ["held", "fragment-too-far"]);
    let mut reassembler = Reassembler::new(Limits::default(), SEED);
    for (len, held) in [(65535 - 65528, true), (65536 - 65528, false)] {
        let frame = fragment(true, 1, 65528, false, &vec![0; len]);
        assert_eq!(matches!(take(&mut reassembler, &frame, 0, &mut Vec::new()), Outcome::Held), held);
    }
}

#[test]
fn one_fragment_too_many_drops_the_datagram() {
    let fragments: Vec<_> = (0..65).map(|n| (n * 8, 8, true)).collect();
    let (outcomes, gone) = outcomes(&fragments);
    assert_eq!((outcomes[63].as_str(), outcomes[64].as_str()), ("held", "fragments-too-many"));
    assert_eq!(gone, [DropReason::FragmentsTooMany; 64]);
}

#[test]
fn a_fragment_that_is_first_and_last_is_complete_at_once() {
    let mut reassembler = Reassembler::new(Limits::default(), SEED);
    assert!(matches!(
        take(&mut reassembler, &fragment(true, 5, 0, true, &[1; 8]), 0, &mut Vec::new()),
        Outcome::Held
    ));
    let atomic = fragment(true, 5, 0, false, b"all");
    let Outcome::Complete(datagram) = take(&mut reassembler, &atomic, 0, &mut Vec::new()) else {
        panic!("RFC 6946")
    };
    assert_eq!((datagram.len, datagram.protocol, datagram.largest(), reassembler.held()), (3, 17, 51, 1));
}

#[test]
fn incomplete_datagrams_are_held_until_their_timeout() {
    for (ipv6, timeout) in [(false, 30_000), (true, 60_000)] {
        let mut reassembler = Reassembler::new(Limits::default(), SEED);
        let mut gone = Vec::new();
        take(&mut reassembler, &fragment(ipv6, 1, 0, true, &[1; 8]), 1000, &mut gone);
        take(&mut reassembler, &fragment(ipv6, 1, 16, true, &[1; 8]), 20_000, &mut gone);
        let mut expired = 0;
        reassembler.expire(Tick(999 + timeout), |_| expired += 1);
        assert_eq!((expired, reassembler.held()), (0, 2));
        // A late fragment does not find them any more and is held alone.
        take(&mut reassembler, &fragment(ipv6, 1, 8, true, &[1; 8]), 1000 + timeout, &mut gone);
        assert_eq!((gone, reassembler.held()), (vec![DropReason::FragmentTimeout; 2], 1));
    }
}

#[test]
fn the_oldest_datagram_makes_room_but_never_for_itself() {
    let limits = Limits { datagrams: 2, fragments: 3, bytes: 1000 };
    let mut reassembler = Reassembler::new(limits, SEED);
    let mut gone = Vec::new();
    for (now, id, offset) in [(1, 1, 0), (2, 2, 0), (3, 1, 16)] {
        assert!(matches!(
            take(&mut reassembler, &fragment(false, id, offset, true, &[0; 8]), now, &mut gone),
            Outcome::Held
        ));
    }
    let last = fragment(false, 1, 8, true, &[0; 8]);
    assert!(
        matches!(take(&mut reassembler, &last, 4, &mut gone), Outcome::Held),
        "the second datagram is dropped"
    );
    assert_eq!((gone.len(), reassembler.held()), (1, 3));
    let more = fragment(false, 1, 24, true, &[0; 8]);
    let Outcome::Refused(_, why) = take(&mut reassembler, &more, 5, &mut gone) else {
        panic!("nothing is left to drop")
    };
    assert_eq!(
        (why, gone.len(), reassembler.held(), reassembler.held_bytes()),
        (DropReason::FragmentsFull, 4, 0, 0)
    );
    let huge = fragment(false, 9, 0, true, &[0; 1600]);
    assert!(matches!(
        take(&mut reassembler, &huge, 6, &mut gone),
        Outcome::Refused(_, DropReason::FragmentsFull)
    ));
}

#[test]
fn reassembly_does_not_allocate() {
    let mut reassembler = Reassembler::new(Limits { datagrams: 8, fragments: 64, bytes: 1 << 16 }, SEED);
    for round in 0..300_u16 {
        let frames = [(16, true), (8, true), (0, round % 3 == 0), (24, false)]
            .map(|(offset, more)| fragment(round % 2 == 0, round, offset, more, &[1; 8]));
        let infos = frames.each_ref().map(|frame| FragmentInfo::read(frame, L3, round % 2 == 0).unwrap());
        let packets = frames.each_ref().map(|frame| Frame::new(frame));
        let allocated = allocation_counter::measure(|| {
            for (packet, info) in packets.into_iter().zip(&infos) {
                drop(reassembler.take(packet, info, Tick(round.into()), |_, _| {}));
            }
        });
        assert_eq!(allocated.count_total, 0, "round {round}");
    }
}

#[test]
fn bytes_are_read_and_written_across_fragments() {
    let mut reassembler = Reassembler::new(Limits::default(), SEED);
    let payload: Vec<u8> = (0..27).collect();
    let mut datagram = None;
    for (offset, len, more) in [(16, 11, false), (0, 8, true), (8, 8, true)] {
        let frame = fragment(false, 1, offset as u16, more, &payload[offset..offset + len]);
        if let Outcome::Complete(all) = take(&mut reassembler, &frame, 0, &mut Vec::new()) {
            datagram = Some(all);
        }
    }
    let mut datagram = datagram.expect("no fragment is missing");
    for at in 0..=27 {
        for len in 0..=27 {
            let mut into = vec![0; len];
            assert_eq!(datagram.read(at, &mut into), at + len <= 27 || len == 0);
            if at + len <= 27 {
                assert_eq!(into, payload[at..at + len]);
                let ones = vec![0xff; len];
                assert!(
                    datagram.write(at, &ones)
                        && datagram.payload().flatten().filter(|b| **b == 0xff).count() == len
                );
                assert!(datagram.write(at, &into));
            }
        }
    }
    assert!(!datagram.write(20, &[0; 8]));
    assert_eq!(datagram.transport(), Some((17, 0)));
    datagram.protocol = 60;
    assert!(datagram.write(0, &[43, 0]) && datagram.write(8, &[6, 0]));
    assert_eq!(datagram.transport(), Some((6, 16)));
    assert!(datagram.write(8, &[60, 9]));
    assert_eq!(datagram.transport(), None);
}

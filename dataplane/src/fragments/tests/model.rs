//! Laws, and a simple reassembler to compare with.

use super::*;

/// A fragment of a made-up datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    ipv6: bool,
    id: u16,
    offset: u16,
    len: u16,
    more: bool,
}

fn any_part() -> impl Strategy<Value = Part> {
    (any::<bool>(), 0..3_u16, 0..6_u16, 1..4_u16, 0..8_u8).prop_map(|(ipv6, id, offset, len, odd)| {
        let more = odd < 6;
        Part { ipv6, id, offset: offset * 8, len: len * 8 - u16::from(!more) * u16::from(odd), more }
    })
}

impl Part {
    fn end(&self) -> u16 {
        self.offset + self.len
    }

    fn frame(&self) -> Vec<u8> {
        fragment(self.ipv6, self.id, self.offset, self.more, &vec![self.offset as u8; self.len.into()])
    }
}

/// Incomplete datagrams as unordered lists.
#[derive(Default)]
struct Model(HashMap<(bool, u16), (u64, Vec<Part>)>);

impl Model {
    /// The outcome of a fragment, and how many others are dropped.
    fn take(&mut self, new: Part, now: u64) -> (Result<Option<Vec<Part>>, DropReason>, usize) {
        let mut dead = 0;
        self.0.retain(|(ipv6, _), (begun, parts)| {
            let keep = now - *begun < if *ipv6 { 60_000 } else { 30_000 };
            dead += if keep { 0 } else { parts.len() };
            keep
        });
        if new.offset == 0 && !new.more {
            return (Ok(Some(vec![new])), dead);
        }
        let key = (new.ipv6, new.id);
        let (_, parts) = self.0.entry(key).or_insert((now, Vec::new()));
        if parts.contains(&new) {
            return (Err(DropReason::FragmentDuplicate), dead);
        }
        let total = parts.iter().find(|part| !part.more).map(Part::end);
        let too_early = !new.more && (total.is_some() || parts.iter().any(|part| part.offset >= new.offset));
        let why = if too_early || total.is_some_and(|total| new.end() > total) {
            Some(DropReason::FragmentEnd)
        } else if parts.iter().any(|part| part.offset < new.end() && new.offset < part.end()) {
            Some(DropReason::FragmentOverlap)
        } else {
            None
        };
        if let Some(why) = why {
            dead += parts.len();
            self.0.remove(&key);
            return (Err(why), dead);
        }
        parts.push(new);
        let total = parts.iter().find(|part| !part.more).map(Part::end);
        if total != Some(parts.iter().map(|part| part.len).sum()) {
            return (Ok(None), dead);
        }
        let mut parts = self.0.remove(&key).expect("just found").1;
        parts.sort_by_key(|part| part.offset);
        (Ok(Some(parts)), dead)
    }

    fn held(&self) -> usize {
        self.0.values().map(|(_, parts)| parts.len()).sum()
    }
}

fn parts_of(datagram: &Datagram<Frame>) -> Vec<(u16, u16)> {
    datagram.fragments.iter().map(|fragment| (fragment.position.offset, fragment.position.len)).collect()
}

/// The fragments of a datagram: offset, "more fragments", payload.
fn cut_anywhere() -> impl Strategy<Value = Vec<(u16, bool, Vec<u8>)>> {
    let cuts = prop::collection::btree_set(1..100_usize, 1..MAX_FRAGMENTS);
    (prop::collection::vec(any::<u8>(), 801..900), cuts).prop_map(|(payload, cuts)| {
        let ends: Vec<_> = cuts.into_iter().map(|cut| cut * 8).chain([payload.len()]).collect();
        let starts = [0].into_iter().chain(ends.iter().copied());
        starts
            .zip(&ends)
            .map(|(start, end)| (start as u16, *end < payload.len(), payload[start..*end].to_vec()))
            .collect()
    })
}

proptest! {
    #[test]
    fn a_datagram_is_reassembled_once_from_any_order(
        (parts, order) in cut_anywhere().prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle())), ipv6 in any::<bool>(),
    ) {
        let mut reassembler = Reassembler::new(Limits::default(), SEED);
        for (n, (offset, more, payload)) in order.iter().enumerate() {
            // Fragments of another family with the same identification come between.
            let other = fragment(!ipv6, 1, *offset, *more, payload);
            let last = n + 1 == order.len();
            prop_assert!(matches!(take(&mut reassembler, &other, 0, &mut Vec::new()), Outcome::Held) != last);
            let outcome = take(&mut reassembler, &fragment(ipv6, 1, *offset, *more, payload), 0, &mut Vec::new());
            match outcome {
                Outcome::Held => prop_assert!(!last),
                Outcome::Complete(datagram) => {
                    let want: Vec<u8> = parts.iter().flat_map(|part| part.2.clone()).collect();
                    prop_assert!(last && datagram.payload().flatten().eq(&want) && usize::from(datagram.len) == want.len());
                    prop_assert_eq!(datagram.fragments.len(), parts.len());
                }
                Outcome::Refused(_, why) => prop_assert!(false, "{}", why),
            }
        }
        prop_assert_eq!((reassembler.held(), reassembler.held_bytes()), (0, 0));
    }

    #[test]
    fn the_reassembler_agrees_with_the_model(events in prop::collection::vec((any_part(), 0..8000_u64), 1..200)) {
        let (mut reassembler, mut model, mut now) = (Reassembler::new(Limits::default(), SEED), Model::default(), 0);
        for (part, pause) in events {
            now += pause;
            let mut gone = Vec::new();
            let (want, dead) = model.take(part, now);
            match (take(&mut reassembler, &part.frame(), now, &mut gone), want) {
                (Outcome::Held, Ok(None)) => {}
                (Outcome::Complete(datagram), Ok(Some(parts))) => {
                    let want: Vec<_> = parts.iter().map(|part| (part.offset, part.len)).collect();
                    prop_assert_eq!(parts_of(&datagram), want);
                }
                (Outcome::Refused(_, why), Err(want)) => prop_assert_eq!(why, want),
                (got, want) => prop_assert!(false, "{:?} instead of {:?}", got, want),
            }
            prop_assert_eq!((gone.len(), reassembler.held()), (dead, model.held()));
        }
    }

    #[test]
    fn a_flood_keeps_to_the_limits_and_loses_no_packet(
        events in prop::collection::vec((any_part(), 0..200_u16, 0..400_u64), 1..400), datagrams in 0..6_u16, fragments in 0..9_u16, bytes in 0..700_usize,
    ) {
        let mut reassembler = Reassembler::new(Limits { datagrams, fragments, bytes }, SEED);
        let (mut now, mut count, mut left) = (0, 0, 0);
        for (mut part, id, pause) in events {
            part.id = id % 20;
            now += pause;
            count += 1;
            let mut gone = Vec::new();
            left += match take(&mut reassembler, &part.frame(), now, &mut gone) {
                Outcome::Held => 0,
                Outcome::Complete(datagram) => datagram.fragments.len(),
                Outcome::Refused(..) => 1,
            };
            left += gone.len();
            prop_assert!(reassembler.held() <= fragments.into() && reassembler.held_bytes() <= bytes);
            prop_assert_eq!(left + reassembler.held(), count);
        }
        reassembler.expire(Tick(now + 60_000), |_| left += 1);
        prop_assert_eq!((left, reassembler.held(), reassembler.held_bytes()), (count, 0, 0));
    }

    #[test]
    fn the_position_of_a_fragment_is_inside_its_frame(
        mut frame in prop::collection::vec(any::<u8>(), 0..120), version in 4..7_u8, l3 in 0..30_u16, len in 0..100_u8, next in prop::sample::select(vec![0, 17, 43, 44, 60]),
    ) {
        let at = usize::from(l3);
        let (ipv6, len_at) = (version == 6, if version == 6 { 4 } else { 2 });
        if frame.len() > at + 7 {
            frame[at] = version << 4 | 5;
            frame[at + len_at] = 0;
            frame[at + len_at + 1] = len;
            if ipv6 {
                frame[at + 6] = next;
            }
        }
        if let Some(info) = FragmentInfo::read(&frame, l3, ipv6) {
            let position = info.position;
            prop_assert_eq!(position.slice(&frame).len(), usize::from(position.len));
            prop_assert!(position.l3 < position.payload && usize::from(position.l3 + position.packet_len()) <= frame.len());
        }
    }
}

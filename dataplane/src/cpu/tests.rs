//! Both kinds of processor compute the same.

use proptest::prelude::*;
use zerocopy::FromBytes;

use super::*;

thread_local! {
    static WITHOUT_AVX2: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// True if this thread acts as on a processor that is not [`Avx2`].
pub(super) fn lacks_avx2() -> bool {
    WITHOUT_AVX2.get()
}

/// Calls `act` as on a processor that is not [`Avx2`].
pub(crate) fn without_avx2<T>(act: impl FnOnce() -> T) -> T {
    WITHOUT_AVX2.set(true);
    let result = act();
    WITHOUT_AVX2.set(false);
    result
}

const MAC: MacBytes = [2, 0x70, 0x63, 0x61, 0x70, 1];

/// A plain frame with `changes`, each a position and a value.
fn frame(changes: &[(usize, u8)], fill: [u8; 38]) -> [u8; 38] {
    let mut frame = fill;
    frame[..6].copy_from_slice(&MAC);
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    (frame[20], frame[21]) = (frame[20] & 0xc0, 0);
    changes.iter().for_each(|&(at, value)| frame[at % 38] = value);
    frame
}

proptest! {
    #[test]
    fn both_processors_agree_on_frames_and_keys(
        fill: [u8; 38],
        changes in proptest::collection::vec((0usize..38, any::<u8>()), 0..2),
        ends: Ends,
        tags: [u16; 8],
    ) {
        let Some(avx2) = Avx2::found() else { return Ok(()) };
        let frame = frame(&changes, fill);
        let head = Head4::ref_from_bytes(&frame).unwrap();
        prop_assert_eq!(avx2.is_plain(head, avx2.start(&MAC)), Generic.is_plain(head, Generic.start(&MAC)));
        let key = Generic.key(head);
        prop_assert_eq!(avx2.key(head), key);
        let mut same: Ends = zerocopy::transmute!(key);
        for at in [7, 14, 15] {
            same[at] = ends[at];
        }
        prop_assert!(avx2.are_ends(&same, &key) && Generic.are_ends(&same, &key));
        for ends in [ends, { same[usize::from(ends[0] % 16)] ^= 1 << (ends[1] % 8); same }] {
            prop_assert_eq!(avx2.are_ends(&ends, &key), Generic.are_ends(&ends, &key));
        }
        let want = tags[usize::from(fill[0] % 8)];
        prop_assert_eq!(avx2.equal_lanes(&tags, want), Generic.equal_lanes(&tags, want));
    }

    #[test]
    fn both_processors_compute_the_same_hash(seed: [u64; 2], words: [u128; 2], rest: u32, protocol: u8) {
        let seed = Seed(seed[0], seed[1]);
        let key4 = Key4::new(words[0] as u32, words[1] as u32, Ports(rest), protocol);
        let key6 = Key6::new(words[0], words[1], Ports(rest), protocol);
        prop_assert_eq!(Generic.hash4(&seed, &key4), seed.hash(&crate::flow::Key::V4(key4)));
        prop_assert_eq!(Generic.hash6(&seed, &key6), seed.hash(&crate::flow::Key::V6(key6)));
        if let Some(avx2) = Avx2::found() {
            prop_assert_eq!(avx2.hash4(&seed, &key4), Generic.hash4(&seed, &key4));
            prop_assert_eq!(avx2.hash6(&seed, &key6), Generic.hash6(&seed, &key6));
        }
    }
}

/// Changing one bit of a key changes about half of the bits of its hash, with either hash function.
#[test]
fn every_bit_of_a_key_affects_every_bit_of_its_hash() {
    let seed = Seed(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211);
    let key = |n: u128| Key4::new(n as u32, (n >> 32) as u32, Ports((n >> 64) as u32), (n >> 96) as u8);
    for hash in [hash4, |seed: &Seed, key: &Key4| seed.multiply4(key)] {
        for bit in 0..104 {
            let flips = (0..256u128).map(|n| {
                let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                (hash(&seed, &key(n)) ^ hash(&seed, &key(n ^ 1 << bit))).count_ones()
            });
            let flipped: u32 = flips.sum();
            assert!((28 * 256..36 * 256).contains(&flipped), "bit {bit}: {} a key", flipped / 256);
        }
    }
}

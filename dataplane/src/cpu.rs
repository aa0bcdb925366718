//! What processors of the last ten years do in one instruction and others in many: vectors of bytes, and rounds of AES.
//!
//! The packets' way is compiled once for each [`Cpu`]. A [`Modern`] can only be had where the processor is one, so what it
//! does is safe to call.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

use zerocopy::IntoBytes;
use zerocopy::network_endian::U128;

use crate::flow::{Key4, Key6, Ports, Seed};
use crate::wire::ether::{self, MacBytes};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::plain::Head;

/// The start of a plain frame of IPv4.
pub type Head4 = Head<Ipv4Hdr>;

/// The same of IPv6.
pub type Head6 = Head<Ipv6Hdr>;

/// Two of the three ends that a connection remembers, as [`Key4`] has them and with more between.
pub type Ends = [u8; 16];

/// The bytes of [`Ends`] that are a key's.
const KEY: Ends = [!0, !0, !0, !0, !0, !0, !0, 0, !0, !0, !0, !0, !0, !0, 0, 0];

/// A kind of processor.
pub trait Cpu: Copy {
    /// What [`Cpu::is_plain`] compares with, made ready.
    type Start: Copy;

    /// The start of plain frames for the hardware address `mac`.
    fn start(self, mac: &MacBytes) -> Self::Start;

    /// Whether a frame is for us, untagged, IPv4, without options and in one piece.
    fn is_plain(self, head: &Head4, start: Self::Start) -> bool;

    /// The same of IPv6, extension headers aside.
    fn is_plain6(self, head: &Head6, start: Self::Start) -> bool;

    /// The flow that a plain frame of IPv4 belongs to.
    fn key(self, head: &Head4) -> Key4;

    /// The hash of a key; [`Seed::hash`] gives the same.
    fn hash4(self, seed: &Seed, key: &Key4) -> u64;

    /// The same of IPv6.
    fn hash6(self, seed: &Seed, key: &Key6) -> u64;

    /// Whether these are the ends of a key.
    fn are_ends(self, ends: &Ends, key: &Key4) -> bool;

    /// Whether these are the addresses of a key.
    fn are_addresses(self, these: &[u8; 32], addresses: &[U128; 2]) -> bool;

    /// Two equal bits for every lane that equals `want`, the first lane's lowest.
    fn equal_lanes(self, lanes: &[u16; 8], want: u16) -> u32;
}

/// Any processor.
#[derive(Clone, Copy, Debug)]
pub struct Any;

impl Cpu for Any {
    type Start = MacBytes;

    #[inline(always)]
    fn start(self, mac: &MacBytes) -> MacBytes {
        *mac
    }

    #[inline(always)]
    fn is_plain(self, head: &Head4, mac: MacBytes) -> bool {
        let ip = &head.ip;
        head.ether[..mac.len()] == mac
            && head.kind.get() == ether::IPV4
            && ip.version_ihl == 0x45
            && !ip.is_fragment()
    }

    #[inline(always)]
    fn is_plain6(self, head: &Head6, mac: MacBytes) -> bool {
        let kind = head.kind.get() == ether::IPV6;
        head.ether[..mac.len()] == mac && kind && head.ip.version_class_flow.get() >> 28 == 6
    }

    #[inline(always)]
    fn key(self, head: &Head4) -> Key4 {
        let (ip, [src, dst]) = (&head.ip, head.l4_ports);
        Key4::new(ip.src.get(), ip.dst.get(), Ports::new(src.get(), dst.get()), ip.protocol)
    }

    #[inline(always)]
    fn hash4(self, seed: &Seed, key: &Key4) -> u64 {
        hash4(seed, key)
    }

    #[inline(always)]
    fn hash6(self, seed: &Seed, key: &Key6) -> u64 {
        hash6(seed, key)
    }

    #[inline(always)]
    fn are_ends(self, ends: &Ends, key: &Key4) -> bool {
        let key: Ends = zerocopy::transmute!(*key);
        (u128::from_ne_bytes(*ends) ^ u128::from_ne_bytes(key)) & u128::from_ne_bytes(KEY) == 0
    }

    #[inline(always)]
    fn are_addresses(self, these: &[u8; 32], addresses: &[U128; 2]) -> bool {
        these == addresses.as_bytes()
    }

    #[inline(always)]
    fn equal_lanes(self, lanes: &[u16; 8], want: u16) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: SSE2 is part of every x86-64 processor.
            unsafe { modern::equal_lanes_by_sse2(lanes, want) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let equal = |(lane, &value)| (3 * u32::from(value == want)) << (2 * lane);
            lanes.iter().enumerate().map(equal).sum()
        }
    }
}

/// The hash of a key, by what this processor hashes with.
pub fn hash4(seed: &Seed, key: &Key4) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Modern::found() {
        return cpu.hash4(seed, key);
    }
    seed.multiply4(key)
}

/// The same of IPv6.
pub fn hash6(seed: &Seed, key: &Key6) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Modern::found() {
        return cpu.hash6(seed, key);
    }
    seed.multiply6(key)
}

#[cfg(target_arch = "x86_64")]
pub use modern::Modern;

#[cfg(target_arch = "x86_64")]
mod modern {
    use std::arch::is_x86_feature_detected as has;
    use std::arch::x86_64::*;
    use std::sync::LazyLock;

    use zerocopy::transmute;

    use super::*;

    /// A processor of x86-64 with AVX2, AES, BMI and MOVBE.
    #[derive(Clone, Copy, Debug)]
    pub struct Modern(());

    impl Modern {
        /// This processor, if it is one.
        #[inline]
        pub fn found() -> Option<Modern> {
            #[cfg(test)]
            if super::tests::is_old() {
                return None;
            }
            FOUND.then_some(Modern(()))
        }
    }

    /// Looked up once.
    static FOUND: LazyLock<bool> =
        LazyLock::new(|| has!("avx2") && has!("aes") && has!("bmi1") && has!("bmi2") && has!("movbe"));

    /// What of a frame's first bytes is the same in all plain frames of IPv4 for one address: receiver, EtherType, version
    /// and header length, and that it is no fragment.
    const FIXED: [u8; 32] = {
        let mut mask = [0; 32];
        mask.split_at_mut(6).0.copy_from_slice(&[!0; 6]);
        (mask[12], mask[13], mask[14], mask[20], mask[21]) = (!0, !0, !0, 0x3f, !0);
        mask
    };

    /// The same of IPv6: receiver, EtherType and version.
    const FIXED6: Ends = {
        let mut mask = [0; 16];
        mask.split_at_mut(6).0.copy_from_slice(&[!0; 6]);
        (mask[12], mask[13], mask[14]) = (!0, !0, 0xf0);
        mask
    };

    /// A bit for each byte of [`KEY`] that is a key's.
    const KEY_BITS: i32 = {
        let (mut bits, mut at) = (0, 0);
        while at < KEY.len() {
            bits |= (KEY[at] as i32 & 1) << at;
            at += 1;
        }
        bits
    };

    /// Where the bytes of a key are in the sixteen that end with the ports.
    const KEY_FROM: Ends = [8, 9, 10, 11, 14, 15, 1, 0x80, 4, 5, 6, 7, 12, 13, 0x80, 0x80];

    /// Where those sixteen begin in a frame: at the TTL.
    const TTL: usize = ether::LEN + 8;

    // SAFETY of every call below: there is a `Modern` only where the processor has what they need.
    impl Cpu for Modern {
        /// Of IPv4 and IPv6.
        type Start = (__m256i, __m128i);

        #[inline(always)]
        fn start(self, mac: &MacBytes) -> Self::Start {
            let &[a, b, c, d, e, f] = mac;
            let first = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
            let second = |kind: u16, version| {
                let [high, low] = kind.to_be_bytes();
                u64::from_le_bytes([0, 0, 0, 0, high, low, version, 0])
            };
            let (second4, second6) = (second(ether::IPV4, 0x45), second(ether::IPV6, 0x60));
            // SAFETY: see above.
            unsafe { of_words([first, second4], [first, second6]) }
        }

        #[inline(always)]
        fn is_plain(self, head: &Head4, (start, _): Self::Start) -> bool {
            let Some(bytes) = head.as_bytes().first_chunk() else { return false };
            // SAFETY: see above.
            unsafe { agree(bytes, start, &FIXED) }
        }

        #[inline(always)]
        fn is_plain6(self, head: &Head6, (_, start): Self::Start) -> bool {
            let Some(bytes) = head.as_bytes().first_chunk() else { return false };
            // SAFETY: see above.
            unsafe { agree6(bytes, start, &FIXED6) }
        }

        #[inline(always)]
        fn key(self, head: &Head4) -> Key4 {
            let Some(bytes) = head.as_bytes()[TTL..].first_chunk() else { return Key4::NONE };
            // SAFETY: see above.
            zerocopy::transmute!(unsafe { shuffle(bytes, &KEY_FROM) })
        }

        #[inline(always)]
        fn hash4(self, seed: &Seed, key: &Key4) -> u64 {
            // SAFETY: see above.
            unsafe { rounds(seed, zerocopy::transmute_ref!(key)) }
        }

        #[inline(always)]
        fn hash6(self, seed: &Seed, key: &Key6) -> u64 {
            // SAFETY: see above.
            unsafe { rounds6(seed, key) }
        }

        #[inline(always)]
        fn are_ends(self, ends: &Ends, key: &Key4) -> bool {
            // SAFETY: see above.
            unsafe { agree_in_key(ends, zerocopy::transmute_ref!(key)) }
        }

        #[inline(always)]
        fn are_addresses(self, these: &[u8; 32], addresses: &[U128; 2]) -> bool {
            // SAFETY: see above.
            unsafe { equal(these, zerocopy::transmute_ref!(addresses)) }
        }

        #[inline(always)]
        fn equal_lanes(self, lanes: &[u16; 8], want: u16) -> u32 {
            // SAFETY: see above.
            unsafe { equal_lanes(lanes, want) }
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_words(four: [u64; 2], six: [u64; 2]) -> (__m256i, __m128i) {
        let [a, b] = four.map(u64::cast_signed);
        let [c, d] = six.map(u64::cast_signed);
        (_mm256_set_epi64x(0, 0, b, a), _mm_set_epi64x(d, c))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn equal(these: &[u8; 32], others: &[u8; 32]) -> bool {
        let (these, others): (__m256i, __m256i) = (transmute!(*these), transmute!(*others));
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(these, others)) == -1
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn agree6(bytes: &Ends, want: __m128i, mask: &Ends) -> bool {
        // SAFETY: the load reads the 16 bytes and needs no alignment.
        let bytes = unsafe { _mm_lddqu_si128(bytes.as_ptr().cast()) };
        _mm_testz_si128(_mm_xor_si128(bytes, want), transmute!(*mask)) != 0
    }

    /// Whether these bytes are the wanted ones where the mask has bits.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn agree(bytes: &[u8; 32], want: __m256i, mask: &[u8; 32]) -> bool {
        // An ordinary load would be taken apart for the fields that are read later.
        // SAFETY: the load reads the 32 bytes and needs no alignment.
        let bytes = unsafe { _mm256_lddqu_si256(bytes.as_ptr().cast()) };
        _mm256_testz_si256(_mm256_xor_si256(bytes, want), transmute!(*mask)) != 0
    }

    /// Whether the ends that a connection remembers are those of a key.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn agree_in_key(ends: &Ends, key: &Ends) -> bool {
        let (ends, key): (__m128i, __m128i) = (transmute!(*ends), transmute!(*key));
        !_mm_movemask_epi8(_mm_cmpeq_epi8(ends, key)) & KEY_BITS == 0
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn shuffle(bytes: &Ends, from: &Ends) -> Ends {
        // SAFETY: the load reads the 16 bytes and needs no alignment.
        let bytes = unsafe { _mm_lddqu_si128(bytes.as_ptr().cast()) };
        transmute!(_mm_shuffle_epi8(bytes, transmute!(*from)))
    }

    /// Three rounds of AES under a secret key, after which every bit depends on every other.
    #[target_feature(enable = "avx2,aes")]
    #[inline]
    fn rounds(seed: &Seed, block: &Ends) -> u64 {
        let (seed, block): (__m128i, __m128i) = (transmute!(*seed), transmute!(*block));
        let first = _mm_aesenc_si128(_mm_xor_si128(block, seed), seed);
        last_rounds(first, seed)
    }

    #[target_feature(enable = "avx2,aes")]
    #[inline]
    fn last_rounds(block: __m128i, seed: __m128i) -> u64 {
        _mm_cvtsi128_si64(_mm_aesenc_si128(_mm_aesenc_si128(block, seed), seed)).cast_unsigned()
    }

    /// The same of three blocks: the addresses go through two rounds that do not wait for each other before they are
    /// mixed with each other and the ports.
    #[target_feature(enable = "avx2,aes")]
    #[inline]
    fn rounds6(seed: &Seed, key: &Key6) -> u64 {
        let turned = _mm_set_epi64x(seed.0.cast_signed(), seed.1.cast_signed());
        let seed: __m128i = transmute!(*seed);
        let [dst, src]: [__m128i; 2] = transmute!(key.addresses);
        let src = _mm_aesenc_si128(_mm_aesenc_si128(_mm_xor_si128(src, seed), turned), seed);
        let dst = _mm_aesenc_si128(_mm_aesenc_si128(_mm_xor_si128(dst, turned), seed), transmute!(key.rest));
        last_rounds(_mm_xor_si128(src, dst), seed)
    }

    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn equal_lanes_by_sse2(lanes: &[u16; 8], want: u16) -> u32 {
        let lanes: __m128i = transmute!(*lanes);
        _mm_movemask_epi8(_mm_cmpeq_epi16(lanes, _mm_set1_epi16(want.cast_signed()))).cast_unsigned()
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn equal_lanes(lanes: &[u16; 8], want: u16) -> u32 {
        equal_lanes_by_sse2(lanes, want)
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) mod tests {
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    use super::*;

    thread_local! {
        static OLD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    /// Whether this thread acts as on a processor that is not modern.
    pub(super) fn is_old() -> bool {
        OLD.get()
    }

    /// Does something as on a processor that is not modern.
    pub(crate) fn on_an_old_one<T>(act: impl FnOnce() -> T) -> T {
        OLD.set(true);
        let result = act();
        OLD.set(false);
        result
    }

    const MAC: MacBytes = [2, 0x70, 0x63, 0x61, 0x70, 1];

    /// A frame that is plain but for what `changes` say: a place and a value.
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
        fn a_modern_processor_sees_what_any_sees(
            fill: [u8; 38],
            changes in proptest::collection::vec((0usize..38, any::<u8>()), 0..2),
            ends: Ends,
            tags: [u16; 8],
        ) {
            let Some(modern) = Modern::found() else { return Ok(()) };
            let frame = frame(&changes, fill);
            let head = Head4::ref_from_bytes(&frame).unwrap();
            prop_assert_eq!(modern.is_plain(head, modern.start(&MAC)), Any.is_plain(head, Any.start(&MAC)));
            let key = Any.key(head);
            prop_assert_eq!(modern.key(head), key);
            let mut same: Ends = zerocopy::transmute!(key);
            for at in [7, 14, 15] {
                same[at] = ends[at];
            }
            prop_assert!(modern.are_ends(&same, &key) && Any.are_ends(&same, &key));
            for ends in [ends, { same[usize::from(ends[0] % 16)] ^= 1 << (ends[1] % 8); same }] {
                prop_assert_eq!(modern.are_ends(&ends, &key), Any.are_ends(&ends, &key));
            }
            let want = tags[usize::from(fill[0] % 8)];
            prop_assert_eq!(modern.equal_lanes(&tags, want), Any.equal_lanes(&tags, want));
        }

        #[test]
        fn a_hash_is_the_same_by_all_ways_to_it(seed: [u64; 2], words: [u128; 2], rest: u32, protocol: u8) {
            let seed = Seed(seed[0], seed[1]);
            let key4 = Key4::new(words[0] as u32, words[1] as u32, Ports(rest), protocol);
            let key6 = Key6::new(words[0], words[1], Ports(rest), protocol);
            prop_assert_eq!(Any.hash4(&seed, &key4), seed.hash(&crate::flow::Key::V4(key4)));
            prop_assert_eq!(Any.hash6(&seed, &key6), seed.hash(&crate::flow::Key::V6(key6)));
            if let Some(modern) = Modern::found() {
                prop_assert_eq!(modern.hash4(&seed, &key4), Any.hash4(&seed, &key4));
                prop_assert_eq!(modern.hash6(&seed, &key6), Any.hash6(&seed, &key6));
            }
        }
    }

    /// A bit more or less in a key changes half of the hash's bits, by any way.
    #[test]
    fn every_bit_of_a_key_matters_to_every_bit_of_its_hash() {
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
}

//! The operations of [`Cpu`] with AVX2 and AES.

use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;
use std::sync::LazyLock;

use zerocopy::transmute;

use super::*;

/// An x86-64 processor with AVX2, AES, BMI and MOVBE.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// This processor, if it has those instructions.
    #[inline]
    pub fn found() -> Option<Avx2> {
        #[cfg(test)]
        if super::tests::lacks_avx2() {
            return None;
        }
        FOUND.then_some(Avx2(()))
    }
}

/// Determined once.
static FOUND: LazyLock<bool> =
    LazyLock::new(|| has!("avx2") && has!("aes") && has!("bmi1") && has!("bmi2") && has!("movbe"));

/// Mask of the bits that are the same in all plain IPv4 frames to one hardware address: receiver, EtherType, version and
/// header length, and those that a fragment would have.
const FIXED: [u8; 32] = {
    let mut mask = [0; 32];
    mask.split_at_mut(6).0.copy_from_slice(&[!0; 6]);
    (mask[12], mask[13], mask[14], mask[20], mask[21]) = (!0, !0, !0, 0x3f, !0);
    mask
};

/// As [`FIXED`], for IPv6: receiver, EtherType and version.
const FIXED6: Ends = {
    let mut mask = [0; 16];
    mask.split_at_mut(6).0.copy_from_slice(&[!0; 6]);
    (mask[12], mask[13], mask[14]) = (!0, !0, 0xf0);
    mask
};

/// A bit for each byte of [`KEY`] that belongs to a key.
const KEY_BITS: i32 = {
    let (mut bits, mut at) = (0, 0);
    while at < KEY.len() {
        bits |= (KEY[at] as i32 & 1) << at;
        at += 1;
    }
    bits
};

/// Position of each byte of a key in the sixteen bytes of a header that end with the ports.
const KEY_FROM: Ends = [8, 9, 10, 11, 14, 15, 1, 0x80, 4, 5, 6, 7, 12, 13, 0x80, 0x80];

/// Where those sixteen bytes begin in a frame: at the TTL.
const TTL: usize = ether::LEN + 8;

// SAFETY of every call below: an `Avx2` exists only on a processor with the instructions that they need.
impl Cpu for Avx2 {
    /// For IPv4 and for IPv6.
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

/// True if the bytes equal `want` in the bits of the mask.
#[target_feature(enable = "avx2")]
#[inline]
fn agree(bytes: &[u8; 32], want: __m256i, mask: &[u8; 32]) -> bool {
    // The compiler would split an ordinary load into loads of the fields that are read later.
    // SAFETY: the load reads the 32 bytes and needs no alignment.
    let bytes = unsafe { _mm256_lddqu_si256(bytes.as_ptr().cast()) };
    _mm256_testz_si256(_mm256_xor_si256(bytes, want), transmute!(*mask)) != 0
}

/// True if two ends of a connection are those of a key.
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

/// Three rounds of AES with a secret key, after which every bit of the result depends on every bit of the block.
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

/// As [`rounds`], for three blocks: each address goes through two rounds, which run in parallel, before both are combined
/// with each other and the ports.
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

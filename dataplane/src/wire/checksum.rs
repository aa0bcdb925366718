//! The Internet checksum, RFC 1071, and its incremental update, RFC 1624.

use zerocopy::network_endian::U16;

/// The unfolded one's complement sum of `bytes` as big-endian words. An odd last byte is the upper half of a word.
pub fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(4);
    let mut total: u64 = 0;
    for word in words.by_ref() {
        total += u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
    }
    let rest = words.remainder();
    let mut last = [0u8; 4];
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_be_bytes(last))
}

/// Folds a sum to 16 bits, carries added back in.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// The sum of a 32-bit field.
#[inline]
pub const fn of_u32(value: u32) -> u64 {
    (value >> 16) as u64 + (value & 0xffff) as u64
}

/// The sum of a 128-bit field.
pub const fn of_u128(value: u128) -> u64 {
    let (high, low) = ((value >> 64) as u64, value as u64);
    of_u64(high) + of_u64(low)
}

const fn of_u64(value: u64) -> u64 {
    of_u32((value >> 32) as u32) + of_u32(value as u32)
}

/// Change of a checksum when fields that it covers change. It is in network byte order, in which one's complement addition
/// works as in any other (RFC 1071), so that patching a checksum swaps no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(pub u16);

/// How the checksum of an IPv4 header changes when the TTL is decremented.
pub const TTL_DELTA: Delta = Delta::new(0x0100, 0);

impl Delta {
    /// The delta of replacing fields that sum to `old` by fields that sum to `new`.
    #[inline]
    pub const fn new(old: u64, new: u64) -> Delta {
        Delta(fold(new + (!fold(old)) as u64).to_be())
    }

    /// The delta of the opposite change.
    #[inline]
    pub const fn reversed(self) -> Delta {
        Delta(!self.0)
    }

    /// The delta of both changes.
    #[inline]
    pub const fn and(self, other: Delta) -> Delta {
        // Two words carry at most once.
        let (sum, carry) = self.0.overflowing_add(other.0);
        Delta(sum + carry as u16)
    }

    /// The checksum after the change.
    #[inline]
    pub fn patch(self, sum: U16) -> U16 {
        let sum = Delta(!u16::from_ne_bytes(sum.to_bytes()));
        U16::from_bytes((!self.and(sum).0).to_ne_bytes())
    }
}

/// The sum of the pseudo header that TCP, UDP and ICMPv6 cover.
pub const fn pseudo(addresses: u64, protocol: u8, len: usize) -> u64 {
    addresses + protocol as u64 + of_u32(len as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    proptest! {
        #[test]
        fn a_patched_sum_is_the_full_sum(mut bytes in proptest::collection::vec(any::<u8>(), 8..80), new: u32) {
            let len = bytes.len() / 4 * 4;
            bytes.truncate(len);
            bytes[0] |= 1; // a packet is never all zero, where the two zeros of one's complement would differ
            let old_sum = !fold(sum(&bytes));
            let old = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            bytes[4..8].copy_from_slice(&new.to_be_bytes());
            let delta = Delta::new(of_u32(old), of_u32(new));
            let patched = delta.patch(U16::new(old_sum));
            prop_assert_eq!(patched.get(), !fold(sum(&bytes)));
            prop_assert_eq!(delta.reversed().patch(patched).get(), old_sum);
        }
    }
}

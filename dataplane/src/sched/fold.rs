//! Folds addresses to 32 bits and hashes them by multiplication. Spec 3.8.

use std::net::IpAddr;

/// Knuth's multiplicative hash with the golden ratio; the kernel's `GOLDEN_RATIO_32`.
const MULTIPLIER: u32 = 0x61C8_8647;

/// Folds an address to one number: the exclusive or of its 32-bit words.
pub fn fold(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// The upper `bits` bits of the product.
pub fn bucket(number: u32, bits: u32) -> u32 {
    number.wrapping_mul(MULTIPLIER) >> (u32::BITS - bits)
}

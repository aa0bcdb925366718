//! The common header of ICMP (RFC 792) and ICMPv6 (RFC 4443) errors.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the quoted packet.
pub const LEN: usize = 8;

/// ```text
/// |     Type      |     Code      |            Checksum           |
/// |            unused, or the MTU in the last 16 (v6: 32) bits    |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IcmpHdr {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum; for ICMPv6 with a pseudo header.
    pub sum: U16,
    /// The second word.
    pub rest: U32,
}

/// Whether this ICMPv4 type quotes a packet: destination unreachable, source quench, time exceeded.
pub fn is_error4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 11)
}

/// Whether this ICMPv6 type quotes a packet.
pub fn is_error6(kind: u8) -> bool {
    kind < 128
}

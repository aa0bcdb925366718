//! The header of generic routing encapsulation, RFC 2784.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a header without a checksum.
pub const LEN: usize = 4;
/// Bytes of a header with one.
pub const SUMMED_LEN: usize = 8;
/// In [`GreHdr::flags`]: a checksum and a reserved field follow.
pub const SUMMED: u16 = 0x8000;

/// ```text
/// |C|       Reserved0       | Ver |         Protocol type         |
/// |     Checksum (optional)       |     Reserved1 (optional)      |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GreHdr {
    /// Which optional fields follow, and the version, which is 0.
    pub flags: U16,
    /// EtherType of the payload.
    pub kind: U16,
}

/// Start of the IPv4 packet behind the GRE header at `at`.
pub fn payload4(frame: &[u8], at: usize) -> Option<usize> {
    let gre: &GreHdr = super::view(frame, at)?;
    // Checksum, key and sequence number are optional, four bytes each.
    let optional = (gre.flags.get() & (SUMMED | 0x3000)).count_ones() as usize * 4;
    (gre.kind.get() == super::ether::IPV4).then_some(at + LEN + optional)
}

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
    /// Whether there is a checksum; the version, which is 0.
    pub flags: U16,
    /// EtherType of what follows.
    pub kind: U16,
}

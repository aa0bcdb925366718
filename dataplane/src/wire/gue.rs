//! The header of generic UDP encapsulation, variant 0 (draft-ietf-intarea-gue), which Linux speaks.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a header without options.
pub const LEN: usize = 4;

/// ```text
/// |Var|C|  Hlen   |   Protocol    |             Flags             |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GueHdr {
    /// Variant, control bit, and words of options.
    pub variant_hlen: u8,
    /// Protocol number of what follows.
    pub protocol: u8,
    /// Which options there are.
    pub flags: U16,
}

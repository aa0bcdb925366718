//! The header of generic UDP encapsulation, variant 0 (draft-ietf-intarea-gue), as in Linux.

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
    /// Variant, control bit, and length of the options in words.
    pub variant_hlen: u8,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Which options follow.
    pub flags: U16,
}

/// Start of the IPv4 packet behind the GUE header at `at`.
pub fn payload4(frame: &[u8], at: usize) -> Option<usize> {
    let gue: &GueHdr = super::view(frame, at)?;
    // Variant 0, and no control message. The low five bits count words of options.
    let words = usize::from(gue.variant_hlen & 0x1f);
    (gue.variant_hlen >> 5 == 0 && gue.protocol == super::protocol::IPV4).then_some(at + LEN + 4 * words)
}

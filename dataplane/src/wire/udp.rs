//! The UDP header, RFC 768.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header.
pub const LEN: usize = 8;

/// ```text
/// |          Source port          |       Destination port        |
/// |             Length            |            Checksum           |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct UdpHdr {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Bytes of header and data.
    pub len: U16,
    /// Checksum over pseudo header, header and data; 0 means none was made.
    pub sum: U16,
}

//! The common header and the chunk header of SCTP, RFC 9260.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the common header.
pub const LEN: usize = 12;
/// Bytes of a chunk's header.
pub const CHUNK_LEN: usize = 4;
/// Chunk type that opens an association.
pub const INIT: u8 = 1;
/// Chunk type that answers [`INIT`].
pub const INIT_ACK: u8 = 2;
/// Chunk type that aborts an association.
pub const ABORT: u8 = 6;
/// Chunk type that asks for an orderly end.
pub const SHUTDOWN: u8 = 7;
/// Chunk type that answers [`SHUTDOWN`].
pub const SHUTDOWN_ACK: u8 = 8;
/// Chunk type that reports an error.
pub const ERROR: u8 = 9;
/// Chunk type that returns the cookie of [`INIT_ACK`].
pub const COOKIE_ECHO: u8 = 10;
/// Chunk type that answers [`COOKIE_ECHO`].
pub const COOKIE_ACK: u8 = 11;
/// Chunk type that answers [`SHUTDOWN_ACK`].
pub const SHUTDOWN_COMPLETE: u8 = 14;

/// ```text
/// |          Source port          |       Destination port        |
/// |                       Verification tag                        |
/// |                     Checksum (CRC32c)                         |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SctpHdr {
    /// Source port.
    pub src: U16,
    /// Destination port.
    pub dst: U16,
    /// Verification tag of the association.
    pub tag: U32,
    /// CRC32c of the whole packet, computed with this field zero. The only little-endian field of SCTP.
    pub crc: zerocopy::little_endian::U32,
}

/// ```text
/// |     Type      |     Flags     |            Length             |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ChunkHdr {
    /// Type of the chunk.
    pub kind: u8,
    /// Their meaning depends on the type.
    pub flags: u8,
    /// Bytes of header and value, without the padding to a multiple of 4.
    pub len: U16,
}

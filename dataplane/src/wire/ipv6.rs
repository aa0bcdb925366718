//! The IPv6 header and its extension headers, RFC 8200.

use zerocopy::network_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the fixed header.
pub const LEN: usize = 40;
/// The next-header value of hop-by-hop options.
const HOP_BY_HOP: u8 = 0;
/// The next-header value of a routing header.
const ROUTING: u8 = 43;
/// The next-header value of a fragment header.
pub const FRAGMENT: u8 = 44;
/// The next-header value of destination options.
pub const DESTINATION_OPTIONS: u8 = 60;
/// Most extension headers that are walked; real traffic has fewer.
pub const MAX_EXTENSIONS: usize = 8;

/// ```text
/// |Version| Traffic class |              Flow label               |
/// |         Payload length        |  Next header  |   Hop limit   |
/// |                        Source (128 bits)                      |
/// |                     Destination (128 bits)                    |
/// ```
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Hdr {
    /// Version, traffic class and flow label.
    pub version_class_flow: U32,
    /// Bytes after this header.
    pub len: U16,
    /// Protocol number of the next header.
    pub next: u8,
    /// Hop limit; the counterpart of the TTL.
    pub hop_limit: u8,
    /// Source address.
    pub src: U128,
    /// Destination address.
    pub dst: U128,
}

impl Ipv6Hdr {
    /// DSCP and ECN.
    pub fn class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }
}

/// Start and protocol of the payload of an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Protocol number of the payload, or [`FRAGMENT`] for a fragment.
    pub protocol: u8,
    /// Its offset from the start of `packet`.
    pub at: usize,
}

/// Whether an extension header is walked.
#[inline]
pub fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS)
}

/// Bytes of an extension header. Its second byte counts units of 8 bytes, less one.
#[inline]
pub fn extension_len(second_byte: u8) -> usize {
    (usize::from(second_byte) + 1) * 8
}

/// [`payload`] for a packet that an error quotes: it also looks behind the fragment header of a first fragment.
pub fn quoted_payload(packet: &[u8], next: u8) -> Option<Payload> {
    let found = payload(packet, next)?;
    if found.protocol != FRAGMENT {
        return Some(found);
    }
    let [protocol, _, high, low] = *packet.get(found.at..found.at + 4)? else { return None };
    // The upper 13 bits are the offset; only a first fragment has ports.
    (u16::from_be_bytes([high, low]) >> 3 == 0).then_some(Payload { protocol, at: found.at + 8 })
}

/// Walks the extension headers of `packet`, which begins with an IPv6 header. Returns `None` if they run past its end.
pub fn payload(packet: &[u8], next: u8) -> Option<Payload> {
    let mut found = Payload { protocol: next, at: LEN };
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(found.protocol) {
            return Some(found);
        }
        let [next, words] = *packet.get(found.at..found.at + 2)? else { return None };
        found = Payload { protocol: next, at: found.at + extension_len(words) };
    }
    None
}

/// ```text
/// |  Next header  |   Reserved    |      Fragment offset    |Res|M|
/// |                         Identification                        |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FragmentHdr {
    /// Protocol number of the first header of the datagram's payload.
    pub next: u8,
    /// Zero.
    pub reserved: u8,
    /// Fragment offset in bytes, which is a multiple of 8, and [`MORE_FRAGMENTS`].
    pub offset: U16,
    /// Identification of the fragmented datagram.
    pub id: U32,
}

/// Bytes of a fragment header.
pub const FRAGMENT_LEN: usize = 8;
/// In [`FragmentHdr::offset`]: this is not the last fragment.
pub const MORE_FRAGMENTS: u16 = 1;

//! The IPv4 header, RFC 791.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum;

/// Bytes of a header without options.
pub const LEN: usize = 20;
/// "Don't fragment" in [`Ipv4Hdr::fragment`].
pub const DF: u16 = 0x4000;
/// "More fragments" in [`Ipv4Hdr::fragment`].
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset in [`Ipv4Hdr::fragment`], in units of 8 bytes.
pub const OFFSET: u16 = 0x1fff;
/// "More fragments" and the offset: non-zero in every fragment.
pub const FRAGMENT: u16 = 0x3fff;

/// ```text
///  0                   1                   2                   3
/// |Version|  IHL  |      TOS      |          Total length         |
/// |         Identification        |Flags|     Fragment offset     |
/// |      TTL      |    Protocol   |            Checksum           |
/// |                             Source                            |
/// |                          Destination                          |
/// ```
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Hdr {
    /// Version and header length in words.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Bytes of header and payload.
    pub len: U16,
    /// Identification of a fragmented datagram.
    pub id: U16,
    /// Flags and fragment offset.
    pub fragment: U16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Header checksum.
    pub sum: U16,
    /// Source address.
    pub src: zerocopy::network_endian::U32,
    /// Destination address.
    pub dst: zerocopy::network_endian::U32,
}

impl Ipv4Hdr {
    /// Bytes of the header, options included, as its length field says.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.version_ihl & 15) * 4
    }

    /// Fragment offset, in units of 8 bytes.
    #[inline]
    pub fn offset(&self) -> u16 {
        self.fragment.get() & 0x1fff
    }

    /// True for a fragment.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.fragment.get() & FRAGMENT != 0
    }

    /// The flag "don't fragment".
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.fragment.get() & DF != 0
    }
}

/// Whether the checksum of a header, options included, is right; RFC 1071.
#[inline]
pub fn checksum_is_right(header: &[u8]) -> bool {
    match Ipv4Hdr::ref_from_bytes(header) {
        Ok(fixed) => fixed_checksum_is_right(fixed),
        Err(_) => header.len() > LEN && checksum::fold(checksum::sum(header)) == 0xffff,
    }
}

/// Whether the checksum of a header without options is right.
///
/// A one's complement sum does not depend on how words are grouped or on their byte order, and it is right if `0xffff`
/// divides it. Testing that takes one multiplication; folding takes a dozen steps. No header is all zeros.
#[inline(always)]
pub fn fixed_checksum_is_right(header: &Ipv4Hdr) -> bool {
    let Words(first, second, third): &Words = zerocopy::transmute_ref!(header);
    let (sum, carry) = u64::from_ne_bytes(*first).overflowing_add(u64::from_ne_bytes(*second));
    let last = u64::from(u32::from_ne_bytes(*third)) + u64::from(carry);
    ((sum >> 32) + (sum & 0xffff_ffff) + last).is_multiple_of(0xffff)
}

/// A header without options in as few words as possible.
#[derive(FromBytes, Immutable, Unaligned)]
#[repr(C)]
struct Words([u8; 8], [u8; 8], [u8; 4]);

/// Writes the checksum of the header, options included, that starts `packet`.
pub fn fill_checksum(packet: &mut [u8]) {
    let len = packet.first().map_or(0, |first| usize::from(first & 15) * 4).min(packet.len());
    if len < LEN {
        return;
    }
    packet[10..12].fill(0);
    let sum = !checksum::fold(checksum::sum(&packet[..len]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The option "record route" (RFC 791) and its fixed part: kind, length, pointer.
const RECORD_ROUTE: u8 = 7;
const RECORD_ROUTE_HEAD: u8 = 3;

/// Adds the destination address of the packet at `l3` to its option "record route", as the address of this hop. A malformed
/// or full option stays as it is.
#[cold]
pub fn record_route(frame: &mut [u8], l3: u16) {
    let Some(packet) = frame.get_mut(l3.into()..) else { return };
    let end = packet.first().map_or(0, |first| usize::from(first & 15) * 4).min(packet.len());
    let mut at = LEN;
    while at + 1 < end {
        let (kind, len) = (packet[at], usize::from(packet[at + 1]));
        match kind {
            0 => return,
            1 => at += 1,
            RECORD_ROUTE => return record(packet, at, len, end),
            _ if len < 2 => return,
            _ => at += len,
        }
    }
}

fn record(packet: &mut [u8], at: usize, len: usize, end: usize) {
    if at + len > end || len <= usize::from(RECORD_ROUTE_HEAD) {
        return;
    }
    let pointer = packet[at + 2];
    let place = at + usize::from(pointer) - 1;
    if pointer <= RECORD_ROUTE_HEAD || place + 4 > at + len {
        return;
    }
    packet.copy_within(16..20, place);
    packet[at + 2] = pointer + 4;
    fill_checksum(packet);
}

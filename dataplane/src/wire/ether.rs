//! Ethernet II and the 802.1Q tag.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// Bytes of an Ethernet header without a tag.
pub const LEN: usize = 14;
/// Bytes of an Ethernet header with one tag.
pub const TAGGED_LEN: usize = 18;

/// Bytes of the two addresses at the start of a frame.
pub const ADDRESSES: usize = 12;

/// A hardware address.
pub type MacBytes = [u8; 6];

/// ```text
/// | destination (6) | source (6) | EtherType (2) |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EtherHdr {
    /// Destination address.
    pub dst: MacBytes,
    /// Source address.
    pub src: MacBytes,
    /// EtherType of the payload.
    pub kind: U16,
}

/// ```text
/// | priority (3 bits) | DEI (1) | VLAN (12) | EtherType (16) |
/// ```
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// Priority and VLAN number.
    pub tci: U16,
    /// EtherType of the payload.
    pub kind: U16,
}

impl VlanTag {
    /// The VLAN number.
    pub fn vlan(&self) -> u16 {
        self.tci.get() & 0x0fff
    }
}

//! The starts of plain frames, and of plain frames in a tunnel, each as one view.
//!
//! Plain is nearly every packet: untagged IPv4 without options, in one piece, with a whole TCP or UDP header.

use zerocopy::network_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ether::{self, MacBytes};
use super::ipv4::Ipv4Hdr;

/// The start of a plain frame.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Head {
    /// The frame header.
    pub ether: [u8; ether::LEN],
    /// The IP header.
    pub ip: Ipv4Hdr,
    /// Source and destination port.
    pub l4_ports: [U16; 2],
}

/// What stands in front of a packet in a tunnel.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Outer {
    /// The frame header.
    pub ether: [u8; ether::LEN],
    /// The outer IP header.
    pub ip: Ipv4Hdr,
}

/// The start of a plain frame in as few words as can be.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Words {
    /// Receiver of the frame.
    pub receiver: MacBytes,
    /// Its sender.
    pub sender: MacBytes,
    /// EtherType.
    pub kind: U16,
    /// Of the IPv4 header: version, header length, TOS, total length, identification, flags and fragment offset.
    pub first: U64,
    /// TTL, protocol, checksum and source.
    pub second: U64,
    /// Destination.
    pub dst: U32,
    /// Source and destination port.
    pub l4_ports: U32,
}

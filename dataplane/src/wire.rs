//! Headers as views on the bytes of a frame: the length is checked once, when the view is made; after that no access can
//! fail.

pub mod checksum;
pub mod ether;
pub mod gre;
pub mod gue;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod plain;
pub mod sctp;
pub mod tcp;
pub mod udp;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A header type that can lie anywhere in a frame.
pub trait Header: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned {}
impl<T: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned> Header for T {}

/// The header at byte `at`, if the frame holds all of it.
#[inline]
pub fn view<T: Header>(frame: &[u8], at: usize) -> Option<&T> {
    T::ref_from_prefix(frame.get(at..)?).ok().map(|(header, _)| header)
}

/// The header at byte `at`, to be rewritten, if the frame holds all of it.
#[inline]
pub fn view_mut<T: Header>(frame: &mut [u8], at: usize) -> Option<&mut T> {
    T::mut_from_prefix(frame.get_mut(at..)?).ok().map(|(header, _)| header)
}

/// Position of an IP packet in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpSpan {
    /// Start of the IP header.
    pub l3: u16,
    /// True for IPv6.
    pub ipv6: bool,
    /// Bytes of the packet, its header included.
    pub len: u16,
}

/// Protocol numbers of IP, as IANA assigned them.
pub mod protocol {
    /// Internet Control Message Protocol, RFC 792.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP, RFC 2003.
    pub const IPV4: u8 = 4;
    /// Transmission Control Protocol, RFC 9293.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol, RFC 768.
    pub const UDP: u8 = 17;
    /// IPv6 in IP, RFC 2473.
    pub const IPV6: u8 = 41;
    /// Generic Routing Encapsulation, RFC 2784.
    pub const GRE: u8 = 47;
    /// Encapsulating Security Payload, RFC 4303.
    pub const ESP: u8 = 50;
    /// Authentication Header, RFC 4302.
    pub const AH: u8 = 51;
    /// Internet Control Message Protocol for IPv6, RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol, RFC 9260.
    pub const SCTP: u8 = 132;
}

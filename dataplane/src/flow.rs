//! Flow keys: addresses, ports and protocol of a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The two L4 ports of a packet, with the source port in the upper half, so that one comparison covers both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports(pub u32);

impl Ports {
    /// From source and destination port.
    #[inline]
    pub const fn new(src: u16, dst: u16) -> Ports {
        Ports((src as u32) << 16 | dst as u32)
    }

    /// The source port.
    #[inline]
    pub const fn src(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The destination port.
    #[inline]
    pub const fn dst(self) -> u16 {
        self.0 as u16
    }
}

/// The flow key of an IPv4 packet, in network byte order: first the receiver's address and port, then the sender's.
///
/// It has sixteen bytes: one shuffle turns a packet's header into a key, the key is one block for the hash, and one
/// comparison matches it with two of the three ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(16))]
pub struct Key4 {
    dst: U32,
    dst_port: U16,
    /// Protocol number.
    pub protocol: u8,
    zero: u8,
    src: U32,
    src_port: U16,
    zeros: [u8; 2],
}

const _: () = assert!(size_of::<Key4>() == 16);

impl Key4 {
    /// A key that no packet has.
    pub const NONE: Key4 = Key4::new(0, 0, Ports(0), 0);

    /// From addresses, ports and the protocol's number.
    #[inline]
    pub const fn new(src: u32, dst: u32, ports: Ports, protocol: u8) -> Key4 {
        Key4 {
            dst: U32::new(dst),
            dst_port: U16::new(ports.dst()),
            protocol,
            zero: 0,
            src: U32::new(src),
            src_port: U16::new(ports.src()),
            zeros: [0; 2],
        }
    }

    /// A key with only a source and a destination port.
    #[inline]
    pub fn between([src_port, dst_port]: [U16; 2]) -> Key4 {
        Key4 { src_port, dst_port, ..Key4::NONE }
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> u32 {
        self.src.get()
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> u32 {
        self.dst.get()
    }

    /// Both ports.
    #[inline]
    pub fn ports(&self) -> Ports {
        Ports::new(self.src_port.get(), self.dst_port.get())
    }

    /// Replaces both ports.
    #[inline]
    pub fn set_ports(&mut self, ports: Ports) {
        (self.src_port, self.dst_port) = (U16::new(ports.src()), U16::new(ports.dst()));
    }

    /// The key of packets in the other direction.
    #[inline]
    pub fn reversed(self) -> Key4 {
        let Key4 { dst, dst_port, src, src_port, .. } = self;
        Key4 { dst: src, dst_port: src_port, src: dst, src_port: dst_port, ..self }
    }
}

/// The flow key of an IPv6 packet: its addresses, and a key without addresses for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Key6 {
    /// Destination and source address.
    pub addresses: [U128; 2],
    /// Ports, and the protocol number with the bit of [`IPV6`] flipped.
    pub rest: Key4,
}

/// Flipped in the protocol number of an IPv6 key, so that it differs from that of every IPv4 packet with ports.
pub const IPV6: u8 = 0x40;

impl Key6 {
    /// From addresses, ports and the protocol's number.
    #[inline]
    pub const fn new(src: u128, dst: u128, ports: Ports, protocol: u8) -> Key6 {
        Key6 { addresses: [U128::new(dst), U128::new(src)], rest: Key4::new(0, 0, ports, protocol ^ IPV6) }
    }

    /// Source address.
    #[inline]
    pub fn src(&self) -> u128 {
        self.addresses[1].get()
    }

    /// Destination address.
    #[inline]
    pub fn dst(&self) -> u128 {
        self.addresses[0].get()
    }

    /// Protocol number.
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.rest.protocol ^ IPV6
    }

    /// Replaces the protocol number.
    #[inline]
    pub fn set_protocol(&mut self, protocol: u8) {
        self.rest.protocol = protocol ^ IPV6;
    }

    /// The key of packets in the other direction.
    #[inline]
    pub fn reversed(self) -> Key6 {
        let [dst, src] = self.addresses;
        Key6 { addresses: [src, dst], rest: self.rest.reversed() }
    }
}

/// The flow key of a packet of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// IPv4.
    V4(Key4),
    /// IPv6.
    V6(Key6),
}

impl Key {
    /// The key of packets in the other direction.
    #[inline]
    pub fn reversed(self) -> Key {
        match self {
            Key::V4(k) => Key::V4(k.reversed()),
            Key::V6(k) => Key::V6(k.reversed()),
        }
    }

    /// The source endpoint.
    pub fn src(&self) -> Endpoint {
        Endpoint { address: self.src_address(), l4_port: self.ports().src() }
    }

    /// The destination endpoint.
    pub fn dst(&self) -> Endpoint {
        Endpoint { address: self.dst_address(), l4_port: self.ports().dst() }
    }

    /// The source address.
    pub fn src_address(&self) -> IpAddr {
        match self {
            Key::V4(k) => Ipv4Addr::from_bits(k.src()).into(),
            Key::V6(k) => Ipv6Addr::from_bits(k.src()).into(),
        }
    }

    /// The destination address.
    pub fn dst_address(&self) -> IpAddr {
        match self {
            Key::V4(k) => Ipv4Addr::from_bits(k.dst()).into(),
            Key::V6(k) => Ipv6Addr::from_bits(k.dst()).into(),
        }
    }

    /// Both ports.
    #[inline]
    pub fn ports(&self) -> Ports {
        match self {
            Key::V4(k) => k.ports(),
            Key::V6(k) => k.rest.ports(),
        }
    }

    /// The protocol number.
    #[inline]
    pub fn protocol(&self) -> u8 {
        match self {
            Key::V4(k) => k.protocol,
            Key::V6(k) => k.protocol(),
        }
    }

    /// The key of packets from one endpoint to another, or `None` if their families differ.
    pub fn between(src: Endpoint, dst: Endpoint, protocol: u8) -> Option<Key> {
        let ports = Ports::new(src.l4_port, dst.l4_port);
        match (src.address, dst.address) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                Some(Key::V4(Key4::new(s.to_bits(), d.to_bits(), ports, protocol)))
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                Some(Key::V6(Key6::new(s.to_bits(), d.to_bits(), ports, protocol)))
            }
            _ => None,
        }
    }
}

/// An address and an L4 port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The L4 port.
    pub l4_port: u16,
}

/// Secret seed of the hash, so that outsiders cannot choose the hashes of their flows.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C, align(16))]
pub struct Seed(pub u64, pub u64);

impl Seed {
    /// A seed from the standard library's source of randomness.
    pub fn random() -> Seed {
        use std::hash::{BuildHasher, RandomState};
        Seed(RandomState::new().hash_one(1u8) | 1, RandomState::new().hash_one(2u8) | 1)
    }

    /// The hash of a key by multiplications, for processors without AES.
    #[inline]
    pub fn multiply4(&self, key: &Key4) -> u64 {
        let [a, b]: [u64; 2] = zerocopy::transmute!(*key);
        mix(a ^ self.0, b ^ self.1)
    }

    /// As [`Seed::multiply4`], for IPv6.
    #[inline]
    pub fn multiply6(&self, key: &Key6) -> u64 {
        let [dst, src, rest]: [[u64; 2]; 3] = zerocopy::transmute!(*key);
        // Both can be computed in parallel, and both depend on the secret.
        let src = fold(src[0] ^ self.0, src[1] ^ self.1);
        let dst = fold(dst[0] ^ self.1, dst[1] ^ self.0.rotate_left(32));
        mix(dst ^ self.0 ^ rest[0], src ^ rest[1].rotate_left(16))
    }
}

/// Both halves of a 128-bit product, combined.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b ^ 0x9e37_79b9_7f4a_7c15);
    (product as u64) ^ (product >> 64) as u64
}

/// [`fold`], and a second multiplication, so that every input bit affects every output bit.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(fold(a, b)) * 0xd6e8_feb8_6659_fd93;
    (product as u64) ^ (product >> 64) as u64
}

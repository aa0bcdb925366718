//! The data of one connection: plain data without pointers, in one cache line for IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::network_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cpu::Cpu;
use crate::flow::{Endpoint, Key, Key4, Key6};
use crate::service::{Method, Tunnel};
use crate::time::wheel::{Linked, Links, Wheel};
use crate::time::{Millis, Tick};

/// Identifies a connection in its worker's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u32);

/// Direction of a packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    In,
    /// From the destination.
    Out,
}

/// Flags of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub struct Flags(pub u16);

impl Flags {
    /// The slot holds a connection.
    pub const LIVE: Flags = Flags(0x0001);
    /// NAT: replies of the destination come through us and are rewritten.
    pub const NAT: Flags = Flags(0x0002);
    /// Packets reach the destination through a tunnel.
    pub const TUNNEL: Flags = Flags(0x0004);
    /// It has no destination: packets are forwarded to the address that they carry.
    pub const BYPASS: Flags = Flags(0x0008);
    /// One-packet scheduling: it serves one packet and is not in the index.
    pub const OPS: Flags = Flags(0x0010);
    /// A persistence template controls it.
    pub const CHILD: Flags = Flags(0x0020);
    /// Its template is not marked yet as one whose connections are really opened.
    pub const UNCONFIRMED: Flags = Flags(0x0040);
    /// No packet from the destination was seen, and none is expected here.
    pub const NO_OUTPUT: Flags = Flags(0x0080);
    /// It counts as inactive.
    pub const INACTIVE: Flags = Flags(0x0100);
    /// A packet from the destination was seen.
    pub const REPLIED: Flags = Flags(0x0200);
    /// Its packets take the slow path.
    pub const SLOW: Flags = Flags(0x0400);
    /// It has an [extra record](super::Extra).
    pub const EXTRA: Flags = Flags(0x0800);

    /// True if all flags of `other` are set.
    #[inline]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if packets of the connection must not take the fast path. One test of two bits.
    #[inline(always)]
    pub fn needs_slow_path(self) -> bool {
        self.0 & (Flags::SLOW.0 | Flags::UNCONFIRMED.0) != 0
    }

    /// The union of both.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Flags of a connection with this forwarding method. They do not tell the kinds of tunnels apart.
    pub fn of(method: Method) -> Flags {
        match method {
            Method::Nat => Flags::NAT,
            Method::Dr => Flags::NO_OUTPUT,
            Method::Tunnel(_) => Flags::NO_OUTPUT.with(Flags::TUNNEL),
        }
    }

    /// The forwarding method, or `None` for a connection without a destination. The kind of a tunnel is that of the
    /// destination, whatever this says.
    pub fn method(self) -> Option<Method> {
        if self.has(Flags::BYPASS) {
            None
        } else if self.has(Flags::NAT) {
            Some(Method::Nat)
        } else if self.has(Flags::TUNNEL) {
            Some(Method::Tunnel(Tunnel::Ipip))
        } else {
            Some(Method::Dr)
        }
    }

    /// Sets or clears all flags of `other`.
    #[inline]
    pub fn set(&mut self, other: Flags, on: bool) {
        self.0 = if on { self.0 | other.0 } else { self.0 & !other.0 };
    }
}

/// A connection. A packet of an IPv4 flow reads and writes only this cache line.
///
/// It begins with its three ends in the order virtual, client, destination, of eight bytes each. The first sixteen bytes
/// are the key of packets from the client, and the sixteen from offset eight are the key of packets from the destination,
/// so one comparison shows whether a packet belongs to the connection.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Entry {
    /// Virtual address. This and the other two addresses are of IPv4 connections only; see [`Addresses6`].
    pub virtual_address: U32,
    /// Virtual port.
    pub virtual_port: U16,
    /// Protocol number in the keys of packets from the client. Zero, which no key has, once the connection is removed.
    pub key_in_protocol: u8,
    /// State of the protocol's state machine.
    pub state: u8,
    /// Client address.
    pub client: U32,
    /// Client port.
    pub client_port: U16,
    /// Protocol number in the keys of packets from the destination. Zero, which no key has, if those are not addressed to
    /// the client but to a [fourth end](super::Extra).
    pub key_out_protocol: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Destination address.
    pub destination_address: U32,
    /// Port of the destination.
    pub destination_port: U16,
    /// Flags.
    pub flags: Flags,
    /// Change of the transport checksum of packets from the client: address and port.
    pub delta_l4: u16,
    /// Change of the IPv4 header checksum of packets from the client: address.
    pub delta_l3: u16,
    /// Index of the destination in the snapshot. It is the same in all generations.
    pub destination: u32,
    /// When its last packet came: the low 32 bits of the tick.
    pub seen: u32,
    /// Milliseconds from then until it expires.
    pub timeout: u32,
    /// Packets from the client.
    pub in_packets: u32,
    /// The next hop towards the client.
    pub client_hop: u32,
    /// The network generation in which `client_hop` was looked up.
    pub client_hop_generation: u32,
    /// Links of the timer wheel, or of the list of free entries.
    pub links: Links,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// When a connection expires after a packet, in the units of [`Entry`] and its timer. All packets of a burst that leave
/// their connections in the same state share it.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    seen: u32,
    timeout: u32,
    due: u32,
}

impl Expiry {
    /// Expiry `timeout` after `now`.
    #[inline(always)]
    pub fn new(timeout: Millis, now: Tick) -> Expiry {
        Expiry { seen: now.0 as u32, timeout: timeout.0, due: Wheel::due(now.after(timeout)) }
    }

    /// Time to live.
    #[inline(always)]
    pub fn timeout(&self) -> Millis {
        Millis(self.timeout)
    }

    /// When it ends, if it began at `now`.
    pub fn end(&self, now: Tick) -> Tick {
        now.after(Millis(self.timeout))
    }
}

impl Linked for Entry {
    #[inline]
    fn links(&self) -> &Links {
        &self.links
    }

    #[inline]
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The addresses of an IPv6 connection, in the order of the ends of an [`Entry`].
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(64))]
pub struct Addresses6 {
    /// Virtual address.
    pub virtual_address: U128,
    /// Client address.
    pub client: U128,
    /// Destination address.
    pub destination_address: U128,
    unused: [u8; 16],
}

impl Addresses6 {
    /// From the three addresses.
    pub fn new(virtual_address: U128, client: U128, destination_address: U128) -> Addresses6 {
        Addresses6 { virtual_address, client, destination_address, unused: [0; 16] }
    }
}

const _: () = assert!(size_of::<Addresses6>() == 64);

/// The three endpoints of a connection, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub client: Endpoint,
    /// The virtual endpoint, which the client addresses.
    pub virtual_: Endpoint,
    /// The destination. Only through a tunnel can its family differ from that of the others.
    pub destination: Endpoint,
}

impl Entry {
    /// True if a packet with this key, in this direction, belongs to this IPv4 connection. For an IPv6 connection this
    /// compares everything except the addresses.
    #[inline(always)]
    pub fn matches4<C: Cpu>(&self, cpu: C, key: &Key4, out: bool) -> bool {
        let at = usize::from(out) * 8;
        self.as_bytes()[at..].first_chunk().is_some_and(|ends| cpu.are_ends(ends, key))
    }

    /// Records that a packet came, and when the connection now expires. Returns true if its timer is armed for a later
    /// time and must be moved.
    #[inline(always)]
    pub fn touch(&mut self, expiry: &Expiry) -> bool {
        (self.seen, self.timeout) = (expiry.seen, expiry.timeout);
        expiry.due < self.links.armed
    }

    /// The endpoints of an IPv4 connection.
    pub fn endpoints4(&self) -> Endpoints {
        let v4 = |address: U32| IpAddr::V4(Ipv4Addr::from_bits(address.get()));
        self.endpoints(v4(self.client), v4(self.virtual_address), v4(self.destination_address))
    }

    /// The endpoints of an IPv6 connection.
    pub fn endpoints6(&self, addresses: &Addresses6) -> Endpoints {
        let v6 = |address: U128| IpAddr::V6(Ipv6Addr::from_bits(address.get()));
        self.endpoints(v6(addresses.client), v6(addresses.virtual_address), v6(addresses.destination_address))
    }

    fn endpoints(&self, client: IpAddr, virtual_address: IpAddr, destination: IpAddr) -> Endpoints {
        Endpoints {
            client: Endpoint { address: client, l4_port: self.client_port.get() },
            virtual_: Endpoint { address: virtual_address, l4_port: self.virtual_port.get() },
            destination: Endpoint { address: destination, l4_port: self.destination_port.get() },
        }
    }
}

impl Addresses6 {
    /// True if a packet with this key, in this direction, belongs to the connection with these addresses.
    #[inline(always)]
    pub fn matches<C: Cpu>(&self, cpu: C, entry: &Entry, key: &Key6, out: bool) -> bool {
        let at = usize::from(out) * size_of::<U128>();
        let addresses = self.as_bytes()[at..].first_chunk();
        addresses.is_some_and(|these| cpu.are_addresses(these, &key.addresses))
            && entry.matches4(cpu, &key.rest, out)
    }
}

impl Endpoints {
    /// The key of packets from the client.
    pub fn key_in(&self, protocol: u8) -> Option<Key> {
        Key::between(self.client, self.virtual_, protocol)
    }

    /// The key of packets from a NAT destination.
    pub fn key_out(&self, protocol: u8) -> Option<Key> {
        Key::between(self.destination, self.client, protocol)
    }
}

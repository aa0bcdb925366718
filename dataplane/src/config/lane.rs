//! The way to one destination, as plain packets of known connections take it: one record in place of three lookups.

use std::net::IpAddr;

use super::network::{Network, NextHop, Target};
use crate::service::{Destination, Method, Tunnel};
use crate::wire::{checksum, ether, ipv4, protocol};

/// Smallest MTU that an IP-in-IP tunnel's way may have; spec 6.7.
const TUNNEL_MTU: u16 = 68 + ipv4::LEN as u16;

/// What a plain packet needs to know of a destination. Half a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Lane {
    /// Receiver and sender of frames to the next hop, which carry no tag.
    pub ether: [u8; ether::ADDRESSES],
    /// The port to leave by.
    pub port: u16,
    /// Largest IP packet on the way.
    pub mtu: u16,
    switches: u32,
    /// Source of an IP-in-IP tunnel's outer header.
    pub source: u32,
    /// Its destination.
    pub target: u32,
    /// Sum of what its outer headers have in common.
    pub outer_sum: u32,
}

const _: () = assert!(size_of::<Lane>() == 32);

/// The destination is configured.
const AVAILABLE: u32 = 1;
/// Its next hop is known, and untagged.
const OPEN: u32 = 2;
/// IP in IP, IPv4 outside, leads to it.
const IPIP: u32 = 4;

impl Lane {
    /// The lane to `destination`; one that is not open where the way is anything but plain.
    pub fn new(destination: &Destination, target: Option<&Target>, network: &Network) -> Lane {
        let switches = if destination.available { AVAILABLE } else { 0 };
        let closed = Lane { switches, ..Lane::default() };
        let Some(&Target { next: NextHop::Hop(id), mtu, source }) = target else { return closed };
        let Some(hop) = network.hop_at(id).filter(|hop| usize::from(hop.header_len) == ether::LEN) else {
            return closed;
        };
        let Some(ether) = hop.header.first_chunk().copied().filter(|_| destination.available) else {
            return closed;
        };
        let lane = Lane { ether, port: hop.port, mtu, switches: AVAILABLE | OPEN, ..closed };
        match (destination.method, source, destination.endpoint.address) {
            (Method::Tunnel(Tunnel::Ipip), IpAddr::V4(source), IpAddr::V4(target)) if mtu >= TUNNEL_MTU => {
                lane.tunnel(source.to_bits(), target.to_bits())
            }
            _ => lane,
        }
    }

    fn tunnel(self, source: u32, target: u32) -> Lane {
        let addresses = checksum::of_u32(source) + checksum::of_u32(target);
        let outer_sum = (addresses + 0x4500 + u64::from(protocol::IPV4)) as u32;
        Lane { switches: self.switches | IPIP, source, target, outer_sum, ..self }
    }

    /// Whether the destination is configured.
    #[inline]
    pub fn is_available(&self) -> bool {
        self.switches & AVAILABLE != 0
    }

    /// Whether packets can leave for the destination just so.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.switches & OPEN != 0
    }

    /// Whether they can leave in an IP-in-IP tunnel.
    #[inline]
    pub fn is_tunnel(&self) -> bool {
        self.switches & IPIP != 0
    }
}

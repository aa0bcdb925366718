//! Adjacencies: the frame header, port and MTU towards a destination, as the fast path needs them. One record
//! replaces lookups of the destination, its target and its next hop.

use std::net::IpAddr;
use std::sync::Arc;

use crate::forward::encap::Outer;
use crate::forward::tunnel_header::TunnelHeader;
use crate::network::{Network, NextHop, Target};
use crate::service::{Destination, DestinationId, Method, Services};
use crate::wire::ether;

/// Smallest MTU that an IPv4 tunnel may leave for its payload; spec 6.7.
pub const MIN_MTU4: u16 = 68;
/// Smallest MTU that an IPv6 tunnel may leave for its payload; spec 6.7.
pub const MIN_MTU6: u16 = 1280;

/// All that the fast path needs to send to one destination.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Adjacency {
    /// Destination and source address of frames to the next hop; they are untagged.
    pub ether: [u8; ether::ADDRESSES],
    /// The port to send by.
    pub port: u16,
    /// Largest IP packet on the path.
    pub mtu: u16,
    /// Index of the tunnel's headers in the snapshot's `tunnel_headers`, plus one; 0 for none.
    tunnel_header: u32,
    /// The destination is configured.
    available: bool,
    /// The fast path may use this adjacency: the next hop is resolved, and frames to it are untagged.
    open: bool,
}

const _: () = assert!(size_of::<Adjacency>() == 32);

/// The parts of a snapshot that adjacencies are built from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub services: &'a Services,
    pub targets: &'a [Target],
    pub network: &'a Network,
}

/// The adjacencies of all destinations, by id, with the tunnel headers that they refer to.
pub(super) type Built = (Arc<[Adjacency]>, Arc<[TunnelHeader]>);

/// Builds the adjacencies of all destinations.
pub(super) fn build_adjacencies(sources: Sources<'_>) -> Built {
    let mut builder = Builder { sources, tunnel_headers: Vec::new() };
    let ids = (0..).map(DestinationId).take(sources.services.destinations.len());
    let adjacencies = ids.map(|id| builder.build(id, 0)).collect();
    (adjacencies, builder.tunnel_headers.into())
}

/// Rebuilds the adjacencies of the listed destinations, and keeps the others of `built`.
pub(super) fn rebuild_adjacencies(
    (adjacencies, tunnel_headers): (&[Adjacency], &[TunnelHeader]),
    destinations: &[u32],
    sources: Sources<'_>,
) -> Built {
    // Headers that are no longer used stay; when there are too many, everything is rebuilt.
    if tunnel_headers.len() > sources.services.destinations.len() * 2 {
        return build_adjacencies(sources);
    }
    let mut builder = Builder { sources, tunnel_headers: tunnel_headers.to_vec() };
    let mut adjacencies = adjacencies.to_vec();
    adjacencies.resize(sources.services.destinations.len(), Adjacency::default());
    for &id in destinations {
        if let Some(adjacency) = adjacencies.get_mut(id as usize) {
            *adjacency = builder.build(DestinationId(id), adjacency.tunnel_header);
        }
    }
    (adjacencies.into(), builder.tunnel_headers.into())
}

/// Builds adjacencies and collects their tunnel headers.
struct Builder<'a> {
    sources: Sources<'a>,
    tunnel_headers: Vec<TunnelHeader>,
}

impl Builder<'_> {
    /// Builds the adjacency of a destination. `tunnel_header` is the field of its previous adjacency: tunnel headers
    /// replace the ones there, or are added if it is 0.
    fn build(&mut self, id: DestinationId, tunnel_header: u32) -> Adjacency {
        let Sources { services, targets, network } = self.sources;
        let Some(destination) = services.destination(id) else { return Adjacency::default() };
        let target = targets.get(destination.target.0 as usize);
        let mut adjacency = Adjacency::new(destination, target, network);
        if adjacency.open
            && let Some(headers) = self.tunnel_header(destination, target, &adjacency)
        {
            adjacency.tunnel_header =
                match self.tunnel_headers.get_mut(tunnel_header.wrapping_sub(1) as usize) {
                    Some(previous) => {
                        *previous = headers;
                        tunnel_header
                    }
                    None => {
                        self.tunnel_headers.push(headers);
                        self.tunnel_headers.len() as u32
                    }
                };
        }
        adjacency
    }

    /// The headers of the tunnel to a destination, if it is one whose headers are the same for every packet.
    fn tunnel_header(
        &self,
        destination: &Destination,
        target: Option<&Target>,
        adjacency: &Adjacency,
    ) -> Option<TunnelHeader> {
        let Method::Tunnel(tunnel) = destination.method else { return None };
        let ipv6 = self.sources.services.service(destination.service)?.key.is_ipv6();
        let outer =
            Outer { source: target?.source, target: destination.endpoint.address, tunnel, keep_df: false };
        let tunnel_header = TunnelHeader::new(&outer, ipv6, &adjacency.ether)?;
        let min_mtu = if matches!(outer.target, IpAddr::V4(_)) { MIN_MTU4 } else { MIN_MTU6 };
        (adjacency.mtu >= tunnel_header.overhead() + min_mtu).then_some(tunnel_header)
    }
}

impl Adjacency {
    /// The adjacency of `destination`, without tunnel headers. It is not open unless the next hop is resolved and
    /// untagged.
    fn new(destination: &Destination, target: Option<&Target>, network: &Network) -> Adjacency {
        let available = destination.available;
        let closed = Adjacency { available, ..Adjacency::default() };
        let Some(&Target { next: NextHop::Hop(id), mtu, .. }) = target else { return closed };
        let Some(hop) = network.hop_at(id) else { return closed };
        let open = available && usize::from(hop.header_len) == ether::LEN;
        match hop.header.first_chunk() {
            Some(&ether) => Adjacency { ether, port: hop.port, mtu, open, ..closed },
            None => closed,
        }
    }

    /// Index of the tunnel's headers in the snapshot's `tunnel_headers`; out of range if there are none.
    #[inline(always)]
    pub fn tunnel_header(&self) -> usize {
        self.tunnel_header.wrapping_sub(1) as usize
    }

    /// Whether the destination is configured.
    #[inline(always)]
    pub fn is_available(&self) -> bool {
        self.available
    }

    /// Whether the fast path may use this adjacency.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.open
    }
}

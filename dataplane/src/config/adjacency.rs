//! The way to one destination, as plain packets of known connections take it: one record in place of three lookups.

use std::net::IpAddr;
use std::sync::Arc;

use crate::forward::encap::Outer;
use crate::forward::tunnel_header::TunnelHeader;
use crate::network::{Network, NextHop, Target};
use crate::service::{Destination, DestinationId, Method, Services};
use crate::wire::ether;

/// Smallest MTU a tunnel may leave for its payload, by the family outside; spec 6.7.
pub const MIN_MTU4: u16 = 68;
/// The same of IPv6.
pub const MIN_MTU6: u16 = 1280;

/// What a plain packet needs to know of a destination.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Adjacency {
    /// Receiver and sender of frames to the next hop, which carry no tag.
    pub ether: [u8; ether::ADDRESSES],
    /// The port to leave by.
    pub port: u16,
    /// Largest IP packet on the way.
    pub mtu: u16,
    /// Place of the tunnel's headers among the snapshot's templates plus one; 0 is none.
    tunnel_header: u32,
    /// The destination is configured.
    available: bool,
    /// Its next hop is known, and untagged.
    open: bool,
}

const _: () = assert!(size_of::<Adjacency>() == 32);

/// The lanes to all destinations, by their ids, and the headers of the tunnels among them.
pub fn build_adjacencies(
    services: &Services,
    targets: &[Target],
    network: &Network,
) -> (Arc<[Adjacency]>, Arc<[TunnelHeader]>) {
    let mut tunnel_headers = Vec::new();
    let ids = (0..).map(DestinationId).take(services.destinations.len());
    let adjacencies =
        ids.map(|id| make(id, (&mut tunnel_headers, 0), (services, targets), network)).collect();
    (adjacencies, tunnel_headers.into())
}

/// The same, where only the lanes to these destinations differ from those there were.
pub fn rebuild_adjacencies(
    (adjacencies, tunnel_headers): (&[Adjacency], &Arc<[TunnelHeader]>),
    destinations: &[u32],
    (services, targets): (&Services, &[Target]),
    network: &Network,
) -> (Arc<[Adjacency]>, Arc<[TunnelHeader]>) {
    // Headers that no lane needs any more stay; when there are too many of them all is made anew.
    if tunnel_headers.len() > services.destinations.len() * 2 {
        return build_adjacencies(services, targets, network);
    }
    let (mut adjacencies, mut headers) = (adjacencies.to_vec(), tunnel_headers.to_vec());
    adjacencies.resize(services.destinations.len(), Adjacency::default());
    for &place in destinations {
        if let Some(adjacency) = adjacencies.get_mut(place as usize) {
            let headers = (&mut headers, adjacency.tunnel_header);
            *adjacency = make(DestinationId(place), headers, (services, targets), network);
        }
    }
    (adjacencies.into(), headers.into())
}

/// The lane to a destination. The headers of its tunnel, if it is one, take `place`, or if that is 0 one of their own.
fn make(
    id: DestinationId,
    (tunnel_headers, place): (&mut Vec<TunnelHeader>, u32),
    (services, targets): (&Services, &[Target]),
    network: &Network,
) -> Adjacency {
    let Some(destination) = services.destination(id) else { return Adjacency::default() };
    let target = targets.get(destination.target.0 as usize);
    let mut adjacency = Adjacency::new(destination, target, network);
    if adjacency.open
        && let Some(tunnel_header) = tunnel_header(services, destination, target, &adjacency)
    {
        adjacency.tunnel_header = match tunnel_headers.get_mut(place.wrapping_sub(1) as usize) {
            Some(there) => {
                *there = tunnel_header;
                place
            }
            None => {
                tunnel_headers.push(tunnel_header);
                tunnel_headers.len() as u32
            }
        };
    }
    adjacency
}

/// The headers of the tunnel to a destination, if one leads there that has the same for every packet.
fn tunnel_header(
    services: &Services,
    destination: &Destination,
    target: Option<&Target>,
    adjacency: &Adjacency,
) -> Option<TunnelHeader> {
    let Method::Tunnel(tunnel) = destination.method else { return None };
    let ipv6 = services.service(destination.service)?.name.is_ipv6();
    let outer =
        Outer { source: target?.source, target: destination.endpoint.address, tunnel, keep_df: false };
    let tunnel_header = TunnelHeader::new(&outer, ipv6, &adjacency.ether)?;
    let least = if matches!(outer.target, IpAddr::V4(_)) { MIN_MTU4 } else { MIN_MTU6 };
    (adjacency.mtu >= tunnel_header.overhead() + least).then_some(tunnel_header)
}

impl Adjacency {
    /// The lane to `destination`; one that is not open where the way is anything but plain.
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

    /// Where the headers of the tunnel to the destination are; nowhere if there are none.
    #[inline(always)]
    pub fn tunnel_header(&self) -> usize {
        self.tunnel_header.wrapping_sub(1) as usize
    }

    /// Whether the destination is configured.
    #[inline(always)]
    pub fn is_available(&self) -> bool {
        self.available
    }

    /// Whether packets can leave for the destination just so.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.open
    }
}

//! The ways of a connection's packets: to its destination by its method, and back to the client; spec 6.3 to 6.7.

use std::net::IpAddr;

use crate::config::adjacency::{MIN_MTU4, MIN_MTU6};
use crate::config::{HopId, NextHop, Policy, Target};
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Direction, Flags};
use crate::forward::Egress;
use crate::forward::encap::{self, Outer};
use crate::forward::rewrite::{self, Addresses, Rewrite};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::pipeline::{Decision, Pipeline};
use crate::service::{Destination, DestinationId, Method, Tunnel};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::{ipv4::Ipv4Hdr, view};

impl Pipeline {
    /// What the source and the destination of a connection's packets in one direction become.
    #[inline(always)]
    pub(crate) fn rewrite(&self, id: ConnId, direction: Direction) -> Rewrite {
        let (virtual_, destination) =
            (self.conns.address(id, Direction::Out), self.conns.address(id, Direction::In));
        Rewrite::new(self.conns.entry(id), direction, Addresses { virtual_, destination })
    }

    /// The way back to the client: looked up once for each generation of the network, then kept in the entry.
    #[inline]
    pub(crate) fn route_to_client(&mut self, id: ConnId) -> (NextHop, u16) {
        let (network, entry) = (&self.snapshot.network, self.conns.entry(id));
        if entry.client_hop_generation == network.generation
            && let Some(hop) = network.hop_at(HopId(entry.client_hop))
        {
            return (NextHop::Hop(HopId(entry.client_hop)), hop.mtu);
        }
        self.look_up_client_route(id)
    }

    #[cold]
    fn look_up_client_route(&mut self, id: ConnId) -> (NextHop, u16) {
        let Target { next, mtu, .. } = self.return_route(&self.conns.endpoints(id));
        let network = &self.snapshot.network;
        if let NextHop::Hop(hop) = next {
            // A route with an MTU of its own is looked up every time: the hop knows only the link's. So is one that
            // rules have a say in.
            let plain = network.hop_at(hop).is_some_and(|hop| hop.mtu == mtu) && network.rules.is_empty();
            let generation = if plain { network.generation } else { 0 };
            let entry = self.conns.entry_mut(id);
            (entry.client_hop, entry.client_hop_generation) = (hop.0, generation);
        }
        (next, mtu)
    }

    /// The way back of a connection with these ends. Translated replies are routed anew as if they began here, or keep
    /// the way they came by; spec 6.3.
    pub(crate) fn return_route(&self, ends: &Endpoints) -> Target {
        let from = if self.snapshot.settings.snat_reroute { ends.virtual_ } else { ends.destination };
        let policy = Policy { from: Some(from.address), fwmark: 0 };
        self.snapshot.network.target_by(ends.client.address, policy)
    }

    /// Sends a packet to the connection's destination by its method; spec 6.3, 6.4, 6.6, 6.7.
    #[inline(always)]
    pub(crate) fn route_to_destination<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        id: ConnId,
    ) -> Decision {
        let entry = self.conns.entry(id);
        let (number, flags) = (DestinationId(entry.destination), entry.flags);
        let snapshot = &self.snapshot;
        let Some(destination) = snapshot.services.destination(number) else {
            return self.without_destination(packet, parsed, flags);
        };
        let Some(target) = snapshot.target(destination.target) else {
            return Decision::Drop(DropReason::NoRoute);
        };
        let (next, mtu) = (target.next, target.mtu);
        let local = next.stays_here();
        if next == NextHop::Kernel && !flags.has(Flags::NAT) {
            // The kernel would take it for its own: the virtual address still stands in it.
            return Decision::Drop(DropReason::NoRoute);
        }
        if !local && rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return ttl_exceeded(parsed);
        }
        if flags.has(Flags::TUNNEL) && !local {
            let mtu = self.pmtu.of(destination.target, mtu);
            let outer = self.outer(destination, target.source, parsed);
            return self.tunnel(packet, parsed, outer, (next, mtu));
        }
        let ipv6 = parsed.is_ipv6();
        if parsed.kind == Kind::Ipsec && ipv6 && self.is_dropped_by_linux_6_1(parsed) {
            return Decision::Drop(DropReason::AhLikeLinux);
        }
        if !local && let Some(decision) = too_big(packet.bytes(), parsed, mtu) {
            rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
            return decision;
        }
        if flags.has(Flags::NAT) {
            if parsed.kind == Kind::TruncatedL4 {
                return Decision::Drop(DropReason::Untranslatable);
            }
            if parsed.is_error() {
                let rewrite = self.rewrite(id, Direction::In);
                crate::icmp::translate(packet.bytes_mut(), parsed, &rewrite);
            } else {
                self.translate(packet.bytes_mut(), parsed, id, Direction::In);
            }
        }
        if !local {
            rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        }
        Decision::Forward(Egress { l3: parsed.l3, ipv6, next, mtu })
    }

    /// Linux 6.1 finds the connection of AH over IPv6 and then loses the packet.
    #[cold]
    fn is_dropped_by_linux_6_1(&self, parsed: &Parsed) -> bool {
        self.snapshot.settings.like_linux_6_1 && parsed.protocol == crate::wire::protocol::AH
    }

    /// A packet of a bypass goes where it is addressed; spec 6.5.
    #[cold]
    fn without_destination<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, flags: Flags) -> Decision {
        if !flags.has(Flags::BYPASS) {
            return Decision::Drop(DropReason::DestinationGone);
        }
        let target = self.snapshot.network.target(parsed.ends(packet.bytes()).1);
        if target.next.stays_here() {
            return Decision::ToKernel;
        }
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return ttl_exceeded(parsed);
        }
        let refused = too_big(packet.bytes(), parsed, target.mtu);
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, parsed.is_ipv6());
        let egress = Egress { l3: parsed.l3, ipv6: parsed.is_ipv6(), next: target.next, mtu: target.mtu };
        refused.unwrap_or(Decision::Forward(egress))
    }

    /// The headers around a packet to a destination that a tunnel leads to, and the hash of the flow that they show.
    #[inline]
    pub(crate) fn outer(&self, destination: &Destination, source: IpAddr, parsed: &Parsed) -> (Outer, u64) {
        let (target, tunnel) = (destination.endpoint.address, tunnel_kind(destination));
        // Only GUE shows the flow outside.
        let flow = match tunnel {
            Tunnel::Gue { .. } => self.steering.seed.hash(&parsed.key),
            Tunnel::Ipip | Tunnel::Gre { .. } => 0,
        };
        (Outer { source, target, tunnel, keep_df: self.snapshot.settings.pmtu_disc }, flow)
    }

    #[inline(never)]
    fn tunnel<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        (outer, flow): (Outer, u64),
        (next, link_mtu): (NextHop, u16),
    ) -> Decision {
        let ipv6 = parsed.is_ipv6();
        let mtu = link_mtu.saturating_sub(encap::overhead(outer.tunnel, &outer.target));
        if mtu < if outer.target.is_ipv4() { MIN_MTU4 } else { MIN_MTU6 } {
            return Decision::Drop(DropReason::TunnelMtu);
        }
        rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
        if let Some(decision) = too_big(packet.bytes(), parsed, mtu).filter(|_| ipv6 || outer.keep_df) {
            return decision;
        }
        if self.in_datagram {
            // Only a decision is wanted: each fragment gets headers of its own.
            return Decision::Forward(Egress { l3: parsed.l3, ipv6, next, mtu: link_mtu });
        }
        let place = (parsed.l3, ipv6, parsed.len);
        match encap::tunnel(packet, place, &outer, flow, &mut self.ip_id) {
            Ok(l3) => Decision::Forward(Egress { l3, ipv6: outer.target.is_ipv6(), next, mtu: link_mtu }),
            Err(why) => Decision::Drop(why),
        }
    }
}

/// The kind of tunnel is always the destination's own, also for connections that were made before it was edited.
pub(crate) fn tunnel_kind(destination: &Destination) -> Tunnel {
    match destination.method {
        Method::Tunnel(kind) => kind,
        _ => Tunnel::Ipip,
    }
}

/// The answer to a packet without hops left; none to an error.
pub(crate) fn ttl_exceeded(parsed: &Parsed) -> Decision {
    if parsed.is_error() {
        return Decision::Drop(DropReason::TtlOfError);
    }
    Decision::SendIcmp(Message::new(IcmpReason::TtlExceeded))
}

/// What becomes of a packet larger than `mtu`, if it is one that may not be fragmented.
#[inline]
pub(crate) fn too_big(frame: &[u8], parsed: &Parsed, mtu: u16) -> Option<Decision> {
    if parsed.len <= mtu {
        return None;
    }
    refuse_size(frame, parsed, mtu)
}

#[cold]
fn refuse_size(frame: &[u8], parsed: &Parsed, mtu: u16) -> Option<Decision> {
    let may_fragment =
        !parsed.is_ipv6() && view::<Ipv4Hdr>(frame, parsed.l3.into()).is_some_and(|ip| !ip.dont_fragment());
    // An error of IPv4 is not refused for its size; it leaves in pieces whatever it says.
    if may_fragment || parsed.is_error() && !parsed.is_ipv6() {
        return None;
    }
    Some(if parsed.is_error() {
        Decision::Drop(DropReason::TooBig)
    } else {
        Decision::SendIcmp(Message { mtu, ..Message::new(IcmpReason::FragmentationNeeded) })
    })
}

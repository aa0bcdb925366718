//! Routes of a connection's packets: to its destination by its method, and to the client; spec 6.3 to 6.7.

use crate::config::adjacency::{MIN_MTU4, MIN_MTU6};
use crate::config::{HopId, NextHop, Policy, Target};
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Direction, Flags};
use crate::forward::encap::{self, Outer};
use crate::forward::rewrite::{self, Addresses, Rewrite};
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::pipeline::Pipeline;
use crate::pipeline::outcome::{Decision, Flow, Forward, Transform, Transit};
use crate::service::{Destination, DestinationId, Method, Tunnel};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::{IpSpan, ipv4::Ipv4Hdr, view};

impl Pipeline {
    /// The rewrite of a flow's packets: what their source and destination become.
    pub(crate) fn rewrite_of(&self, flow: Flow) -> Rewrite {
        let Flow { id, direction } = flow;
        let (virtual_, destination) =
            (self.conns.address(id, Direction::Out), self.conns.address(id, Direction::In));
        Rewrite::new(self.conns.entry(id), direction, Addresses { virtual_, destination })
    }

    /// The route to the client: looked up once for each generation of the network, then cached in the entry.
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
            // The cached hop knows only its link's MTU and no policy rules, so a route that depends on either is looked up
            // every time.
            let plain = network.hop_at(hop).is_some_and(|hop| hop.mtu == mtu) && network.rules.is_empty();
            let generation = if plain { network.generation } else { 0 };
            let entry = self.conns.entry_mut(id);
            (entry.client_hop, entry.client_hop_generation) = (hop.0, generation);
        }
        (next, mtu)
    }

    /// The route of replies. With `snat_reroute` they are routed with the virtual address as their source, else with the
    /// destination's; spec 6.3.
    pub(crate) fn return_route(&self, ends: &Endpoints) -> Target {
        let from = if self.snapshot.settings.snat_reroute { ends.virtual_ } else { ends.destination };
        let policy = Policy { from: Some(from.address), fwmark: 0 };
        self.snapshot.network.target_with_policy(ends.client.address, policy)
    }

    /// Decides how a packet reaches its connection's destination; spec 6.3, 6.4, 6.6, 6.7.
    pub(crate) fn route_to_destination(&mut self, frame: &[u8], parsed: &Parsed, id: ConnId) -> Decision {
        let entry = self.conns.entry(id);
        let (number, flags) = (DestinationId(entry.destination), entry.flags);
        let record_route = parsed.options && !parsed.is_error();
        let Some(destination) = self.snapshot.services.destination(number) else {
            return self.route_without_destination(frame, parsed, flags);
        };
        let Some(target) = self.snapshot.target(destination.target) else {
            return Decision::Drop(DropReason::NoRoute);
        };
        let (next, mtu) = (target.next, target.mtu);
        let local = next.goes_to_kernel();
        if next == NextHop::Kernel && !flags.has(Flags::NAT) {
            // The kernel would deliver it locally: its destination is still the virtual address.
            return Decision::Drop(DropReason::NoRoute);
        }
        let transit = Transit { decrement_ttl: !local, record_route };
        if !local && rewrite::ttl(frame, parsed) <= 1 {
            return with_transit(ttl_exceeded(parsed), Transit { decrement_ttl: false, record_route });
        }
        if flags.has(Flags::TUNNEL) && !local {
            let headers = encap::overhead(tunnel_kind(destination), &destination.endpoint.address);
            let (to_ipv4, target) = (destination.endpoint.address.is_ipv4(), destination.target);
            let mtu = self.pmtu.of(target, mtu);
            let room = mtu.saturating_sub(headers);
            if let Some(refused) = self.refused_by_tunnel(frame, parsed, room, to_ipv4) {
                return with_transit(refused, transit);
            }
            return Decision::Forward(Forward { next, mtu, transit, transform: Transform::Tunnel });
        }
        if parsed.kind == Kind::Ipsec && parsed.is_ipv6() && self.is_dropped_by_linux_6_1(parsed) {
            return Decision::Drop(DropReason::AhLikeLinux);
        }
        if !local && let Some(refused) = too_big(frame, parsed, mtu) {
            return with_transit(refused, transit);
        }
        let nat = flags.has(Flags::NAT);
        if nat && parsed.kind == Kind::TruncatedL4 {
            return Decision::Drop(DropReason::Untranslatable);
        }
        let transform = if nat { Transform::Nat } else { Transform::None };
        Decision::Forward(Forward { next, mtu, transit, transform })
    }

    /// Why a packet cannot go through a tunnel that has `room` bytes for it.
    fn refused_by_tunnel(&self, frame: &[u8], parsed: &Parsed, room: u16, to_ipv4: bool) -> Option<Decision> {
        if room < if to_ipv4 { MIN_MTU4 } else { MIN_MTU6 } {
            return Some(Decision::Drop(DropReason::TunnelMtu));
        }
        let refuses = parsed.is_ipv6() || self.snapshot.settings.pmtu_disc;
        too_big(frame, parsed, room).filter(|_| refuses)
    }

    /// Linux 6.1 finds the connection of AH over IPv6 and then loses the packet.
    #[cold]
    fn is_dropped_by_linux_6_1(&self, parsed: &Parsed) -> bool {
        self.snapshot.settings.like_linux_6_1 && parsed.protocol == crate::wire::protocol::AH
    }

    /// A packet of a bypass connection goes to the address it carries; spec 6.5.
    #[cold]
    fn route_without_destination(&self, frame: &[u8], parsed: &Parsed, flags: Flags) -> Decision {
        if !flags.has(Flags::BYPASS) {
            return Decision::Drop(DropReason::DestinationGone);
        }
        let record_route = parsed.options && !parsed.is_error();
        let Target { next, mtu, .. } = self.snapshot.network.target(parsed.ends(frame).1);
        if next.goes_to_kernel() {
            let transit = Transit { decrement_ttl: false, record_route };
            return Decision::Forward(Forward { next, mtu, transit, transform: Transform::None });
        }
        if rewrite::ttl(frame, parsed) <= 1 {
            return with_transit(ttl_exceeded(parsed), Transit { decrement_ttl: false, record_route });
        }
        let transit = Transit { decrement_ttl: true, record_route };
        match too_big(frame, parsed, mtu) {
            Some(refused) => with_transit(refused, transit),
            None => Decision::Forward(Forward { next, mtu, transit, transform: Transform::None }),
        }
    }

    /// Puts the headers of the tunnel to a connection's destination in front of a packet or fragment. Returns where they
    /// start and whether they are IPv6. `parsed` is the whole packet's.
    ///
    /// # Errors
    /// When the destination is gone or the buffer has no room.
    pub(crate) fn encapsulate<P: Packet>(
        &mut self,
        packet: &mut P,
        inner: IpSpan,
        parsed: &Parsed,
        id: ConnId,
    ) -> Result<(u16, bool), DropReason> {
        let number = DestinationId(self.conns.entry(id).destination);
        let destination = self.snapshot.services.destination(number).ok_or(DropReason::DestinationGone)?;
        let source = self.snapshot.target(destination.target).ok_or(DropReason::NoRoute)?.source;
        let (target, tunnel) = (destination.endpoint.address, tunnel_kind(destination));
        // Only GUE shows the flow in its outer header.
        let flow = match tunnel {
            Tunnel::Gue { .. } => self.steering.seed.hash(&parsed.key),
            Tunnel::Ipip | Tunnel::Gre { .. } => 0,
        };
        let outer = Outer { source, target, tunnel, keep_df: self.snapshot.settings.pmtu_disc };
        let l3 = encap::tunnel(packet, inner, &outer, flow, &mut self.ip_id)?;
        Ok((l3, target.is_ipv6()))
    }

    /// Rewrites the ends of a packet of a NAT connection, or of an ICMP error about one.
    pub(crate) fn rewrite(&self, frame: &mut [u8], parsed: &Parsed, flow: Flow) {
        let rewrite = self.rewrite_of(flow);
        if parsed.is_error() {
            crate::icmp::translate(frame, parsed, &rewrite);
        } else {
            rewrite::apply(frame, parsed, &rewrite);
        }
    }
}

/// A refusal's ICMP error quotes the packet as routing left it.
fn with_transit(decision: Decision, transit: Transit) -> Decision {
    match decision {
        Decision::SendIcmp(message, _) => Decision::SendIcmp(message, transit),
        other => other,
    }
}

/// The kind of tunnel is always the destination's current one, even for connections made before it was edited.
pub(crate) fn tunnel_kind(destination: &Destination) -> Tunnel {
    match destination.method {
        Method::Tunnel(kind) => kind,
        _ => Tunnel::Ipip,
    }
}

/// The decision about a packet whose TTL has expired. ICMP errors are not answered.
pub(crate) fn ttl_exceeded(parsed: &Parsed) -> Decision {
    if parsed.is_error() {
        return Decision::Drop(DropReason::TtlOfError);
    }
    Decision::icmp(IcmpReason::TtlExceeded)
}

/// The decision about a packet that is larger than `mtu` and may not be fragmented; `None` for any other packet.
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
    // An ICMPv4 error is not refused for its size; it is fragmented even with DF.
    if may_fragment || parsed.is_error() && !parsed.is_ipv6() {
        return None;
    }
    Some(if parsed.is_error() {
        Decision::Drop(DropReason::TooBig)
    } else {
        let message = Message { mtu, ..Message::new(IcmpReason::FragmentationNeeded) };
        Decision::SendIcmp(message, Transit::default())
    })
}

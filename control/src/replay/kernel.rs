//! Checks packets that were passed to the kernel.
//!
//! The recording does not show which frames came from IPVS and which from the kernel's stack. If Pollux passes an input to
//! the kernel, this module computes what a *plain* stack, one without IPVS, does with the packet. The recorded frames must
//! be exactly that. So a balancer that passes everything to the kernel fails.

use std::fmt;
use std::net::IpAddr;

use super::balancer::Side;
use super::case::Output;
use super::diff;
use super::frames::{ETHER, Ip, ip_of_frame, protocol};
use super::topology::{device, is_local, is_own};
use crate::model::network::{MAIN, NetworkState, Route};

/// Reaction of a plain stack to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Forwards it with a decremented TTL.
    Routed,
    /// Answers with a TCP reset.
    Reset,
    /// Answers with ICMP port or protocol unreachable.
    Unreachable,
    /// Answers with an echo reply.
    EchoReply,
    /// Answers with ICMP time exceeded.
    TimeExceeded,
    /// Answers with ICMP fragmentation needed or packet too big.
    TooBig,
    /// No reaction.
    Silence,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expectation::Routed => "forward it",
            Expectation::Reset => "answer with a RST",
            Expectation::Unreachable => "answer with ICMP unreachable",
            Expectation::EchoReply => "answer with an echo reply",
            Expectation::TimeExceeded => "answer with ICMP time exceeded",
            Expectation::TooBig => "answer with ICMP packet too big",
            Expectation::Silence => "send nothing",
        })
    }
}

/// Checks the recorded frames of an input that Pollux passed to the kernel, and returns the number of frames from the
/// kernel. A fragmented datagram is checked when it is complete.
///
/// # Errors
/// An explanation, if the kernel cannot have sent these frames.
pub fn judge(
    input: &[u8],
    recorded: &[&Output],
    network_state: &NetworkState,
    translated: bool,
) -> Result<usize, String> {
    let Some(packet) = ip_of_frame(input) else { return Ok(recorded.len()) };
    let expectation = match plain_stack(&packet, network_state) {
        // A stack does not answer broadcast and multicast, except pings.
        Expectation::EchoReply if is_group(input) => Expectation::EchoReply,
        _ if is_group(input) || !is_ours(input, network_state) => Expectation::Silence,
        Expectation::Unreachable if recorded.is_empty() && may_have_handler(&packet) => Expectation::Silence,
        // IPVS on 6.1 computes a wrong checksum for ICMPv6 errors that it has to translate, and drops them.
        Expectation::Unreachable if translated && !packet.is_v4() => Expectation::Silence,
        other => other,
    };
    let fits = match (expectation, recorded) {
        (Expectation::Silence, []) => true,
        (Expectation::Silence, _) | (_, []) => false,
        (_, [output]) => is_that(expectation, &packet, output, network_state),
        _ => false,
    };
    if fits {
        return Ok(recorded.len());
    }
    let got = match recorded {
        [] => "nothing".to_owned(),
        some => some.iter().map(|o| diff::summary(&o.frame)).collect::<Vec<_>>().join("; "),
    };
    Err(format!("passed to the kernel, which without IPVS would {expectation}; recorded: {got}"))
}

/// Returns true if a plain stack would forward the packet.
pub fn would_route(frame: &[u8], network_state: &NetworkState) -> bool {
    ip_of_frame(frame).is_some_and(|packet| plain_stack(&packet, network_state) == Expectation::Routed)
}

/// The side of the route to the destination of a frame.
pub fn side_to(frame: &[u8], network_state: &NetworkState) -> Side {
    let route = ip_of_frame(frame).and_then(|packet| best_route(packet.destination, network_state));
    let link = route.and_then(|route| route.link.as_deref());
    Side::ALL.into_iter().find(|side| Some(device(*side)) == link).unwrap_or(Side::Client)
}

/// Computes the reaction of a stack without IPVS.
pub fn plain_stack(packet: &Ip<'_>, network_state: &NetworkState) -> Expectation {
    // A fragment waits for the rest of its datagram.
    if !packet.header_checksum_is_right() || packet.is_truncated() || packet.is_fragment() {
        return Expectation::Silence;
    }
    if is_martian(packet, network_state) {
        return Expectation::Silence;
    }
    if !is_local(network_state, packet.destination) {
        return routed(packet, network_state);
    }
    match packet.protocol {
        protocol::TCP if packet.payload().len() < 20 || !packet.l4_checksum_is_right() => {
            Expectation::Silence
        }
        protocol::TCP if is_reset(packet) => Expectation::Silence,
        protocol::TCP => Expectation::Reset,
        protocol::UDP if packet.payload().len() < 8 || !packet.l4_checksum_is_right() => Expectation::Silence,
        protocol::ICMP | protocol::ICMPV6 if !packet.l4_checksum_is_right() => Expectation::Silence,
        protocol::ICMP | protocol::ICMPV6 => match packet.icmp() {
            Some((8 | 128, _)) => Expectation::EchoReply,
            _ => Expectation::Silence,
        },
        // The handler of IPv6 in IPv6 drops packets that are too short.
        protocol::IPV6 if !packet.is_v4() && packet.payload().len() < 40 => Expectation::Silence,
        _ => Expectation::Unreachable,
    }
}

/// Returns true for broadcast and multicast frames.
fn is_group(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 1 == 1)
}

/// Returns true for frames to one of our links, broadcast and multicast.
fn is_ours(frame: &[u8], network_state: &NetworkState) -> bool {
    is_group(frame) || network_state.links.iter().any(|link| frame.get(..6) == Some(&link.mac.0))
}

/// Protocols for which the recorded kernel may have loaded a handler: IGMP, tunnels, AH, PIM, UDP-Lite. The recording does
/// not show the loaded modules.
fn may_have_handler(packet: &Ip<'_>) -> bool {
    let short_sctp = packet.protocol == protocol::SCTP && packet.payload().len() < 4;
    short_sctp || matches!(packet.protocol, 2 | 4 | 41 | protocol::GRE | 51 | 103 | 136)
}

/// Returns true if a stack drops the packet for its addresses. IPv4 also drops packets from its own addresses.
fn is_martian(packet: &Ip<'_>, network_state: &NetworkState) -> bool {
    let (from, to) = (packet.source, packet.destination);
    let invalid = |address: IpAddr| address.is_unspecified() || address.is_loopback();
    invalid(from)
        || invalid(to)
        || from.is_multicast()
        || match from {
            IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_broadcast() || is_local(network_state, from),
            IpAddr::V6(_) => false,
        }
}

/// Forwarding of a packet. ICMP errors cause no further ICMP errors.
fn routed(packet: &Ip<'_>, network_state: &NetworkState) -> Expectation {
    let about_error = packet.quoted().is_some();
    let dont_fragment = !packet.is_v4() || packet.bytes[6] & 0x40 != 0;
    let expected = match () {
        () if packet.ttl() <= 1 => Expectation::TimeExceeded,
        () if dont_fragment && packet.bytes.len() > mtu_to(packet.destination, network_state) => {
            Expectation::TooBig
        }
        () => return Expectation::Routed,
    };
    if about_error { Expectation::Silence } else { expected }
}

fn best_route(to: IpAddr, network_state: &NetworkState) -> Option<&Route> {
    let main =
        network_state.routes.iter().filter(|route| route.table == MAIN && route.destination.contains(&to));
    main.max_by_key(|route| route.destination.prefix_len())
}

/// MTU of the route to an address.
fn mtu_to(to: IpAddr, network_state: &NetworkState) -> usize {
    let Some(route) = best_route(to, network_state) else { return usize::MAX };
    let link = network_state.links.iter().find(|link| Some(&link.name) == route.link.as_ref());
    let mtu = route.mtu.into_iter().chain(link.map(|link| link.mtu)).min();
    mtu.map_or(usize::MAX, |mtu| mtu as usize)
}

fn is_that(expectation: Expectation, packet: &Ip<'_>, output: &Output, network_state: &NetworkState) -> bool {
    let Some(reply) = ip_of_frame(&output.frame) else { return false };
    let returned = (reply.source, reply.destination) == (packet.destination, packet.source);
    let ends = |ip: &Ip<'_>| (ip.source, ip.destination, ip.protocol);
    let quotes_packet = reply.quoted().is_some_and(|quoted| ends(&quoted) == ends(packet));
    match expectation {
        Expectation::Routed => is_routed(packet, output, network_state),
        Expectation::Reset => {
            let ports = packet.ports().map(|(from, to)| (to, from));
            returned && reply.protocol == protocol::TCP && is_reset(&reply) && reply.ports() == ports
        }
        Expectation::Unreachable => {
            // Port unreachable of either family, protocol unreachable, and ICMPv6's unknown next header.
            let kind = match reply.icmp() {
                // The recorded machine has a handler for GRE, which says that there is no tunnel.
                Some((3, 3)) | Some((1, 4)) => matches!(packet.protocol, protocol::UDP | protocol::GRE),
                Some((3, 2)) | Some((4, 1)) => packet.protocol != protocol::UDP,
                _ => false,
            };
            // IPv6 replies from an interface address if the destination is only routed here.
            let returned = returned || reply.destination == packet.source && is_own(reply.source);
            returned && kind && quotes_packet
        }
        Expectation::EchoReply => {
            let kind = if packet.is_v4() { 0 } else { 129 };
            let same = reply.payload().get(4..) == packet.payload().get(4..);
            returned && same && reply.icmp() == Some((kind, 0))
        }
        Expectation::TimeExceeded | Expectation::TooBig => {
            let kind = match (expectation, packet.is_v4()) {
                (Expectation::TimeExceeded, true) => (11, 0),
                (Expectation::TimeExceeded, false) => (3, 0),
                (_, true) => (3, 4),
                (_, false) => (2, 0),
            };
            reply.destination == packet.source && reply.icmp() == Some(kind) && quotes_packet
        }
        Expectation::Silence => false,
    }
}

/// The packet with a decremented TTL, sent from our MAC address on that side.
fn is_routed(packet: &Ip<'_>, output: &Output, network_state: &NetworkState) -> bool {
    let mut expected = packet.bytes.to_vec();
    if packet.ttl() <= 1 {
        return false;
    }
    if packet.is_v4() {
        expected[8] -= 1;
    } else {
        expected[7] -= 1;
    }
    let Some(sent) = ip_of_frame(&output.frame) else { return false };
    let mut got = sent.bytes.to_vec();
    if packet.is_v4() {
        expected[10..12].fill(0);
        got[10..12].fill(0);
    }
    let ours =
        network_state.links.iter().any(|l| l.port == output.side.name() && output.frame[6..12] == l.mac.0);
    let same_len = output.frame.len() == ETHER + sent.bytes.len();
    expected == got && sent.header_checksum_is_right() && ours && same_len
}

fn is_reset(packet: &Ip<'_>) -> bool {
    packet.payload().get(13).is_some_and(|flags| flags & 4 != 0)
}

//! Frames of clients and servers, with correct checksums.

use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, PacketBuilderStep};

use super::kinds::Family;
use super::world::{self, BEYOND, PORTS};

/// Bytes of Ethernet, IP and UDP headers.
fn headers(family: Family) -> usize {
    match family {
        Family::Ipv4 => 14 + 20 + 8,
        Family::Ipv6 => 14 + 40 + 8,
    }
}

/// A datagram from a flow's client to the service.
pub fn request(family: Family, flow: u32, len: usize) -> Vec<u8> {
    request_by(0, family, flow, len)
}

/// The same datagram to another of our ports.
pub fn request_by(port: usize, family: Family, flow: u32, len: usize) -> Vec<u8> {
    let ends = [world::client(family, flow), world::service(family)];
    udp([BEYOND[0], PORTS[port].mac], ends, len.saturating_sub(headers(family)))
}

/// A reply from the server that source hashing selects.
pub fn reply(family: Family, flow: u32, len: usize) -> Vec<u8> {
    let ends = [world::server(family, world::server_of(family, flow)), world::client(family, flow)];
    udp([BEYOND[1], PORTS[1].mac], ends, len.saturating_sub(headers(family)))
}

/// A TCP segment without payload from a flow's client or server, with the given SYN and ACK flags.
pub fn segment(family: Family, flow: u32, request: bool, [syn, ack]: [bool; 2]) -> Vec<u8> {
    let server = world::server(family, world::server_of(family, flow));
    let (macs, [from, to]) = if request {
        ([BEYOND[0], PORTS[0].mac], [world::client(family, flow), world::service(family)])
    } else {
        ([BEYOND[1], PORTS[1].mac], [server, world::client(family, flow)])
    };
    let mut step = ip(macs, from.ip(), to.ip()).tcp(from.port(), to.port(), 1, 4096);
    if syn {
        step = step.syn();
    }
    if ack {
        step = step.ack(1);
    }
    let mut bytes = Vec::with_capacity(60);
    // Writing to a vector cannot fail.
    let _ = step.write(&mut bytes, &[]);
    bytes
}

fn udp(macs: [[u8; 6]; 2], [from, to]: [SocketAddr; 2], payload: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload + 64);
    let step = ip(macs, from.ip(), to.ip()).udp(from.port(), to.port());
    // Writing to a vector cannot fail, and the payload is short enough.
    let _ = step.write(&mut bytes, &vec![0; payload]);
    bytes
}

/// Ethernet and IP headers of a packet.
pub fn ip(macs: [[u8; 6]; 2], from: IpAddr, to: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    let ethernet = PacketBuilder::ethernet2(macs[0], macs[1]);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (from, to) => ethernet.ipv6(octets(from), octets(to), 64),
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_asked() {
        assert_eq!(request(Family::Ipv4, 7, 60).len(), 60);
        assert_eq!(request(Family::Ipv6, 7, 60).len(), 62, "the least a UDP packet takes");
        assert_eq!(reply(Family::Ipv6, 7, 1514).len(), 1514);
    }

    #[test]
    fn a_reply_comes_from_where_the_request_went() {
        let (request, reply) = (request(Family::Ipv4, 9, 60), reply(Family::Ipv4, 9, 60));
        assert_eq!(request[26..30], reply[30..34]);
        assert_eq!(request[34..36], reply[36..38]);
    }
}

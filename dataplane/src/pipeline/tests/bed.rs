//! Builders for pipeline tests: a worker of the test kit, and packets by name.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use crate::flow::Endpoint;
pub(super) use crate::testkit::*;

impl Plan {
    /// Builds the worker.
    pub(super) fn build(self) -> Bed {
        self.bed().unwrap()
    }
}

/// TCP from one endpoint to another, in a frame from `mac` outside or inside, with these flags.
pub(super) fn tcp(from: Endpoint, to: Endpoint, flags: &str) -> Vec<u8> {
    tcp_with(from, to, flags, &[])
}

/// A TCP segment with data.
pub(super) fn tcp_with(from: Endpoint, to: Endpoint, flags: &str, data: &[u8]) -> Vec<u8> {
    let ether = between(from);
    let ip = match (from.address, to.address) {
        (IpAddr::V4(s), IpAddr::V4(d)) => ether.ipv4(s.octets(), d.octets(), 64),
        (IpAddr::V6(s), IpAddr::V6(d)) => ether.ipv6(s.octets(), d.octets(), 64),
        _ => panic!("mixed families"),
    };
    let mut tcp = ip.tcp(from.l4_port, to.l4_port, 1000, 1024);
    for flag in flags.chars() {
        tcp = match flag {
            'S' => tcp.syn(),
            'A' => tcp.ack(1),
            'F' => tcp.fin(),
            'R' => tcp.rst(),
            _ => tcp,
        };
    }
    let mut frame = Vec::new();
    tcp.write(&mut frame, data).unwrap();
    frame
}

/// The frame's header, by which side its sender is on.
fn between(from: Endpoint) -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    let inside = (0..10).any(|n| nth_server(n) == from);
    let (source, receiver) = if inside { (SERVER_MAC, SERVER_SIDE) } else { (ROUTER, CLIENT_SIDE) };
    PacketBuilder::ethernet2(source, receiver)
}

/// A UDP datagram.
pub(super) fn udp(from: Endpoint, to: Endpoint, data: &[u8]) -> Vec<u8> {
    let ether = between(from);
    let (IpAddr::V4(s), IpAddr::V4(d)) = (from.address, to.address) else { panic!("IPv4 only") };
    let mut frame = Vec::new();
    ether.ipv4(s.octets(), d.octets(), 64).udp(from.l4_port, to.l4_port).write(&mut frame, data).unwrap();
    frame
}

/// Sets one byte and corrects the IPv4 header checksum.
pub(super) fn with_byte(mut frame: Vec<u8>, place: usize, value: u8) -> Vec<u8> {
    frame[place] = value;
    crate::wire::ipv4::fill_checksum(&mut frame[14..]);
    frame
}

/// An ICMP error of this type and code about `quoted`, from a router outside.
pub(super) fn error_about(quoted: &[u8], to: IpAddr, kind: u8, code: u8) -> Vec<u8> {
    let IpAddr::V4(to) = to else { panic!("IPv4 only") };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER, CLIENT_SIDE)
        .ipv4([203, 0, 113, 1], to.octets(), 64)
        .icmpv4_raw(kind, code, [0; 4])
        .write(&mut frame, &quoted[14..])
        .unwrap();
    frame
}

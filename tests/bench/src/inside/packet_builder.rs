//! Builds packets of flows from a template: it copies the template, sets the client's endpoint and updates two checksums.

use super::buffer::{Buffer, Notification};
use crate::frame;
use crate::kinds::Family;
use crate::world;

/// Kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A datagram from the client.
    Request,
    /// A datagram from the server that source hashing selects.
    Reply,
    /// A SYN from the client.
    Syn,
    /// A SYN ACK from the server.
    SynAck,
    /// An ACK from the client.
    Ack,
    /// An ACK from the server.
    ServerAck,
}

/// A frame of flow 0, and the offsets at which other flows differ.
pub struct PacketBuilder {
    family: Family,
    frame: Vec<u8>,
    /// Offset of the last four bytes of the client's address.
    client: usize,
    /// Offset of the client's L4 port.
    port: usize,
    /// Offset of the last byte of the server's address, in packets from there.
    server: Option<usize>,
    /// Offset and sum of the IP header checksum, if there is one.
    ip: Option<(usize, u32)>,
    /// Offset and sum of the transport checksum.
    transport: (usize, u32),
}

impl PacketBuilder {
    /// A builder of 64-byte frames.
    pub fn new(family: Family, kind: Kind) -> PacketBuilder {
        let (request, udp) = match kind {
            Kind::Request => (true, true),
            Kind::Reply => (false, true),
            Kind::Syn | Kind::Ack => (true, false),
            Kind::SynAck | Kind::ServerAck => (false, false),
        };
        let frame = match kind {
            Kind::Request => frame::request(family, 0, 60),
            Kind::Reply => frame::reply(family, 0, 60),
            Kind::Syn => frame::segment(family, 0, request, [true, false]),
            Kind::SynAck => frame::segment(family, 0, request, [true, true]),
            Kind::Ack | Kind::ServerAck => frame::segment(family, 0, request, [false, true]),
        };
        let (source_end, target_end, transport) = match family {
            Family::Ipv4 => (14 + 16, 14 + 20, 14 + 20),
            Family::Ipv6 => (14 + 24, 14 + 40, 14 + 40),
        };
        let sum = |at: usize| (at, u32::from(!u16::from_be_bytes([frame[at], frame[at + 1]])));
        let ip = (family == Family::Ipv4).then(|| sum(14 + 10));
        let transport_sum = sum(transport + if udp { 6 } else { 16 });
        let client = if request { source_end } else { target_end } - 4;
        let server = (!request).then_some(source_end - 1);
        let port = transport + if request { 0 } else { 2 };
        PacketBuilder { family, client, port, server, ip, transport: transport_sum, frame }
    }

    /// Writes the packet of a flow.
    #[inline]
    pub fn write(&self, buffer: &mut Buffer, flow: u32, note: Notification) {
        let bytes = buffer.fill(&self.frame, note);
        let port = world::client_port(flow);
        let mut change = (flow >> 16) + (flow & 0xffff);
        // The template's address has zeros where the flow number goes.
        for (byte, of_flow) in bytes[self.client..self.client + 4].iter_mut().zip(flow.to_be_bytes()) {
            *byte |= of_flow;
        }
        bytes[self.port..self.port + 2].copy_from_slice(&port.to_be_bytes());
        if let Some(server) = self.server {
            let (first, own) = (world::server_of(self.family, 0), world::server_of(self.family, flow));
            bytes[server] = bytes[server] + own - first;
            // In one's complement, subtracting means adding the complement.
            change += u32::from(own) + u32::from(!u16::from(first));
        }
        if let Some((at, sum)) = self.ip {
            bytes[at..at + 2].copy_from_slice(&fold(sum + change).to_be_bytes());
        }
        let (at, sum) = self.transport;
        let change = change + u32::from(port) + u32::from(!world::client_port(0));
        bytes[at..at + 2].copy_from_slice(&fold(sum + change).to_be_bytes());
    }
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use pollux_dataplane::packet::Packet;

    use super::*;
    use crate::inside::buffer::Pool;

    #[test]
    fn datagrams_are_those_of_the_files() {
        let mut buffer = Pool::new().take();
        for family in [Family::Ipv4, Family::Ipv6] {
            for flow in [0, 1, 77, 65_535, 65_536, 999_999, 9_999_999] {
                PacketBuilder::new(family, Kind::Request).write(&mut buffer, flow, Notification::default());
                assert_eq!(buffer.bytes(), frame::request(family, flow, 60), "{flow}");
                PacketBuilder::new(family, Kind::Reply).write(&mut buffer, flow, Notification::default());
                assert_eq!(buffer.bytes(), frame::reply(family, flow, 60), "{flow}");
            }
        }
    }

    #[test]
    fn segments_have_right_sums() {
        let mut buffer = Pool::new().take();
        for (kind, request, flags) in [(Kind::Syn, true, [true, false]), (Kind::SynAck, false, [true, true])]
        {
            PacketBuilder::new(Family::Ipv4, kind).write(&mut buffer, 200_000_000, Notification::default());
            assert_eq!(buffer.bytes(), frame::segment(Family::Ipv4, 200_000_000, request, flags));
        }
    }
}

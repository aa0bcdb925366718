//! A frame parser for masks, rules and reports, independent of the data plane's parser, so that a bug there is not repeated
//! here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pollux_dataplane::wire::ether;
pub use pollux_dataplane::wire::ether::LEN as ETHER;
pub use pollux_dataplane::wire::ipv6::FRAGMENT;
pub use pollux_dataplane::wire::protocol;

/// A parsed IP packet.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    /// The packet, up to the length in its header.
    pub bytes: &'a [u8],
    /// Offset of the payload: the header and its extension headers.
    pub header: usize,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
}

/// The IP packet in a frame.
pub fn ip_of_frame(frame: &[u8]) -> Option<Ip<'_>> {
    match u16_at(frame, 12)? {
        ether::IPV4 | ether::IPV6 => ip(frame.get(ETHER..)?),
        _ => None,
    }
}

/// Protocol and offset of an IPv6 payload, after hop-by-hop, routing and destination options headers.
fn after_extensions(bytes: &[u8]) -> (u8, usize) {
    let (mut protocol, mut at) = (bytes[6], 40);
    while let (0 | 43 | 60, Some(&next), Some(&words)) = (protocol, bytes.get(at), bytes.get(at + 1)) {
        let end = at + (usize::from(words) + 1) * 8;
        if end > bytes.len() {
            break;
        }
        (protocol, at) = (next, end);
    }
    (protocol, at)
}

/// Parses an IP packet, which may be truncated.
pub fn ip(bytes: &[u8]) -> Option<Ip<'_>> {
    match bytes.first()? >> 4 {
        4 if bytes.len() >= 20 => {
            // A header length below the minimum is read as the minimum.
            let header = (usize::from(bytes[0] & 15) * 4).max(20);
            let end = usize::from(u16_at(bytes, 2)?).clamp(header.min(bytes.len()), bytes.len());
            let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
            let (source, destination) = (address(12)?.into(), address(16)?.into());
            Some(Ip { bytes: &bytes[..end], header, protocol: bytes[9], source, destination })
        }
        6 if bytes.len() >= 40 => {
            let end = (40 + usize::from(u16_at(bytes, 4)?)).min(bytes.len());
            let address =
                |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?));
            let (source, destination) = (address(8)?.into(), address(24)?.into());
            let (protocol, header) = after_extensions(&bytes[..end]);
            Some(Ip { bytes: &bytes[..end], header, protocol, source, destination })
        }
        _ => None,
    }
}

impl<'a> Ip<'a> {
    /// The payload after the IP header.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.header..).unwrap_or_default()
    }

    /// Returns true for IPv4.
    pub fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Returns true for a fragment.
    pub fn is_fragment(&self) -> bool {
        match self.is_v4() {
            true => u16_at(self.bytes, 6).is_some_and(|f| f & 0x3fff != 0),
            false => self.protocol == FRAGMENT,
        }
    }

    /// TTL or hop limit.
    pub fn ttl(&self) -> u8 {
        self.bytes[if self.is_v4() { 8 } else { 7 }]
    }

    /// ICMP type and code.
    pub fn icmp(&self) -> Option<(u8, u8)> {
        let own = if self.is_v4() { protocol::ICMP } else { protocol::ICMPV6 };
        let payload = self.payload();
        (self.protocol == own && payload.len() >= 8).then(|| (payload[0], payload[1]))
    }

    /// The packet quoted by an ICMP error.
    pub fn quoted(&self) -> Option<Ip<'a>> {
        let (kind, _) = self.icmp()?;
        let error = if self.is_v4() { matches!(kind, 3 | 4 | 5 | 11 | 12) } else { kind < 128 };
        if error { ip(self.payload().get(8..)?) } else { None }
    }

    /// Source and destination port of TCP and UDP.
    pub fn ports(&self) -> Option<(u16, u16)> {
        let known = matches!(self.protocol, protocol::TCP | protocol::UDP);
        if known { Some((u16_at(self.payload(), 0)?, u16_at(self.payload(), 2)?)) } else { None }
    }

    /// Returns true if the checksum of TCP, UDP or ICMP is right, or if there is none.
    pub fn l4_checksum_is_right(&self) -> bool {
        let payload = self.payload();
        let no_sum = self.protocol == protocol::UDP && self.is_v4() && u16_at(payload, 6) == Some(0);
        if self.protocol == protocol::ICMP && self.is_v4() {
            return sum(0, payload) == 0xffff;
        }
        if no_sum || !matches!(self.protocol, protocol::TCP | protocol::UDP | protocol::ICMPV6) {
            return true;
        }
        let addresses = if self.is_v4() { &self.bytes[12..20] } else { &self.bytes[8..40] };
        let pseudo = u64::from(self.protocol) + payload.len() as u64;
        sum(sum(pseudo, addresses), payload) == 0xffff
    }

    /// Returns true if the packet is truncated.
    pub fn is_truncated(&self) -> bool {
        let stated = if self.is_v4() { u16_at(self.bytes, 2) } else { u16_at(self.bytes, 4) };
        let stated = usize::from(stated.unwrap_or(0)) + if self.is_v4() { 0 } else { 40 };
        stated > self.bytes.len()
    }

    /// Returns true if the IPv4 header checksum is right, and for IPv6.
    pub fn header_checksum_is_right(&self) -> bool {
        !self.is_v4() || self.bytes.get(..self.header).is_some_and(|header| sum(0, header) == 0xffff)
    }
}

/// The packet inside a tunnel: IP in IP, GRE, or GUE on any port.
pub fn tunnelled<'a>(packet: &Ip<'a>) -> Option<Ip<'a>> {
    let payload = packet.payload();
    match packet.protocol {
        protocol::IPV4 | protocol::IPV6 => ip(payload),
        protocol::GRE => {
            let (flags, kind) = (*payload.first()?, u16_at(payload, 2)?);
            let sum = if flags & 0x80 != 0 { 4 } else { 0 };
            if matches!(kind, ether::IPV4 | ether::IPV6) { ip(payload.get(4 + sum..)?) } else { None }
        }
        protocol::UDP => {
            // The length of GUE's options, in words; version and control bit are 0.
            let (first, kind) = (*payload.get(8)?, *payload.get(9)?);
            let known = first & 0xe0 == 0 && matches!(kind, protocol::IPV4 | protocol::IPV6);
            if known { ip(payload.get(12 + usize::from(first) * 4..)?) } else { None }
        }
        _ => None,
    }
}

/// Computes the checksum of an IPv4 header whose checksum field is 0.
pub fn header_checksum(header: &[u8]) -> u16 {
    !(sum(0, header) as u16)
}

/// Writes the correct checksums of the IPv4 header and of TCP, UDP or ICMP.
pub fn fill_checksums(frame: &mut [u8]) {
    let Some(packet) = ip_of_frame(frame) else { return };
    let (is_v4, header, end) = (packet.is_v4(), packet.header, packet.bytes.len());
    let at = match packet.protocol {
        protocol::TCP => 16,
        protocol::UDP => 6,
        protocol::ICMP | protocol::ICMPV6 => 2,
        _ => return,
    };
    let addresses = if is_v4 { &packet.bytes[12..20] } else { &packet.bytes[8..40] };
    let pseudo = match packet.protocol {
        protocol::ICMP => 0,
        number => sum(u64::from(number) + (end - header) as u64, addresses),
    };
    let bytes = &mut frame[ETHER..ETHER + end];
    if is_v4 {
        bytes[10..12].fill(0);
        let right = header_checksum(&bytes[..header]);
        bytes[10..12].copy_from_slice(&right.to_be_bytes());
    }
    if let Some(field) = bytes.get_mut(header + at..header + at + 2) {
        field.fill(0);
        let right = !(sum(pseudo, &bytes[header..]) as u16);
        bytes[header + at..header + at + 2].copy_from_slice(&right.to_be_bytes());
    }
}

/// The folded one's complement sum of `bytes` on top of `start`.
fn sum(start: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    let mut total = start + words.sum::<u64>();
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total
}

/// Sets a field of the IP packet in a frame to zero; fields beyond the end are ignored.
pub fn blank(frame: &mut [u8], at: usize, len: usize) {
    if let Some(field) = frame.get_mut(ETHER + at..ETHER + at + len) {
        field.fill(0);
    }
}

/// A number in network byte order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

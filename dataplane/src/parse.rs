//! Parsing: from the bytes of a frame to the positions of its headers and the flow it belongs to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cpu::{Cpu, Head4, Head6};
use crate::flow::{self, Endpoint, Key, Key4, Key6, Ports};
use crate::verdict::DropReason;
use crate::wire::{
    IpSpan,
    ether::{self, EtherHdr, VlanTag},
    gre, gue,
    icmp::{self, IcmpHdr},
    ipv4::{self, Ipv4Hdr},
    ipv6::{self, Ipv6Hdr},
    protocol, sctp, tcp, udp, view,
};

/// Kinds of packets that a load balancer treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP, UDP or SCTP with a whole transport header; [`Parsed::key`] is its flow.
    Flow,
    /// TCP, UDP or SCTP with a truncated transport header: it opens no connection and cannot be rewritten.
    TruncatedL4,
    /// AH or ESP; [`Parsed::key`] is that of the key exchange between the same addresses, UDP from port 500 to port 500.
    Ipsec,
    /// An ICMP error; [`Parsed::key`] is the flow of the packet it quotes, in the quoted direction.
    IcmpError,
    /// An ICMP error that quotes IP in IP or GRE: it may be about a tunnel packet of ours.
    TunnelError,
    /// A fragment of TCP, UDP, SCTP or ICMP; [`Parsed::key`] has its addresses and no ports.
    Fragment,
    /// Anything else.
    Other,
}

/// Positions of the headers in a frame, in bytes from its start, and the flow it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Parsed {
    /// The flow.
    pub key: Key,
    /// The kind of packet.
    pub kind: Kind,
    /// Start of the IP header.
    pub l3: u16,
    /// Start of the header after it.
    pub l4: u16,
    /// Bytes of the IP packet, its header included.
    pub len: u16,
    /// TCP flags of a TCP flow.
    pub tcp_flags: u8,
    /// TCP flags for the state machine, read where they are without extension headers, as IPVS does.
    pub state_flags: u8,
    /// Protocol number of the packet. That of the key may be that of a quoted packet, or UDP for IPsec.
    pub protocol: u8,
    /// True if the IPv4 header has options.
    pub options: bool,
    /// VLAN of the received frame; 0 for none.
    pub vlan: u16,
    /// Start of the quoted packet's IP header, for ICMP errors.
    pub quoted_l3: u16,
    /// Start of the quoted packet's transport header.
    pub quoted_l4: u16,
    /// True if the quoted packet has ports: it is TCP, UDP or SCTP, not AH or ESP.
    pub ports_quoted: bool,
}

/// In [`Parsed::tcp_flags`]: an SCTP packet without a whole chunk header, which opens no connection.
pub const NO_CHUNK: u8 = 0x80;

/// Ports of ISAKMP. AH and ESP belong to its connection; spec 5.6.
const KEY_EXCHANGE: Ports = Ports::new(500, 500);

impl Parsed {
    /// True for IPv6.
    #[inline]
    pub fn is_ipv6(&self) -> bool {
        matches!(self.key, Key::V6(_))
    }

    /// Position of the packet in its frame.
    pub fn span(&self) -> IpSpan {
        IpSpan { l3: self.l3, ipv6: self.is_ipv6(), len: self.len }
    }

    /// End of the packet in its frame, as its header says. [`Parsed::len`] may be that of its longest fragment.
    pub fn end(&self, frame: &[u8]) -> Option<usize> {
        let l3 = usize::from(self.l3);
        let len = match self.key {
            Key::V4(_) => view::<Ipv4Hdr>(frame, l3)?.len.get().into(),
            Key::V6(_) => ipv6::LEN + usize::from(view::<Ipv6Hdr>(frame, l3)?.len.get()),
        };
        Some(l3 + len)
    }

    /// True for an ICMP error.
    #[inline]
    pub fn is_error(&self) -> bool {
        matches!(self.kind, Kind::IcmpError | Kind::TunnelError)
    }

    /// Source and destination of the packet itself, also if the key is that of a packet it quotes.
    pub fn ends(&self, frame: &[u8]) -> (IpAddr, IpAddr) {
        let at = usize::from(self.l3);
        if self.is_ipv6() {
            let ip = view::<Ipv6Hdr>(frame, at);
            ip.map_or((Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()), |ip| {
                (Ipv6Addr::from_bits(ip.src.get()).into(), Ipv6Addr::from_bits(ip.dst.get()).into())
            })
        } else {
            let ip = view::<Ipv4Hdr>(frame, at);
            ip.map_or((Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()), |ip| {
                (Ipv4Addr::from_bits(ip.src.get()).into(), Ipv4Addr::from_bits(ip.dst.get()).into())
            })
        }
    }

    /// The key of the packet itself, without ports, also if [`Parsed::key`] is that of a packet it quotes.
    pub fn outer_key(&self, frame: &[u8]) -> Key {
        let (src, dst) = self.ends(frame);
        let end = |address| Endpoint { address, l4_port: 0 };
        Key::between(end(src), end(dst), self.protocol).unwrap_or(self.key)
    }

    /// The packet that an error quotes, as far as it is quoted, in place of the error.
    pub fn quoted(&self) -> Parsed {
        let len = self.len.saturating_sub(self.quoted_l3 - self.l3);
        Parsed {
            kind: Kind::Flow,
            l3: self.quoted_l3,
            l4: self.quoted_l4,
            len,
            protocol: self.key.protocol(),
            ..*self
        }
    }

    /// An empty value to initialize arrays with.
    pub const NOTHING: Parsed = Parsed {
        key: Key::V4(Key4::NONE),
        kind: Kind::Other,
        l3: 0,
        l4: 0,
        len: 0,
        tcp_flags: 0,
        state_flags: 0,
        protocol: 0,
        options: false,
        vlan: 0,
        quoted_l3: 0,
        quoted_l4: 0,
        ports_quoted: false,
    };
}

/// A plain packet, as nearly all are: untagged, without IP options or extension headers, not fragmented, with a whole TCP
/// or UDP header.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Bytes of the IP packet, its header included.
    pub len: u16,
    /// TCP flags of a TCP segment.
    pub tcp_flags: u8,
    /// Protocol number.
    pub protocol: u8,
}

impl Plain {
    /// An empty value to initialize arrays with.
    pub const NOTHING: Plain = Plain { len: 0, tcp_flags: 0, protocol: 0 };

    /// Reads a plain frame of IPv4 that begins as `start` says. Returns `None` for any other.
    #[inline(always)]
    pub fn read<C: Cpu>(cpu: C, frame: &[u8], start: C::Start) -> Option<(Plain, Key4)> {
        let head: &Head4 = zerocopy::transmute_ref!(frame.first_chunk::<{ size_of::<Head4>() }>()?);
        let (protocol, len) = (head.ip.protocol, head.ip.len.get());
        if !ipv4::fixed_checksum_is_right(&head.ip) || !cpu.is_plain(head, start) {
            return None;
        }
        let (headers, tcp_flags) = headers(frame, protocol, ether::LEN + ipv4::LEN)?;
        if usize::from(len) < ipv4::LEN + headers || frame.len() - ether::LEN < usize::from(len) {
            return None;
        }
        Some((Plain { len, tcp_flags, protocol }, cpu.key(head)))
    }

    /// Reads a plain frame of IPv6 that begins as `start` says. Returns `None` for any other.
    #[inline(always)]
    pub fn read6<C: Cpu>(cpu: C, frame: &[u8], start: C::Start) -> Option<(Plain, Key6)> {
        let head: &Head6 = zerocopy::transmute_ref!(frame.first_chunk::<{ size_of::<Head6>() }>()?);
        let (ip, protocol) = (&head.ip, head.ip.next);
        if !cpu.is_plain6(head, start) {
            return None;
        }
        let len = ipv6::LEN + usize::from(ip.len.get());
        let (headers, tcp_flags) = headers(frame, protocol, ether::LEN + ipv6::LEN)?;
        if len < ipv6::LEN + headers || frame.len() - ether::LEN < len || len > usize::from(u16::MAX) {
            return None;
        }
        let mut rest = Key4::between(head.l4_ports);
        rest.protocol = protocol ^ flow::IPV6;
        let key = Key6 { addresses: [ip.dst, ip.src], rest };
        Some((Plain { len: len as u16, tcp_flags, protocol }, key))
    }

    /// The packet in the form that the slow path uses.
    pub fn parsed(&self, key: Key) -> Parsed {
        let header = if matches!(key, Key::V4(_)) { ipv4::LEN } else { ipv6::LEN };
        Parsed {
            key,
            kind: Kind::Flow,
            l3: ether::LEN as u16,
            l4: (ether::LEN + header) as u16,
            len: self.len,
            tcp_flags: self.tcp_flags,
            state_flags: self.tcp_flags,
            protocol: self.protocol,
            ..Parsed::NOTHING
        }
    }
}

/// Least bytes of a transport header of this protocol, and the flags of a TCP segment. Returns `None` if packets of this
/// protocol are never plain.
#[inline(always)]
fn headers(frame: &[u8], protocol: u8, l4: usize) -> Option<(usize, u8)> {
    match protocol {
        protocol::UDP => Some((udp::LEN, 0)),
        protocol::TCP => Some((tcp::LEN, *frame.get(l4 + 13)?)),
        _ => None,
    }
}

/// Reads the headers of `frame` into `parsed`, whoever it is for.
///
/// The result is written in place: it is larger than a cache line, and moving it costs as much as reading a header.
///
/// # Errors
/// The reason to drop a frame that is malformed.
pub fn parse(frame: &[u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    parsed.kind = Kind::Other;
    parsed.tcp_flags = 0;
    parsed.vlan = 0;
    let eth: &EtherHdr = view(frame, 0).ok_or(DropReason::ShortEther)?;
    match eth.kind.get() {
        ether::IPV4 => parse4(frame, ether::LEN, parsed),
        ether::IPV6 => parse6(frame, ether::LEN, parsed),
        ether::VLAN => tagged(frame, parsed),
        _ => Ok(()),
    }
}

fn tagged(frame: &[u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    let tag: &VlanTag = view(frame, ether::LEN).ok_or(DropReason::ShortEther)?;
    parsed.vlan = tag.vlan();
    match tag.kind.get() {
        ether::IPV4 => parse4(frame, ether::TAGGED_LEN, parsed),
        ether::IPV6 => parse6(frame, ether::TAGGED_LEN, parsed),
        _ => Ok(()),
    }
}

#[inline]
fn parse4(frame: &[u8], l3: usize, parsed: &mut Parsed) -> Result<(), DropReason> {
    let ip: &Ipv4Hdr = view(frame, l3).ok_or(DropReason::ShortIp)?;
    let (header_len, len) = (ip.header_len(), usize::from(ip.len.get()));
    if ip.version_ihl >> 4 != 4 || header_len < ipv4::LEN {
        return Err(DropReason::BadIpHeader);
    }
    if len < header_len || frame.len() < l3 + len {
        return Err(DropReason::ShortIp);
    }
    if !ipv4::checksum_is_right(&frame[l3..l3 + header_len]) {
        return Err(DropReason::BadIpChecksum);
    }
    parsed.options = header_len > ipv4::LEN;
    let l4 = l3 + header_len;
    (parsed.l3, parsed.l4, parsed.len) = (l3 as u16, l4 as u16, len as u16);
    let packet = &frame[..l3 + len];
    let mut key = Key4::new(ip.src.get(), ip.dst.get(), Ports(0), ip.protocol);
    parsed.protocol = ip.protocol;
    match ip.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP | protocol::ICMP if ip.is_fragment() => {
            parsed.kind = Kind::Fragment;
        }
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            key.set_ports(transport(packet, ip.protocol, parsed));
        }
        protocol::ESP | protocol::AH => {
            parsed.kind = Kind::Ipsec;
            key.protocol = protocol::UDP;
            key.set_ports(KEY_EXCHANGE);
        }
        protocol::ICMP => {
            parsed.key = Key::V4(key);
            return icmp_error4(packet, parsed);
        }
        _ => {}
    }
    parsed.key = Key::V4(key);
    Ok(())
}

fn parse6(frame: &[u8], l3: usize, parsed: &mut Parsed) -> Result<(), DropReason> {
    let ip: &Ipv6Hdr = view(frame, l3).ok_or(DropReason::ShortIp)?;
    let len = usize::from(ip.len.get()) + ipv6::LEN;
    if ip.version_class_flow.get() >> 28 != 6 {
        return Err(DropReason::BadIpHeader);
    }
    if frame.len() < l3 + len || len > usize::from(u16::MAX) {
        return Err(DropReason::ShortIp);
    }
    parsed.options = false;
    let packet = &frame[..l3 + len];
    let payload = ipv6::payload(&packet[l3..], ip.next).ok_or(DropReason::ShortIp)?;
    (parsed.l3, parsed.l4, parsed.len) = (l3 as u16, (l3 + payload.at) as u16, len as u16);
    let (src, dst) = (ip.src.get(), ip.dst.get());
    let mut key = Key6::new(src, dst, Ports(0), payload.protocol);
    parsed.protocol = payload.protocol;
    match payload.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            key.rest.set_ports(transport(packet, payload.protocol, parsed));
            if payload.at != ipv6::LEN {
                // Spec 5.2: the TCP header is looked for directly behind the fixed IPv6 header.
                parsed.state_flags = packet.get(l3 + ipv6::LEN + 13).copied().unwrap_or(0);
            }
        }
        protocol::ESP | protocol::AH => {
            parsed.kind = Kind::Ipsec;
            key.set_protocol(protocol::UDP);
            key.rest.set_ports(KEY_EXCHANGE);
        }
        protocol::ICMPV6 => {
            parsed.key = Key::V6(key);
            return icmp_error6(packet, parsed);
        }
        ipv6::FRAGMENT => parsed.kind = Kind::Fragment,
        _ => {}
    }
    parsed.key = Key::V6(key);
    Ok(())
}

#[inline(always)]
fn transport(packet: &[u8], protocol: u8, parsed: &mut Parsed) -> Ports {
    parsed.kind = Kind::Flow;
    let l4 = usize::from(parsed.l4);
    if protocol == protocol::TCP {
        let Some(tcp) = view::<tcp::TcpHdr>(packet, l4) else { return truncated_l4(packet, parsed) };
        parsed.tcp_flags = tcp.flags;
        parsed.state_flags = tcp.flags;
        return Ports::new(tcp.src.get(), tcp.dst.get());
    }
    if protocol == protocol::UDP {
        let Some(udp) = view::<udp::UdpHdr>(packet, l4) else { return truncated_l4(packet, parsed) };
        return Ports::new(udp.src.get(), udp.dst.get());
    }
    let Some(header) = view::<sctp::SctpHdr>(packet, l4) else { return truncated_l4(packet, parsed) };
    // Chunks that open or end an association show as TCP flags, so that later stages need one test for both protocols.
    parsed.tcp_flags = match view::<sctp::ChunkHdr>(packet, l4 + sctp::LEN).map(|chunk| chunk.kind) {
        Some(sctp::INIT) => tcp::SYN,
        Some(sctp::ABORT) => tcp::RST,
        Some(_) => 0,
        None => NO_CHUNK,
    };
    Ports::new(header.src.get(), header.dst.get())
}

fn icmp_error4(packet: &[u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    let l4 = usize::from(parsed.l4);
    let Some(icmp) = view::<IcmpHdr>(packet, l4) else { return Ok(()) };
    if !icmp::is_error4(icmp.kind) {
        return Ok(());
    }
    let at = l4 + icmp::LEN;
    let Some(quoted) = view::<Ipv4Hdr>(packet, at) else { return Ok(()) };
    if quoted.offset() != 0 || quoted.header_len() < ipv4::LEN {
        return Ok(());
    }
    let quoted_l4 = at + quoted.header_len();
    let (src, dst) = (quoted.src.get(), quoted.dst.get());
    if matches!(quoted.protocol, protocol::IPV4 | protocol::GRE) {
        parsed.key = Key::V4(Key4::new(src, dst, Ports(0), quoted.protocol));
        quotes(parsed, at, quoted_l4);
        parsed.kind = Kind::TunnelError;
        return Ok(());
    }
    let Some((ports, protocol)) = quoted_flow(packet, quoted.protocol, quoted_l4) else { return Ok(()) };
    parsed.key = Key::V4(Key4::new(src, dst, ports, protocol));
    parsed.ports_quoted = protocol == quoted.protocol;
    quotes(parsed, at, quoted_l4);
    Ok(())
}

fn icmp_error6(packet: &[u8], parsed: &mut Parsed) -> Result<(), DropReason> {
    let l4 = usize::from(parsed.l4);
    let Some(icmp) = view::<IcmpHdr>(packet, l4) else { return Ok(()) };
    if !icmp::is_error6(icmp.kind) {
        return Ok(());
    }
    let at = l4 + icmp::LEN;
    let Some(quoted) = view::<Ipv6Hdr>(packet, at) else { return Ok(()) };
    let Some(payload) = ipv6::quoted_payload(&packet[at..], quoted.next) else { return Ok(()) };
    let Some((ports, protocol)) = quoted_flow(packet, payload.protocol, at + payload.at) else {
        return Ok(());
    };
    let (src, dst) = (quoted.src.get(), quoted.dst.get());
    parsed.key = Key::V6(Key6::new(src, dst, ports, protocol));
    parsed.ports_quoted = protocol == payload.protocol;
    quotes(parsed, at, at + payload.at);
    Ok(())
}

/// Ports and protocol by which the connection of a quoted packet is found. `None` for a protocol that is not balanced.
fn quoted_flow(packet: &[u8], protocol: u8, l4: usize) -> Option<(Ports, u8)> {
    match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => Some((ports_at(packet, l4)?, protocol)),
        protocol::ESP | protocol::AH => Some((KEY_EXCHANGE, protocol::UDP)),
        _ => None,
    }
}

fn ports_at(packet: &[u8], at: usize) -> Option<Ports> {
    let &[s0, s1, d0, d1] = packet.get(at..)?.first_chunk::<4>()?;
    Some(Ports::new(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
}

fn quotes(parsed: &mut Parsed, l3: usize, l4: usize) {
    parsed.kind = Kind::IcmpError;
    (parsed.quoted_l3, parsed.quoted_l4) = (l3 as u16, l4 as u16);
}

#[cold]
fn truncated_l4(packet: &[u8], parsed: &mut Parsed) -> Ports {
    let ports = ports_at(packet, parsed.l4.into());
    // Without ports it cannot be balanced.
    parsed.kind = if ports.is_some() { Kind::TruncatedL4 } else { Kind::Other };
    ports.unwrap_or(Ports(0))
}

/// Makes an error that quotes a tunnel packet (IPv4 in IPv4, GRE or GUE) one that quotes the packet inside. Returns false,
/// and changes nothing, if there is none.
pub fn inside(frame: &[u8], parsed: &mut Parsed) -> bool {
    let frame = &frame[..frame.len().min(usize::from(parsed.l3) + usize::from(parsed.len))];
    let l4 = usize::from(parsed.quoted_l4);
    let at = match parsed.key.protocol() {
        protocol::IPV4 => Some(l4),
        protocol::GRE => gre::payload4(frame, l4),
        protocol::UDP => gue::payload4(frame, l4 + udp::LEN),
        _ => None,
    };
    let Some(at) = at else { return false };
    let Some(ip) = view::<Ipv4Hdr>(frame, at) else { return false };
    if ip.version_ihl >> 4 != 4 || ip.header_len() < ipv4::LEN || ip.offset() != 0 {
        return false;
    }
    let l4 = at + ip.header_len();
    let Some((ports, protocol)) = quoted_flow(frame, ip.protocol, l4) else { return false };
    parsed.key = Key::V4(Key4::new(ip.src.get(), ip.dst.get(), ports, protocol));
    quotes(parsed, at, l4);
    parsed.kind = Kind::TunnelError;
    true
}

//! From bytes to what the line needs to know of a packet: where its headers are, which flow it belongs to.

use crate::flow::{Key, Key4, Key6, Ports};
use crate::verdict::DropReason;
use crate::wire::{
    ether::{self, EtherHdr, MacBytes, VlanTag},
    icmp::{self, IcmpHdr},
    ipv4::{self, Ipv4Hdr},
    ipv6::{self, Ipv6Hdr},
    protocol, tcp, udp, view,
};

/// What kind of packet this is to a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP or UDP with its ports in sight; [`Parsed::key`] is its flow.
    Flow,
    /// An ICMP error; [`Parsed::key`] is the flow of the packet it quotes, as quoted.
    IcmpError,
    /// A fragment of TCP or UDP; [`Parsed::key`] has its addresses and no ports.
    Fragment,
    /// Nothing a balancer looks at.
    Other,
}

/// Where things are in a frame, in bytes from its start, and which flow it belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Parsed {
    /// The flow.
    pub key: Key,
    /// What kind of packet.
    pub kind: Kind,
    /// Start of the IP header.
    pub l3: u16,
    /// Start of the header after it.
    pub l4: u16,
    /// Bytes of the IP packet, its header included.
    pub len: u16,
    /// TCP flags of a TCP flow.
    pub tcp_flags: u8,
    /// Start of the quoted packet's IP header, for ICMP errors.
    pub quoted_l3: u16,
    /// Start of the quoted packet's transport header.
    pub quoted_l4: u16,
}

const NOTHING: Parsed = Parsed {
    key: Key::V4(Key4 { src: 0, dst: 0, ports: Ports(0), protocol: 0 }),
    kind: Kind::Other,
    l3: 0,
    l4: 0,
    len: 0,
    tcp_flags: 0,
    quoted_l3: 0,
    quoted_l4: 0,
};

impl Parsed {
    /// Nothing known; what a burst's array is filled with.
    pub const NOTHING: Parsed = NOTHING;
}

/// Reads the headers of `frame`, which arrived on a port with the hardware address `mac`.
///
/// # Errors
/// The reason to drop a frame that is malformed or not for us.
#[inline]
pub fn parse(frame: &[u8], mac: &MacBytes) -> Result<Parsed, DropReason> {
    let eth: &EtherHdr = view(frame, 0).ok_or(DropReason::ShortEther)?;
    if eth.dst != *mac {
        // Broadcast and multicast are the kernel's: ARP, ND, VRRP, routing protocols.
        return if eth.dst[0] & 1 != 0 { Ok(NOTHING) } else { Err(DropReason::OtherHost) };
    }
    let (kind, l3) = match eth.kind.get() {
        ether::VLAN => {
            let tag: &VlanTag = view(frame, ether::LEN).ok_or(DropReason::ShortEther)?;
            (tag.kind.get(), ether::TAGGED_LEN)
        }
        kind => (kind, ether::LEN),
    };
    match kind {
        ether::IPV4 => parse4(frame, l3),
        ether::IPV6 => parse6(frame, l3),
        _ => Ok(NOTHING),
    }
}

#[inline]
fn parse4(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let ip: &Ipv4Hdr = view(frame, l3).ok_or(DropReason::ShortIp)?;
    let (header_len, len) = (ip.header_len(), usize::from(ip.len.get()));
    if ip.version_ihl >> 4 != 4 || header_len < ipv4::LEN {
        return Err(DropReason::BadIpHeader);
    }
    if len < header_len || frame.len() < l3 + len {
        return Err(DropReason::ShortIp);
    }
    let l4 = l3 + header_len;
    let key = Key4 { src: ip.src.get(), dst: ip.dst.get(), ports: Ports(0), protocol: ip.protocol };
    let parsed = Parsed { key: Key::V4(key), l3: l3 as u16, l4: l4 as u16, len: len as u16, ..NOTHING };
    let packet = &frame[..l3 + len];
    match ip.protocol {
        protocol::TCP | protocol::UDP if ip.is_fragment() => Ok(Parsed { kind: Kind::Fragment, ..parsed }),
        protocol::TCP | protocol::UDP => transport(packet, parsed),
        protocol::ICMP if !ip.is_fragment() => icmp_error4(packet, parsed),
        _ => Ok(parsed),
    }
}

fn parse6(frame: &[u8], l3: usize) -> Result<Parsed, DropReason> {
    let ip: &Ipv6Hdr = view(frame, l3).ok_or(DropReason::ShortIp)?;
    let len = usize::from(ip.len.get()) + ipv6::LEN;
    if ip.version_class_flow.get() >> 28 != 6 {
        return Err(DropReason::BadIpHeader);
    }
    if frame.len() < l3 + len || len > usize::from(u16::MAX) {
        return Err(DropReason::ShortIp);
    }
    let packet = &frame[..l3 + len];
    let payload = ipv6::payload(&packet[l3..], ip.next).ok_or(DropReason::ShortIp)?;
    let (src, dst) = (ip.src.get(), ip.dst.get());
    let key = Key6 { src, dst, ports: Ports(0), protocol: payload.protocol };
    let l4 = (l3 + payload.at) as u16;
    let parsed = Parsed { key: Key::V6(key), l3: l3 as u16, l4, len: len as u16, ..NOTHING };
    match payload.protocol {
        protocol::TCP | protocol::UDP => transport(packet, parsed),
        protocol::ICMPV6 => icmp_error6(packet, parsed),
        ipv6::FRAGMENT => Ok(Parsed { kind: Kind::Fragment, ..parsed }),
        _ => Ok(parsed),
    }
}

#[inline]
fn transport(packet: &[u8], parsed: Parsed) -> Result<Parsed, DropReason> {
    let l4 = usize::from(parsed.l4);
    let mut parsed = Parsed { kind: Kind::Flow, ..parsed };
    let ports = match parsed.key.protocol() {
        protocol::TCP => {
            let tcp: &tcp::TcpHdr = view(packet, l4).ok_or(DropReason::ShortTcp)?;
            parsed.tcp_flags = tcp.flags;
            Ports::new(tcp.src.get(), tcp.dst.get())
        }
        _ => {
            let udp: &udp::UdpHdr = view(packet, l4).ok_or(DropReason::ShortUdp)?;
            Ports::new(udp.src.get(), udp.dst.get())
        }
    };
    set_ports(&mut parsed.key, ports);
    Ok(parsed)
}

#[inline]
fn set_ports(key: &mut Key, ports: Ports) {
    match key {
        Key::V4(k) => k.ports = ports,
        Key::V6(k) => k.ports = ports,
    }
}

fn icmp_error4(packet: &[u8], parsed: Parsed) -> Result<Parsed, DropReason> {
    let l4 = usize::from(parsed.l4);
    let icmp: &IcmpHdr = view(packet, l4).ok_or(DropReason::ShortIcmp)?;
    if !icmp::is_error4(icmp.kind) {
        return Ok(parsed);
    }
    let quoted_l3 = l4 + icmp::LEN;
    let Some(quoted) = view::<Ipv4Hdr>(packet, quoted_l3) else { return Err(DropReason::ShortIcmp) };
    let quoted_l4 = quoted_l3 + quoted.header_len();
    let key =
        Key4 { src: quoted.src.get(), dst: quoted.dst.get(), ports: Ports(0), protocol: quoted.protocol };
    if quoted.is_fragment() || quoted.header_len() < ipv4::LEN {
        return Ok(parsed);
    }
    quote(packet, Parsed { key: Key::V4(key), ..parsed }, quoted_l3, quoted_l4, parsed)
}

fn icmp_error6(packet: &[u8], parsed: Parsed) -> Result<Parsed, DropReason> {
    let l4 = usize::from(parsed.l4);
    let icmp: &IcmpHdr = view(packet, l4).ok_or(DropReason::ShortIcmp)?;
    if !icmp::is_error6(icmp.kind) {
        return Ok(parsed);
    }
    let quoted_l3 = l4 + icmp::LEN;
    let Some(quoted) = view::<Ipv6Hdr>(packet, quoted_l3) else { return Err(DropReason::ShortIcmp) };
    let Some(payload) = ipv6::payload(&packet[quoted_l3..], quoted.next) else { return Ok(parsed) };
    let (src, dst) = (quoted.src.get(), quoted.dst.get());
    let key = Key6 { src, dst, ports: Ports(0), protocol: payload.protocol };
    quote(packet, Parsed { key: Key::V6(key), ..parsed }, quoted_l3, quoted_l3 + payload.at, parsed)
}

/// Reads the ports of the quoted packet; `plain` is returned for what is quoted that we never balance.
fn quote(
    packet: &[u8],
    mut parsed: Parsed,
    quoted_l3: usize,
    quoted_l4: usize,
    plain: Parsed,
) -> Result<Parsed, DropReason> {
    if !matches!(parsed.key.protocol(), protocol::TCP | protocol::UDP) {
        return Ok(plain);
    }
    let Some(&[s0, s1, d0, d1]) = packet.get(quoted_l4..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(DropReason::ShortIcmp);
    };
    set_ports(&mut parsed.key, Ports::new(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])));
    parsed.kind = Kind::IcmpError;
    (parsed.quoted_l3, parsed.quoted_l4) = (quoted_l3 as u16, quoted_l4 as u16);
    Ok(parsed)
}

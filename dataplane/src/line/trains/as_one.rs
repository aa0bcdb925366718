//! What a packet in fragments would have been, had it come whole.

use super::AsOne;
use crate::flow::{Key, Ports};
use crate::frag::Whole;
use crate::packet::Packet;
use crate::parse::{KEY_EXCHANGE, Kind, Parsed};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::{protocol, sctp, tcp, view_mut};

/// As much of a packet as an error may quote.
const QUOTED: usize = 1280;

/// What the packet would have been parsed as, had it come whole. `None` when its transport header is not all there, or
/// when no packet can be that long: the first fragment may have more headers than the others.
pub(super) fn as_one<P: Packet>(whole: &Whole<P>, fragment: &Parsed) -> Option<Parsed> {
    let first = whole.pieces.first()?;
    let (protocol, at) = whole.transport()?;
    let kind = if matches!(protocol, protocol::ESP | protocol::AH) { Kind::Ipsec } else { Kind::Flow };
    let ports = if kind == Kind::Ipsec { KEY_EXCHANGE } else { ports_at(whole, at)? };
    let tcp_flags = match protocol {
        protocol::TCP => byte(whole, at + 13)?,
        protocol::SCTP => match byte(whole, at + sctp::LEN)? {
            sctp::INIT => tcp::SYN,
            sctp::ABORT => tcp::RST,
            _ => 0,
        },
        protocol::UDP | protocol::ESP | protocol::AH => 0,
        _ => return None,
    };
    let of_flow = if kind == Kind::Ipsec { protocol::UDP } else { protocol };
    let key = match fragment.key {
        Key::V4(key) => Key::V4(crate::flow::Key4 { ports, protocol: of_flow, ..key }),
        Key::V6(key) => Key::V6(crate::flow::Key6 { ports, protocol: of_flow, ..key }),
    };
    let fragment_header = if fragment.is_ipv6() { ipv6::FRAGMENT_LEN as u16 } else { 0 };
    let headers = first.place.payload - first.place.l3 - fragment_header;
    Some(Parsed {
        key,
        kind,
        l3: first.place.l3,
        l4: first.place.payload.checked_add(u16::try_from(at).ok()?)?,
        len: headers.checked_add(whole.len)?,
        tcp_flags,
        state_flags: tcp_flags,
        protocol,
        ..*fragment
    })
}

fn ports_at<P: Packet>(whole: &Whole<P>, at: usize) -> Option<Ports> {
    let mut ports = [0; 4];
    whole.read(at, &mut ports).then_some(())?;
    let [s0, s1, d0, d1] = ports;
    Some(Ports::new(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])))
}

fn byte<P: Packet>(whole: &Whole<P>, at: usize) -> Option<u8> {
    let mut byte = [0];
    whole.read(at, &mut byte).then_some(byte[0])
}

/// The beginning of the packet that a train was, in a buffer of its own.
pub(super) fn beginning<P: Packet>(whole: &Whole<P>, of: &AsOne) -> Option<(P, Parsed)> {
    let first = whole.pieces.first()?;
    let (l3, payload) = (usize::from(first.place.l3), usize::from(first.place.payload));
    let gap = if of.parsed.is_ipv6() { ipv6::FRAGMENT_LEN } else { 0 };
    let headers = payload.checked_sub(gap)?;
    let count = usize::from(whole.len).min(QUOTED);
    let mut packet = first.packet.sibling(headers + count)?;
    let frame = packet.bytes_mut();
    frame.get_mut(..headers)?.copy_from_slice(first.packet.bytes().get(..headers)?);
    if !whole.read(0, frame.get_mut(headers..)?) {
        return None;
    }
    if of.parsed.is_ipv6() {
        view_mut::<Ipv6Hdr>(frame, l3)?.hop_limit = of.hops;
    } else {
        view_mut::<Ipv4Hdr>(frame, l3)?.ttl = of.hops;
    }
    head_of_whole(&mut frame[..headers], l3, (of.parsed.is_ipv6(), whole.protocol), of.total)?;
    let here = (headers - l3 + count) as u16;
    Some((packet, Parsed { len: of.total.min(here), l4: headers as u16, ..of.parsed }))
}

/// Makes the headers of a first fragment, from which the fragment header was cut, those of its packet of `total` bytes.
pub(super) fn head_of_whole(
    headers: &mut [u8],
    l3: usize,
    (ipv6, protocol): (bool, u8),
    total: u16,
) -> Option<()> {
    if ipv6 {
        return close_gap(headers.get_mut(l3..)?, protocol, total);
    }
    let ip: &mut Ipv4Hdr = view_mut(headers, l3)?;
    ip.len.set(total);
    let kept = ip.fragment.get() & ipv4::DF;
    ip.fragment.set(kept);
    ipv4::fill_checksum(&mut headers[l3..]);
    Some(())
}

/// Makes IPv6 headers, from which the fragment header at their end was cut, say what follows now.
fn close_gap(headers: &mut [u8], protocol: u8, total: u16) -> Option<()> {
    let ip: &mut Ipv6Hdr = view_mut(headers, 0)?;
    ip.len.set(total.checked_sub(ipv6::LEN as u16)?);
    let (mut next_at, mut at) = (6, ipv6::LEN);
    while at < headers.len() {
        next_at = at;
        at += (usize::from(*headers.get(at + 1)?) + 1) * 8;
    }
    headers[next_at] = protocol;
    Some(())
}

//! The headers of a packet that came in fragments: those of the first fragment, adapted to the packet before it was
//! fragmented.

use crate::fragments::Datagram;
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, Ipv6Hdr};
use crate::wire::view_mut;

/// Bytes of a packet's payload that suffice for an ICMP error to quote.
const QUOTED: usize = 1280;

/// The packet that was fragmented, as the slow path decided about it.
pub struct WholePacket {
    /// Its headers, as if it had come whole; for IPv6 with the length of the longest fragment.
    pub parsed: Parsed,
    /// Its length.
    pub total: u16,
    /// TTL or hop limit when the decision was made.
    pub ttl: u8,
}

/// Bytes of the headers, frame header included, of the packet that was fragmented: those of the first fragment without its
/// fragment header.
pub(super) fn headers<P>(datagram: &Datagram<P>) -> Option<usize> {
    let gap = if datagram.ipv6 { ipv6::FRAGMENT_LEN } else { 0 };
    usize::from(datagram.fragments.first()?.position.payload).checked_sub(gap)
}

/// The beginning of the packet that was fragmented, for an ICMP error to quote, in a buffer of its own.
pub fn beginning<P: Packet>(datagram: &Datagram<P>, whole: &WholePacket) -> Option<(P, Parsed)> {
    let first = datagram.fragments.first()?;
    let l3 = usize::from(first.position.l3);
    let headers = headers(datagram)?;
    let count = usize::from(datagram.len).min(QUOTED);
    let mut packet = first.packet.sibling(headers + count)?;
    let frame = packet.bytes_mut();
    frame.get_mut(..headers)?.copy_from_slice(first.packet.bytes().get(..headers)?);
    if !datagram.read(0, frame.get_mut(headers..)?) {
        return None;
    }
    if datagram.ipv6 {
        view_mut::<Ipv6Hdr>(frame, l3)?.hop_limit = whole.ttl;
    } else {
        view_mut::<Ipv4Hdr>(frame, l3)?.ttl = whole.ttl;
    }
    complete_headers(&mut frame[..headers], l3, datagram, whole.total)?;
    let here = (headers - l3 + count) as u16;
    Some((packet, Parsed { len: whole.total.min(here), ..whole.parsed }))
}

/// Turns the headers of the first fragment, without the fragment header, into those of the packet of `total` bytes.
pub(super) fn complete_headers<P>(
    headers: &mut [u8],
    l3: usize,
    datagram: &Datagram<P>,
    total: u16,
) -> Option<()> {
    if datagram.ipv6 {
        return close_gap(headers.get_mut(l3..)?, datagram.protocol, total);
    }
    let ip: &mut Ipv4Hdr = view_mut(headers, l3)?;
    ip.len.set(total);
    let kept = ip.fragment.get() & ipv4::DF;
    ip.fragment.set(kept);
    ipv4::fill_checksum(&mut headers[l3..]);
    Some(())
}

/// Links IPv6 headers, which ended in a fragment header, to the `protocol` behind it.
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

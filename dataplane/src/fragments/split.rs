//! Fragmentation of packets that are longer than the MTU of their link; RFC 791 and RFC 8200 4.5.
//!
//! A packet that is a fragment is split into smaller fragments of the same datagram.

use arrayvec::ArrayVec;
use zerocopy::network_endian::{U16, U32};

use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, FragmentHdr, Ipv6Hdr};
use crate::wire::{view, view_mut};

/// Most fragments of one packet. The largest IPv6 packet over the smallest MTU needs fewer.
const MAX_OUTPUT_FRAGMENTS: usize = 64;

/// How a packet is split. Positions are in its frame.
struct Cut {
    l3: usize,
    ipv6: bool,
    /// Start of the part that is distributed over the fragments. Each fragment has a copy of the bytes before it.
    payload: usize,
    end: usize,
    /// Bytes of payload in each fragment except the last.
    step: usize,
    /// Offset of the payload in its datagram; not zero if the packet is a fragment itself.
    offset: usize,
    more: bool,
}

/// Splits the IP packet at `l3` into fragments of at most `mtu` bytes and passes them to `each`, in order. Each fragment
/// has its IP header at `l3`, behind a copy of the bytes in front of the packet. A packet that fits is passed as it is. `id`
/// is the identification of the fragments of an IPv6 packet; those of an IPv4 packet have its own.
///
/// The caller checks whether the packet may be fragmented.
///
/// # Errors
/// When there is no buffer left, the headers are truncated, or the MTU is too small for the headers and eight bytes. Then
/// the packet is dropped, and no fragment of it passed to `each`.
pub fn cut<P: Packet>(
    mut packet: P,
    l3: u16,
    ipv6: bool,
    mtu: u16,
    id: u32,
    mut each: impl FnMut(P),
) -> Result<(), DropReason> {
    let (l3, mtu) = (usize::from(l3), usize::from(mtu));
    let plan = if ipv6 { plan6(&mut packet, l3, mtu, id)? } else { plan4(packet.bytes(), l3, mtu)? };
    let Some(plan) = plan else {
        each(packet);
        return Ok(());
    };
    let rest = plan.siblings(&packet)?;
    packet.truncate(plan.payload + plan.step);
    plan.finish(packet.bytes_mut(), 0);
    each(packet);
    rest.into_iter().for_each(each);
    Ok(())
}

/// Returns `None` for a packet that fits.
fn plan4(frame: &[u8], l3: usize, mtu: usize) -> Result<Option<Cut>, DropReason> {
    let ip: &Ipv4Hdr = view(frame, l3).ok_or(DropReason::ShortIp)?;
    let (header_len, len, fragment) = (ip.header_len(), usize::from(ip.len.get()), ip.fragment.get());
    if header_len < ipv4::LEN {
        return Err(DropReason::BadIpHeader);
    }
    if len < header_len || frame.len() < l3 + len {
        return Err(DropReason::ShortIp);
    }
    if len <= mtu {
        return Ok(None);
    }
    let plan = Cut {
        l3,
        ipv6: false,
        payload: l3 + header_len,
        end: l3 + len,
        step: mtu.saturating_sub(header_len) & !7,
        offset: usize::from(fragment & ipv4::OFFSET) * 8,
        more: fragment & ipv4::MORE_FRAGMENTS != 0,
    };
    plan.checked().map(Some)
}

/// Inserts a fragment header if there is none. Returns `None` for a packet that fits.
fn plan6<P: Packet>(packet: &mut P, l3: usize, mtu: usize, id: u32) -> Result<Option<Cut>, DropReason> {
    let frame = packet.bytes();
    let ip: &Ipv6Hdr = view(frame, l3).ok_or(DropReason::ShortIp)?;
    let len = ipv6::LEN + usize::from(ip.len.get());
    let bytes = frame.get(l3..l3 + len).ok_or(DropReason::ShortIp)?;
    if len <= mtu {
        return Ok(None);
    }
    let head = head(bytes).ok_or(DropReason::ShortIp)?;
    let grow = if head.fragmented { 0 } else { ipv6::FRAGMENT_LEN };
    if grow > 0 {
        insert_header(packet, l3, &head, id)?;
    }
    let payload = l3 + head.len + ipv6::FRAGMENT_LEN;
    let header: &FragmentHdr = view(packet.bytes(), l3 + head.len).ok_or(DropReason::ShortIp)?;
    let plan = Cut {
        l3,
        ipv6: true,
        payload,
        end: l3 + len + grow,
        step: mtu.saturating_sub(payload - l3) & !7,
        offset: usize::from(header.offset.get() & !7),
        more: header.offset.get() & ipv6::MORE_FRAGMENTS != 0,
    };
    plan.checked().map(Some)
}

/// The headers of an IPv6 packet that each of its fragments repeats.
struct Head {
    /// Their bytes.
    len: usize,
    /// Position of the "next header" field of the last of them.
    next_at: usize,
    /// True if a fragment header follows.
    fragmented: bool,
}

/// Finds the end of the headers that routers read: up to a routing header if there is one, else up to hop-by-hop options.
fn head(packet: &[u8]) -> Option<Head> {
    let mut head = Head { len: ipv6::LEN, next_at: 6, fragmented: false };
    let (mut at, mut next_at) = (ipv6::LEN, 6);
    for _ in 0..ipv6::MAX_EXTENSIONS {
        let next = *packet.get(next_at)?;
        if next == ipv6::FRAGMENT {
            return packet.get(at..at + ipv6::FRAGMENT_LEN).map(|_| Head {
                len: at,
                next_at,
                fragmented: true,
            });
        }
        if !ipv6::is_extension(next) {
            break;
        }
        let words = *packet.get(at + 1)?;
        (next_at, at) = (at, at + ipv6::extension_len(words));
        // Destination options belong to these headers only in front of a routing header.
        if next != ipv6::DESTINATION_OPTIONS {
            head = Head { len: at, next_at, fragmented: false };
        }
    }
    Some(head).filter(|head| head.len <= packet.len())
}

/// Turns the packet into a fragment that is first and last.
fn insert_header<P: Packet>(packet: &mut P, l3: usize, head: &Head, id: u32) -> Result<(), DropReason> {
    if !packet.push_front(ipv6::FRAGMENT_LEN) {
        return Err(DropReason::NoHeadroom);
    }
    let frame = packet.bytes_mut();
    let at = l3 + head.len;
    frame.copy_within(ipv6::FRAGMENT_LEN..ipv6::FRAGMENT_LEN + at, 0);
    let next = std::mem::replace(&mut frame[l3 + head.next_at], ipv6::FRAGMENT);
    if let Some(header) = view_mut::<FragmentHdr>(frame, at) {
        *header = FragmentHdr { next, reserved: 0, offset: U16::new(0), id: U32::new(id) };
    }
    Ok(())
}

impl Cut {
    fn checked(self) -> Result<Cut, DropReason> {
        let len = self.end.checked_sub(self.payload).ok_or(DropReason::ShortIp)?;
        if self.offset + len > usize::from(u16::MAX) {
            return Err(DropReason::BadIpHeader);
        }
        if self.step == 0 || len.div_ceil(self.step) > MAX_OUTPUT_FRAGMENTS {
            return Err(DropReason::TooBig);
        }
        Ok(self)
    }

    /// The fragments except the first, which the packet itself becomes.
    fn siblings<P: Packet>(&self, packet: &P) -> Result<ArrayVec<P, MAX_OUTPUT_FRAGMENTS>, DropReason> {
        let mut fragments = ArrayVec::new();
        let frame = packet.bytes();
        for from in (self.payload + self.step..self.end).step_by(self.step) {
            let part = &frame[from..self.end.min(from + self.step)];
            let mut fragment = packet.sibling(self.payload + part.len()).ok_or(DropReason::NoBuffer)?;
            let (head, payload) = fragment.bytes_mut().split_at_mut(self.payload);
            head.copy_from_slice(&frame[..self.payload]);
            payload.copy_from_slice(part);
            self.finish(fragment.bytes_mut(), from - self.payload);
            fragments.push(fragment);
        }
        Ok(fragments)
    }

    /// Completes the headers of the fragment whose payload starts `from` bytes into that of the packet.
    fn finish(&self, fragment: &mut [u8], from: usize) {
        let more = self.more || self.payload + from + self.step < self.end;
        let (offset, len) = (self.offset + from, fragment.len() - self.l3);
        if self.ipv6 {
            if let Some(ip) = view_mut::<Ipv6Hdr>(fragment, self.l3) {
                ip.len.set((len - ipv6::LEN) as u16);
            }
            if let Some(header) = view_mut::<FragmentHdr>(fragment, self.payload - ipv6::FRAGMENT_LEN) {
                header.offset.set(offset as u16 | if more { ipv6::MORE_FRAGMENTS } else { 0 });
            }
            return;
        }
        if let Some(ip) = view_mut::<Ipv4Hdr>(fragment, self.l3) {
            ip.len.set(len as u16);
            ip.fragment.set((offset / 8) as u16 | if more { ipv4::MORE_FRAGMENTS } else { 0 });
        }
        if from > 0 {
            blank_options(&mut fragment[self.l3 + ipv4::LEN..self.payload]);
        }
        ipv4::fill_checksum(&mut fragment[self.l3..]);
    }
}

/// Overwrites the options that only the first fragment has. The header keeps its length, as in Linux.
fn blank_options(options: &mut [u8]) {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const COPIED: u8 = 0x80;
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        let len = match (kind, options.get(at + 1)) {
            (END, _) => return,
            (NOTHING, _) => 1,
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => return,
        };
        let Some(option) = options.get_mut(at..at + len) else { return };
        if kind & COPIED == 0 {
            option.fill(NOTHING);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests;

//! The headers of a fragment.

use crate::flow::{Key, Key4, Key6, Ports};
use crate::wire::ipv4::{self, Ipv4Hdr};
use crate::wire::ipv6::{self, FragmentHdr, Ipv6Hdr};
use crate::wire::view;

/// Flipped in the protocol number of datagrams of the kernel, so that they differ from received ones.
const FROM_KERNEL: u8 = 0x40;

/// Position of a fragment's payload in its frame and in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentPosition {
    /// Start of the IP header in the frame.
    pub l3: u16,
    /// Start of the payload in the frame: behind the IP header, or the fragment header of IPv6.
    pub payload: u16,
    /// Bytes of payload.
    pub len: u16,
    /// Offset of the payload in the datagram.
    pub offset: u16,
    /// True except for the last fragment.
    pub more: bool,
}

/// Contents of the headers of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentInfo {
    /// Identifies the datagram: a flow key with the identification in place of the ports. The protocol of an IPv6 datagram
    /// is [`ipv6::FRAGMENT`], because RFC 8200 identifies datagrams without it.
    pub datagram: Key,
    /// Protocol number of the first header of the payload. For IPv6, only that of the first fragment is valid.
    pub protocol: u8,
    /// Position of the payload.
    pub position: FragmentPosition,
}

impl FragmentInfo {
    /// Reads the headers of the IP packet at `l3`. Returns `None` if the frame is too short for it, or if an IPv6 packet has
    /// no fragment header. An IPv4 packet that is not fragmented reads as a fragment that is first and last.
    pub fn read(frame: &[u8], l3: u16, ipv6: bool) -> Option<FragmentInfo> {
        if ipv6 { read6(frame, l3) } else { read4(frame, l3) }
    }

    /// True for IPv6.
    pub fn is_ipv6(&self) -> bool {
        matches!(self.datagram, Key::V6(_))
    }

    /// Marks the datagram as one that this machine's kernel sends, to keep it apart from a received one with the same
    /// identification.
    #[must_use]
    pub fn of_kernel(mut self) -> FragmentInfo {
        match &mut self.datagram {
            Key::V4(key) => key.protocol ^= FROM_KERNEL,
            Key::V6(key) => key.rest.protocol ^= FROM_KERNEL,
        }
        self
    }
}

impl FragmentPosition {
    /// End of the payload in the datagram.
    #[inline]
    pub fn end(&self) -> u32 {
        u32::from(self.offset) + u32::from(self.len)
    }

    /// Bytes of the IP packet.
    pub fn packet_len(&self) -> u16 {
        self.payload - self.l3 + self.len
    }

    /// The payload.
    pub fn slice<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload);
        frame.get(start..start + usize::from(self.len)).unwrap_or_default()
    }

    /// The payload, to be rewritten.
    pub fn slice_mut<'a>(&self, frame: &'a mut [u8]) -> &'a mut [u8] {
        let start = usize::from(self.payload);
        frame.get_mut(start..start + usize::from(self.len)).unwrap_or_default()
    }
}

/// The position of a packet of `len` bytes at `l3`, of which `head` are headers. Returns `None` if the frame is too short.
fn position(frame: &[u8], l3: u16, head: usize, len: usize) -> Option<FragmentPosition> {
    let payload = u16::try_from(usize::from(l3) + head).ok()?;
    let position =
        FragmentPosition { l3, payload, len: len.checked_sub(head)? as u16, offset: 0, more: false };
    (usize::from(l3) + len <= frame.len()).then_some(position)
}

fn read4(frame: &[u8], l3: u16) -> Option<FragmentInfo> {
    let ip: &Ipv4Hdr = view(frame, l3.into())?;
    let (head, field) = (ip.header_len(), ip.fragment.get());
    let position = position(frame, l3, head, ip.len.get().into()).filter(|_| head >= ipv4::LEN)?;
    let ports = Ports(ip.id.get().into());
    Some(FragmentInfo {
        datagram: Key::V4(Key4::new(ip.src.get(), ip.dst.get(), ports, ip.protocol)),
        protocol: ip.protocol,
        position: FragmentPosition {
            offset: (field & ipv4::OFFSET) << 3,
            more: field & ipv4::MORE_FRAGMENTS != 0,
            ..position
        },
    })
}

fn read6(frame: &[u8], l3: u16) -> Option<FragmentInfo> {
    let ip: &Ipv6Hdr = view(frame, l3.into())?;
    let len = ipv6::LEN + usize::from(ip.len.get());
    let packet = frame.get(l3.into()..usize::from(l3) + len)?;
    let found = ipv6::payload(packet, ip.next).filter(|found| found.protocol == ipv6::FRAGMENT)?;
    let header: &FragmentHdr = view(packet, found.at)?;
    let position = position(frame, l3, found.at + ipv6::FRAGMENT_LEN, len)?;
    let (ports, field) = (Ports(header.id.get()), header.offset.get());
    Some(FragmentInfo {
        datagram: Key::V6(Key6::new(ip.src.get(), ip.dst.get(), ports, ipv6::FRAGMENT)),
        protocol: header.next,
        position: FragmentPosition {
            offset: field & !7,
            more: field & ipv6::MORE_FRAGMENTS != 0,
            ..position
        },
    })
}

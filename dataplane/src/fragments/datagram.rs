//! A complete datagram, still in its fragments.

use arrayvec::ArrayVec;

use super::info::FragmentPosition;
use crate::packet::Packet;
use crate::wire::ipv6;

/// Most fragments of one datagram.
pub const MAX_FRAGMENTS: usize = 64;

/// A fragment and the position of its payload.
#[derive(Debug)]
pub struct Fragment<P> {
    /// The frame with the fragment.
    pub packet: P,
    /// Position of headers and payload in the frame.
    pub position: FragmentPosition,
}

/// A complete datagram, its fragments in order. Positions are bytes from the start of the payload that was fragmented.
/// Fields may cross fragments: a fragment may have as few as eight bytes.
#[derive(Debug)]
pub struct Datagram<P> {
    /// The fragments, at least one.
    pub fragments: ArrayVec<Fragment<P>, MAX_FRAGMENTS>,
    /// True for IPv6.
    pub ipv6: bool,
    /// Bytes of payload in all fragments.
    pub len: u16,
    /// Protocol number of the first header of the payload.
    pub protocol: u8,
}

impl<P: Packet> Datagram<P> {
    /// The payload, fragment by fragment.
    pub fn payload(&self) -> impl Iterator<Item = &[u8]> {
        self.fragments.iter().map(|fragment| fragment.position.slice(fragment.packet.bytes()))
    }

    /// The payload from byte `at` on, fragment by fragment.
    pub fn payload_from(&self, at: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = at;
        self.payload().map(move |part| {
            let (skipped, rest) = part.split_at(skip.min(part.len()));
            skip -= skipped.len();
            rest
        })
    }

    /// Fills `into` with the bytes from `at` on. Returns false if the datagram is too short.
    #[must_use]
    pub fn read(&self, at: usize, into: &mut [u8]) -> bool {
        let mut missing = into;
        for part in self.payload_from(at) {
            let count = part.len().min(missing.len());
            let (now, later) = missing.split_at_mut(count);
            now.copy_from_slice(&part[..count]);
            missing = later;
        }
        missing.is_empty()
    }

    /// Overwrites the bytes from `at` on. Returns false if the datagram is too short.
    #[must_use]
    pub fn write(&mut self, at: usize, from: &[u8]) -> bool {
        let (mut skip, mut missing) = (at, from);
        for fragment in &mut self.fragments {
            let part = fragment.position.slice_mut(fragment.packet.bytes_mut());
            let (skipped, rest) = part.split_at_mut(skip.min(part.len()));
            skip -= skipped.len();
            let count = rest.len().min(missing.len());
            let (now, later) = missing.split_at(count);
            rest[..count].copy_from_slice(now);
            missing = later;
        }
        missing.is_empty()
    }

    /// The transport protocol and the start of its header, behind any extension headers of IPv6. Returns `None` if those do
    /// not end in the datagram.
    pub fn transport(&self) -> Option<(u8, usize)> {
        let (mut protocol, mut at) = (self.protocol, 0);
        for _ in 0..ipv6::MAX_EXTENSIONS {
            if !ipv6::is_extension(protocol) {
                return Some((protocol, at));
            }
            let mut header = [0; 2];
            if !self.read(at, &mut header) {
                return None;
            }
            protocol = header[0];
            at += ipv6::extension_len(header[1]);
        }
        None
    }

    /// Bytes of the largest fragment as an IP packet, the size to which Linux fragments a reassembled packet again.
    pub fn largest(&self) -> u16 {
        self.fragments.iter().map(|fragment| fragment.position.packet_len()).max().unwrap_or(0)
    }
}

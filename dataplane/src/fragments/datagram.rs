//! A datagram all of whose fragments are here, still in its pieces.

use arrayvec::ArrayVec;

use super::info::Place;
use crate::packet::Packet;

/// The most fragments of one datagram.
pub const MAX_FRAGMENTS: usize = 64;

/// Most extension headers we walk, as in [`crate::wire::ipv6::payload`].
const MAX_EXTENSIONS: usize = 8;

/// A fragment and where its payload lies.
#[derive(Debug)]
pub struct Fragment<P> {
    /// The frame.
    pub packet: P,
    /// What is where in it.
    pub place: Place,
}

/// A datagram in the order of its bytes. Positions in it count from the start of the payload that was fragmented, and
/// what is read or written may lie across pieces: eight bytes of payload are enough for a fragment.
#[derive(Debug)]
pub struct Datagram<P> {
    /// Its fragments; there is at least one.
    pub fragments: ArrayVec<Fragment<P>, MAX_FRAGMENTS>,
    /// True for IPv6.
    pub ipv6: bool,
    /// Bytes of payload in all fragments.
    pub len: u16,
    /// What the payload begins with.
    pub protocol: u8,
}

impl<P: Packet> Datagram<P> {
    /// The payload, piece by piece.
    pub fn payload(&self) -> impl Iterator<Item = &[u8]> {
        self.fragments.iter().map(|fragment| fragment.place.of(fragment.packet.bytes()))
    }

    /// The payload from byte `at` on, piece by piece.
    pub fn payload_from(&self, at: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = at;
        self.payload().map(move |part| {
            let (skipped, rest) = part.split_at(skip.min(part.len()));
            skip -= skipped.len();
            rest
        })
    }

    /// Fills `into` with the bytes from `at` on. Returns false when the datagram ends before.
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

    /// Overwrites the bytes from `at` on. Returns false when the datagram ends before.
    #[must_use]
    pub fn write(&mut self, at: usize, from: &[u8]) -> bool {
        let (mut skip, mut missing) = (at, from);
        for fragment in &mut self.fragments {
            let part = fragment.place.of_mut(fragment.packet.bytes_mut());
            let (skipped, rest) = part.split_at_mut(skip.min(part.len()));
            skip -= skipped.len();
            let count = rest.len().min(missing.len());
            let (now, later) = missing.split_at(count);
            rest[..count].copy_from_slice(now);
            missing = later;
        }
        missing.is_empty()
    }

    /// The transport protocol and where its header starts, behind any extension headers of IPv6. None when those do
    /// not end inside the datagram.
    pub fn transport(&self) -> Option<(u8, usize)> {
        let (mut protocol, mut at) = (self.protocol, 0);
        for _ in 0..MAX_EXTENSIONS {
            if !matches!(protocol, 0 | 43 | 60) {
                return Some((protocol, at));
            }
            let mut header = [0; 2];
            if !self.read(at, &mut header) {
                return None;
            }
            protocol = header[0];
            at += (usize::from(header[1]) + 1) * 8;
        }
        None
    }

    /// Bytes of the largest fragment as an IP packet: what Linux cuts a gathered packet to again.
    pub fn largest(&self) -> u16 {
        self.fragments.iter().map(|fragment| fragment.place.packet_len()).max().unwrap_or(0)
    }
}

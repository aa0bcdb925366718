//! The reassembled packet, on which the slow path decides about a fragmented datagram.

use super::head::{complete_headers, headers};
use crate::fragments::Datagram;
use crate::packet::Packet;
use crate::wire::ipv4;

/// Room in front for headers.
const ROOM: usize = 128;

/// The longest packet, with a frame header in front.
const LONGEST: usize = 64 + u16::MAX as usize;

/// A buffer for one reassembled packet at a time.
pub struct ReassemblyBuffer {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReassemblyBuffer {
    /// Allocates memory for the longest packet.
    pub fn allocate() -> ReassemblyBuffer {
        ReassemblyBuffer { buffer: vec![0; ROOM + LONGEST].into_boxed_slice(), start: ROOM, end: ROOM }
    }

    /// Copies a frame in, for tests of packets that cannot have siblings.
    #[cfg(test)]
    pub fn copy(&mut self, frame: &[u8]) {
        (self.start, self.end) = (ROOM, ROOM + frame.len());
        self.buffer[ROOM..ROOM + frame.len()].copy_from_slice(frame);
    }

    /// Copies the fragments of a datagram in as one packet. Returns `None` if that is longer than any packet.
    pub fn join<P: Packet>(&mut self, datagram: &Datagram<P>) -> Option<()> {
        let first = datagram.fragments.first()?;
        let headers = headers(datagram)?;
        let len = headers + usize::from(datagram.len);
        let frame = self.buffer.get_mut(ROOM..ROOM + len)?;
        (self.start, self.end) = (ROOM, ROOM + len);
        frame[..headers].copy_from_slice(first.packet.bytes().get(..headers)?);
        datagram.read(0, &mut frame[headers..]).then_some(())?;
        let l3 = usize::from(first.position.l3);
        let total = u16::try_from(len - l3).ok()?;
        complete_headers(&mut frame[..headers], l3, datagram, total)
    }

    /// Copies addresses and payload of the packet back into the fragments that [`join`](ReassemblyBuffer::join) read, once
    /// the packet was rewritten.
    pub fn put_back<P: Packet>(&self, datagram: &mut Datagram<P>) {
        let ipv6 = datagram.ipv6;
        let Some(headers) = headers(datagram) else { return };
        let (from, len) = if ipv6 { (8, 32) } else { (12, 8) };
        let l3 = datagram.fragments.first().map_or(0, |first| usize::from(first.position.l3));
        let frame = self.bytes();
        let (Some(ends), Some(payload)) = (frame.get(l3 + from..l3 + from + len), frame.get(headers..))
        else {
            return;
        };
        for fragment in &mut datagram.fragments {
            let Some(head) = fragment.packet.bytes_mut().get_mut(fragment.position.l3.into()..) else {
                continue;
            };
            if let Some(field) = head.get_mut(from..from + len) {
                field.copy_from_slice(ends);
            }
            if !ipv6 {
                ipv4::fill_checksum(head);
            }
        }
        // The packet is as long as before.
        _ = datagram.write(0, payload);
    }
}

impl Packet for ReassemblyBuffer {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn push_front(&mut self, count: usize) -> bool {
        let fits = count <= self.start;
        self.start -= if fits { count } else { 0 };
        fits
    }

    fn pull_front(&mut self, count: usize) -> bool {
        let fits = count <= self.end - self.start;
        self.start += if fits { count } else { 0 };
        fits
    }

    fn extend(&mut self, count: usize) -> bool {
        let fits = count <= self.buffer.len() - self.end;
        self.end += if fits { count } else { 0 };
        fits
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    fn sibling(&self, _: usize) -> Option<ReassemblyBuffer> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_grows_at_its_end_as_far_as_the_buffer_reaches() {
        let mut packet = ReassemblyBuffer::allocate();
        packet.copy(&[7; 100]);
        assert!(packet.extend(LONGEST - 100) && packet.bytes().len() == LONGEST);
        assert_eq!(packet.bytes()[..100], [7; 100]);
        assert!(!packet.extend(1) && packet.bytes().len() == LONGEST);
    }
}

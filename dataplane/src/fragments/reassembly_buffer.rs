//! The packet that fragments were cut from, put together for the time of a decision.

use super::head::{head_of_whole, headers};
use crate::fragments::Datagram;
use crate::packet::Packet;
use crate::wire::ipv4;

/// Room in front for headers.
const ROOM: usize = 128;

/// The longest packet there can be, and a frame header in front of it.
const LONGEST: usize = 64 + u16::MAX as usize;

/// What decisions are made on. By default it has no room, and takes the place of the one in use.
#[derive(Default)]
pub struct ReassemblyBuffer {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReassemblyBuffer {
    /// Takes the memory that it will ever need.
    pub fn new() -> ReassemblyBuffer {
        ReassemblyBuffer { buffer: vec![0; ROOM + LONGEST].into_boxed_slice(), start: ROOM, end: ROOM }
    }

    /// Takes in a frame, for tests of packets that have no siblings.
    #[cfg(test)]
    pub fn copy(&mut self, frame: &[u8]) {
        (self.start, self.end) = (ROOM, ROOM + frame.len());
        self.buffer[ROOM..ROOM + frame.len()].copy_from_slice(frame);
    }

    /// Takes in the packet that fragments were cut from. `None` when no packet can be that long.
    pub fn join<P: Packet>(&mut self, datagram: &Datagram<P>, ipv6: bool) -> Option<()> {
        let first = datagram.fragments.first()?;
        let headers = headers(datagram, ipv6)?;
        let len = headers + usize::from(datagram.len);
        let frame = self.buffer.get_mut(ROOM..ROOM + len)?;
        (self.start, self.end) = (ROOM, ROOM + len);
        frame[..headers].copy_from_slice(first.packet.bytes().get(..headers)?);
        datagram.read(0, &mut frame[headers..]).then_some(())?;
        let l3 = usize::from(first.place.l3);
        let total = u16::try_from(len - l3).ok()?;
        head_of_whole(&mut frame[..headers], l3, (ipv6, datagram.protocol), total)
    }

    /// Puts what was changed in a packet that [`join`](Scratch::join) took in back into its fragments: their addresses
    /// and their payload.
    pub fn put_back<P: Packet>(&self, datagram: &mut Datagram<P>, ipv6: bool) {
        let Some(headers) = headers(datagram, ipv6) else { return };
        let (from, len) = if ipv6 { (8, 32) } else { (12, 8) };
        let l3 = datagram.fragments.first().map_or(0, |first| usize::from(first.place.l3));
        let frame = self.bytes();
        let (Some(ends), Some(payload)) = (frame.get(l3 + from..l3 + from + len), frame.get(headers..))
        else {
            return;
        };
        for fragment in &mut datagram.fragments {
            let Some(head) = fragment.packet.bytes_mut().get_mut(fragment.place.l3.into()..) else {
                continue;
            };
            if let Some(field) = head.get_mut(from..from + len) {
                field.copy_from_slice(ends);
            }
            if !ipv6 {
                ipv4::fill_checksum(head);
            }
        }
        // It is as long as it was.
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

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    fn sibling(&self, _: usize) -> Option<ReassemblyBuffer> {
        None
    }
}

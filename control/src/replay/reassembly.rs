//! Reassembles fragmented datagrams. Linux reassembles and fragments again, possibly at other offsets, so only complete
//! datagrams can be compared.

use std::collections::HashMap;

use super::frames::{ETHER, Ip, blank, ip_of_frame, protocol, tunnelled, u16_at};

/// Result of adding a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reassembled {
    /// It is not a fragment.
    Unfragmented,
    /// Other fragments are still missing.
    Incomplete,
    /// It was the last missing fragment; this is the unfragmented frame.
    Complete(Vec<u8>),
}

/// Datagrams in reassembly.
#[derive(Debug, Default)]
pub struct Reassembler {
    open: HashMap<Vec<u8>, Vec<Fragment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fragment {
    /// Offset of the data in the datagram.
    offset: usize,
    last: bool,
    data: Vec<u8>,
    /// The header common to all fragments, without lengths and checksum.
    head: Vec<u8>,
    /// The header checksum was right.
    right: bool,
}

impl Reassembler {
    /// Adds a frame.
    pub fn take(&mut self, frame: &[u8]) -> Reassembled {
        let Some(packet) = ip_of_frame(frame) else { return Reassembled::Unfragmented };
        if packet.is_fragment() {
            return match self.join(frame.get(..ETHER).unwrap_or_default(), &packet) {
                // A fragmented outer packet may carry a fragment.
                Some(whole) => match self.take(&whole) {
                    Reassembled::Unfragmented => Reassembled::Complete(whole),
                    inside => inside,
                },
                None => Reassembled::Incomplete,
            };
        }
        let Some(inner) = tunnelled(&packet).filter(Ip::is_fragment) else {
            return Reassembled::Unfragmented;
        };
        let outer = &frame[..offset(frame, &inner)];
        match self.join(&without_numbers(outer), &inner) {
            Some(whole) => Reassembled::Complete(wrap(outer, &whole[without_numbers(outer).len()..])),
            None => Reassembled::Incomplete,
        }
    }

    /// Number of incomplete datagrams.
    pub fn unfinished(&self) -> usize {
        self.open.len()
    }

    /// Adds a fragment; returns the datagram after the prefix `before` if it is complete.
    fn join(&mut self, before: &[u8], packet: &Ip<'_>) -> Option<Vec<u8>> {
        let fragment = if packet.is_v4() { fragment_v4(packet) } else { fragment_v6(packet) }?;
        let mut key = [before, &fragment.head].concat();
        if !packet.is_v4() {
            key.extend(packet.bytes.get(44..48)?);
        }
        let fragments = self.open.entry(key.clone()).or_default();
        if !fragments.contains(&fragment) {
            fragments.push(fragment);
        }
        let whole = assemble(fragments, packet.is_v4())?;
        self.open.remove(&key);
        Some([before, &whole].concat())
    }
}

fn fragment_v4(packet: &Ip<'_>) -> Option<Fragment> {
    let flags = u16_at(packet.bytes, 6)?;
    let mut head = packet.bytes.get(..packet.header)?.to_vec();
    head[2..4].fill(0);
    head[6..8].copy_from_slice(&(flags & 0x4000).to_be_bytes());
    head[10..12].fill(0);
    Some(Fragment {
        offset: usize::from(flags & 0x1fff) * 8,
        last: flags & 0x2000 == 0,
        data: packet.payload().to_vec(),
        head,
        right: packet.header_checksum_is_right(),
    })
}

fn fragment_v6(packet: &Ip<'_>) -> Option<Fragment> {
    let field = u16_at(packet.bytes, 42)?;
    let mut head = packet.bytes.get(..40)?.to_vec();
    head[4..6].fill(0);
    head[6] = *packet.bytes.get(40)?;
    let data = packet.bytes.get(48..)?.to_vec();
    Some(Fragment { offset: usize::from(field & 0xfff8), last: field & 1 == 0, data, head, right: true })
}

fn assemble(fragments: &mut [Fragment], is_v4: bool) -> Option<Vec<u8>> {
    fragments.sort_by_key(|fragment| fragment.offset);
    let mut end = 0;
    for fragment in &*fragments {
        if fragment.offset != end {
            return None;
        }
        end += fragment.data.len();
    }
    let (first, last) = (fragments.first()?, fragments.last()?);
    if !last.last {
        return None;
    }
    let mut whole = first.head.clone();
    let length = if is_v4 { whole.len() + end } else { end };
    let at = if is_v4 { 2 } else { 4 };
    whole[at..at + 2].copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
    if is_v4 {
        let sum = super::frames::header_checksum(&whole);
        // If any checksum was wrong, the datagram gets a wrong one.
        let sum = if fragments.iter().all(|fragment| fragment.right) { sum } else { !sum };
        whole[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    fragments.iter().for_each(|fragment| whole.extend(&fragment.data));
    Some(whole)
}

/// Offset of a packet parsed from this frame.
fn offset(frame: &[u8], packet: &Ip<'_>) -> usize {
    (packet.bytes.as_ptr().addr() - frame.as_ptr().addr()).min(frame.len())
}

/// An outer header without the fields that differ between packets of a tunnel: lengths, IDs and checksums.
fn without_numbers(outer: &[u8]) -> Vec<u8> {
    let mut same = outer.to_vec();
    clear_numbers(&mut same);
    same
}

fn clear_numbers(frame: &mut [u8]) {
    let Some(packet) = ip_of_frame(frame) else { return };
    let (is_v4, header, number) = (packet.is_v4(), packet.header, packet.protocol);
    let fields: &[(usize, usize)] = if is_v4 { &[(2, 4), (10, 2)] } else { &[(4, 2)] };
    let mut blank = |at, len| blank(frame, at, len);
    fields.iter().for_each(|&(at, len)| blank(at, len));
    match number {
        // Source port, length and checksum of GUE.
        protocol::UDP => {
            blank(header, 2);
            blank(header + 4, 4);
        }
        // The checksum of GRE, where there is one.
        protocol::GRE => blank(header + 4, 4),
        _ => {}
    }
}

/// The inner datagram in its tunnel, with the right length in the outer header.
fn wrap(outer: &[u8], inner: &[u8]) -> Vec<u8> {
    let mut frame = [outer, inner].concat();
    let Some(is_v4) = ip_of_frame(outer).map(|packet| packet.is_v4()) else { return frame };
    let length = frame.len() - ETHER - if is_v4 { 0 } else { 40 };
    let at = ETHER + if is_v4 { 2 } else { 4 };
    frame[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes());
    if is_v4 {
        frame[ETHER + 10..ETHER + 12].fill(0);
        let header = usize::from(frame[ETHER] & 15) * 4;
        let sum = super::frames::header_checksum(&frame[ETHER..ETHER + header]);
        frame[ETHER + 10..ETHER + 12].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// Blanks the lengths and checksums of a tunnel header, since fragments may have been encapsulated one by one.
pub fn blank_tunnel(frame: &mut Vec<u8>) {
    let packet = ip_of_frame(frame).and_then(|packet| Some(offset(frame, &tunnelled(&packet)?)));
    if let Some(outer) = packet {
        let same = without_numbers(&frame[..outer]);
        frame.splice(..outer, same);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `10.0.0.1 > 10.0.0.2`, protocol 17, some fragment of packet 7.
    fn fragment(offset: u16, more: bool, data: &[u8]) -> Vec<u8> {
        let mut ip =
            vec![0x45, 0, 0, 20 + data.len() as u8, 0, 7, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        ip[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
        let sum = crate::replay::frames::header_checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [&[0; 12][..], &[8, 0], &ip, data].concat()
    }

    #[test]
    fn a_datagram_is_complete_with_its_last_fragment() {
        let mut reassembler = Reassembler::default();
        assert_eq!(reassembler.take(&fragment(8, false, b"end")), Reassembled::Incomplete);
        assert_eq!(reassembler.take(&fragment(8, false, b"end")), Reassembled::Incomplete);
        assert_eq!(reassembler.unfinished(), 1);
        let Reassembled::Complete(whole) = reassembler.take(&fragment(0, true, b"12345678")) else {
            panic!()
        };
        assert_eq!(&whole[34..], b"12345678end");
        assert!(ip_of_frame(&whole).unwrap().header_checksum_is_right());
        assert_eq!((reassembler.unfinished(), reassembler.take(&whole)), (0, Reassembled::Unfragmented));
    }

    #[test]
    fn a_wrong_checksum_and_another_ttl_are_kept() {
        let mut reassembler = Reassembler::default();
        let mut wrong = fragment(0, true, b"12345678");
        wrong[24] ^= 1;
        reassembler.take(&wrong);
        let Reassembled::Complete(whole) = reassembler.take(&fragment(8, false, b"end")) else { panic!() };
        assert!(!ip_of_frame(&whole).unwrap().header_checksum_is_right());
        let mut other = fragment(8, false, b"end");
        other[22] = 63;
        reassembler.take(&fragment(0, true, b"12345678"));
        assert_eq!(reassembler.take(&other), Reassembled::Incomplete);
    }

    #[test]
    fn encapsulated_fragments_are_reassembled() {
        let outer = |inner: &[u8]| {
            let mut ip =
                vec![0x45, 0, 0, 20 + inner.len() as u8, 9, 9, 0, 0, 64, 4, 0, 0, 10, 0, 2, 1, 10, 0, 2, 2];
            let sum = crate::replay::frames::header_checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            [&[0; 12][..], &[8, 0], &ip, inner].concat()
        };
        let mut reassembler = Reassembler::default();
        let parts = [fragment(0, true, b"12345678"), fragment(8, false, b"end")];
        assert_eq!(reassembler.take(&outer(&parts[0][14..])), Reassembled::Incomplete);
        let Reassembled::Complete(wrapped) = reassembler.take(&outer(&parts[1][14..])) else { panic!() };
        reassembler.take(&parts[0]);
        let Reassembled::Complete(whole) = reassembler.take(&parts[1]) else { panic!() };
        assert_eq!(wrapped, outer(&whole[14..]));
    }
}

//! Trains of fragments, joined again: Linux gathers a train and may cut it elsewhere on its way out, so that only whole
//! packets can be compared.

use std::collections::HashMap;

use super::frames::{ETHER, Ip, carried, ip_of_frame, u16_at};

/// What became of a frame that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It is no part of a train.
    Alone,
    /// The rest of its train is yet to come.
    Part,
    /// It was the last missing part; this is the frame the train would have been.
    Whole(Vec<u8>),
}

/// Trains under way.
#[derive(Debug, Default)]
pub struct Reassembler {
    open: HashMap<Vec<u8>, Vec<Fragment>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fragment {
    /// Where its data belong.
    offset: usize,
    last: bool,
    data: Vec<u8>,
    /// The header that it and the others share, as the whole packet has it but for lengths and checksum.
    head: Vec<u8>,
    /// The header's checksum was right.
    right: bool,
}

impl Reassembler {
    /// Looks at the next frame.
    pub fn take(&mut self, frame: &[u8]) -> Joined {
        let Some(packet) = ip_of_frame(frame) else { return Joined::Alone };
        if packet.is_fragment() {
            return match self.join(frame.get(..ETHER).unwrap_or_default(), &packet) {
                // What was cut outside may have been cut inside before.
                Some(whole) => match self.take(&whole) {
                    Joined::Alone => Joined::Whole(whole),
                    inside => inside,
                },
                None => Joined::Part,
            };
        }
        let Some(inner) = carried(&packet).filter(Ip::is_fragment) else { return Joined::Alone };
        let outer = &frame[..offset(frame, &inner)];
        match self.join(&without_numbers(outer), &inner) {
            Some(whole) => Joined::Whole(wrap(outer, &whole[without_numbers(outer).len()..])),
            None => Joined::Part,
        }
    }

    /// Trains that were begun and not ended.
    pub fn unfinished(&self) -> usize {
        self.open.len()
    }

    /// Adds a fragment; the whole packet behind `before` when it was the last.
    fn join(&mut self, before: &[u8], packet: &Ip<'_>) -> Option<Vec<u8>> {
        let piece = if packet.is_v4() { piece_v4(packet) } else { piece_v6(packet) }?;
        let mut key = [before, &piece.head].concat();
        if !packet.is_v4() {
            key.extend(packet.bytes.get(44..48)?);
        }
        let fragments = self.open.entry(key.clone()).or_default();
        if !fragments.contains(&piece) {
            fragments.push(piece);
        }
        let whole = assemble(fragments, packet.is_v4())?;
        self.open.remove(&key);
        Some([before, &whole].concat())
    }
}

fn piece_v4(packet: &Ip<'_>) -> Option<Fragment> {
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

fn piece_v6(packet: &Ip<'_>) -> Option<Fragment> {
    let place = u16_at(packet.bytes, 42)?;
    let mut head = packet.bytes.get(..40)?.to_vec();
    head[4..6].fill(0);
    head[6] = *packet.bytes.get(40)?;
    let data = packet.bytes.get(48..)?.to_vec();
    Some(Fragment { offset: usize::from(place & 0xfff8), last: place & 1 == 0, data, head, right: true })
}

fn assemble(fragments: &mut [Fragment], is_v4: bool) -> Option<Vec<u8>> {
    fragments.sort_by_key(|piece| piece.offset);
    let mut end = 0;
    for piece in &*fragments {
        if piece.offset != end {
            return None;
        }
        end += piece.data.len();
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
        // A wrong checksum on any part stays a wrong one.
        let sum = if fragments.iter().all(|piece| piece.right) { sum } else { !sum };
        whole[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    fragments.iter().for_each(|piece| whole.extend(&piece.data));
    Some(whole)
}

/// Where in a frame a packet begins that was found there.
fn offset(frame: &[u8], packet: &Ip<'_>) -> usize {
    (packet.bytes.as_ptr().addr() - frame.as_ptr().addr()).min(frame.len())
}

/// An outer header without what differs between packets of one tunnel: lengths, IDs and checksums.
fn without_numbers(outer: &[u8]) -> Vec<u8> {
    let mut same = outer.to_vec();
    clear_numbers(&mut same);
    same
}

fn clear_numbers(frame: &mut [u8]) {
    let Some(packet) = ip_of_frame(frame) else { return };
    let (is_v4, header, protocol) = (packet.is_v4(), packet.header, packet.protocol);
    let fields: &[(usize, usize)] = if is_v4 { &[(2, 4), (10, 2)] } else { &[(4, 2)] };
    let mut blank = |at: usize, len: usize| {
        if let Some(field) = frame.get_mut(ETHER + at..ETHER + at + len) {
            field.fill(0);
        }
    };
    fields.iter().for_each(|&(at, len)| blank(at, len));
    match protocol {
        // Source port, length and checksum of GUE.
        super::frames::protocol::UDP => {
            blank(header, 2);
            blank(header + 4, 4);
        }
        // The checksum of GRE, where there is one.
        super::frames::protocol::GRE => blank(header + 4, 4),
        _ => {}
    }
}

/// The whole inner packet in its tunnel, with the right length outside.
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

/// Blanks the lengths and checksums of a tunnel that carries a packet whose parts may have been wrapped one by one.
pub fn blank_tunnel(frame: &mut Vec<u8>) {
    let packet = ip_of_frame(frame).and_then(|packet| Some(offset(frame, &carried(&packet)?)));
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
    fn a_train_is_whole_when_its_last_part_is_there() {
        let mut reassembler = Reassembler::default();
        assert_eq!(reassembler.take(&fragment(8, false, b"end")), Joined::Part);
        assert_eq!(reassembler.take(&fragment(8, false, b"end")), Joined::Part);
        assert_eq!(reassembler.unfinished(), 1);
        let Joined::Whole(whole) = reassembler.take(&fragment(0, true, b"12345678")) else { panic!() };
        assert_eq!(&whole[34..], b"12345678end");
        assert!(ip_of_frame(&whole).unwrap().header_checksum_is_right());
        assert_eq!((reassembler.unfinished(), reassembler.take(&whole)), (0, Joined::Alone));
    }

    #[test]
    fn a_wrong_checksum_and_another_ttl_do_not_get_lost() {
        let mut reassembler = Reassembler::default();
        let mut wrong = fragment(0, true, b"12345678");
        wrong[24] ^= 1;
        reassembler.take(&wrong);
        let Joined::Whole(whole) = reassembler.take(&fragment(8, false, b"end")) else { panic!() };
        assert!(!ip_of_frame(&whole).unwrap().header_checksum_is_right());
        let mut other = fragment(8, false, b"end");
        other[22] = 63;
        reassembler.take(&fragment(0, true, b"12345678"));
        assert_eq!(reassembler.take(&other), Joined::Part);
    }

    #[test]
    fn parts_wrapped_one_by_one_are_the_wrapped_whole() {
        let outer = |inner: &[u8]| {
            let mut ip =
                vec![0x45, 0, 0, 20 + inner.len() as u8, 9, 9, 0, 0, 64, 4, 0, 0, 10, 0, 2, 1, 10, 0, 2, 2];
            let sum = crate::replay::frames::header_checksum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            [&[0; 12][..], &[8, 0], &ip, inner].concat()
        };
        let mut reassembler = Reassembler::default();
        let parts = [fragment(0, true, b"12345678"), fragment(8, false, b"end")];
        assert_eq!(reassembler.take(&outer(&parts[0][14..])), Joined::Part);
        let Joined::Whole(wrapped) = reassembler.take(&outer(&parts[1][14..])) else { panic!() };
        reassembler.take(&parts[0]);
        let Joined::Whole(whole) = reassembler.take(&parts[1]) else { panic!() };
        assert_eq!(wrapped, outer(&whole[14..]));
    }
}

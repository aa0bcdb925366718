//! Simulates the kernel behind the balancer: its reply to a packet passes through the balancer, which has to translate the
//! reply if it passed a translated packet.

use super::frames::{ETHER, Ip, blank, fill_checksums, ip_of_frame, protocol, u16_at};
use super::topology::is_own;

/// The form in which an input was passed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Unchanged.
    Unchanged,
    /// With a local address as the new destination: the server is on this machine.
    Translated,
}

/// Returns the form of `given`, made from `input`; `None` if anything else was changed. The TTL may be decremented.
pub fn classify(input: &[u8], given: &[u8]) -> Option<Delivery> {
    if input == given {
        return Some(Delivery::Unchanged);
    }
    let (before, after) = (ip_of_frame(input)?, ip_of_frame(given)?);
    let ours = is_own(after.destination) && after.destination != before.destination;
    let right =
        after.header_checksum_is_right() && (after.l4_checksum_is_right() || !before.l4_checksum_is_right());
    let same = ours && right && without_destination(input, &before) == without_destination(given, &after);
    same.then_some(Delivery::Translated)
}

/// The frame without destination address and port, checksums and TTL.
fn without_destination(frame: &[u8], packet: &Ip<'_>) -> Vec<u8> {
    let mut rest = frame.to_vec();
    let mut blank = |at, len| blank(&mut rest, at, len);
    if packet.is_v4() {
        blank(8, 1);
        blank(10, 2);
        blank(16, 4);
    } else {
        blank(7, 1);
        blank(24, 16);
    }
    let sum = match packet.protocol {
        protocol::TCP => Some((16, 2)),
        protocol::UDP => Some((6, 2)),
        protocol::SCTP => Some((8, 4)),
        _ => None,
    };
    if let Some((at, len)) = sum {
        blank(packet.header + 2, 2);
        blank(packet.header + at, len);
    }
    if packet.quoted().is_some_and(|quoted| quoted.is_v4()) {
        // The checksum of an ICMP error, and the source of the quoted packet.
        blank(packet.header + 2, 2);
        for (at, len) in [(10, 2), (12, 4), (20, 2)] {
            blank(packet.header + 8 + at, len);
        }
    }
    rest
}

/// The frame that the kernel sent in reply to `given`, reconstructed from the recorded frame. `input` became `given`.
pub fn reply_of_kernel(recorded: &[u8], input: &[u8], given: &[u8]) -> Vec<u8> {
    let mut frame = recorded.to_vec();
    if let (Some(reply), Some(before), Some(after)) =
        (ip_of_frame(recorded), ip_of_frame(input), ip_of_frame(given))
        && input != given
    {
        let (header, quoted) =
            (reply.header, reply.quoted().map(|quoted| (quoted.bytes.len(), quoted.ttl())));
        if reply.source == before.destination {
            set_source(&mut frame, &after);
        }
        match quoted {
            Some((len, ttl)) => quote(&mut frame, ETHER + header + 8, &after, len, ttl),
            None => {
                if let (Some(port), Some(field)) =
                    (u16_at(after.payload(), 2), frame.get_mut(ETHER + header..ETHER + header + 2))
                {
                    field.copy_from_slice(&port.to_be_bytes());
                }
            }
        }
        fill_checksums(&mut frame);
    }
    frame
}

fn set_source(frame: &mut [u8], given: &Ip<'_>) {
    let (at, address) = if given.is_v4() { (12, &given.bytes[16..20]) } else { (8, &given.bytes[24..40]) };
    if let Some(field) = frame.get_mut(ETHER + at..ETHER + at + address.len()) {
        field.copy_from_slice(address);
    }
}

/// Replaces the quoted packet by the one passed to the kernel.
fn quote(frame: &mut [u8], at: usize, given: &Ip<'_>, len: usize, ttl: u8) {
    let mut quoted = given.bytes.get(..len).unwrap_or(given.bytes).to_vec();
    if given.is_v4() {
        quoted[8] = ttl;
        quoted[10..12].fill(0);
        let sum = super::frames::header_checksum(&quoted[..given.header.min(len)]);
        quoted[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        quoted[7] = ttl;
    }
    if let Some(field) = frame.get_mut(at..at + quoted.len()) {
        field.copy_from_slice(&quoted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP datagram of four bytes from 192.0.2.1:4000.
    fn datagram(to: [u8; 4], port: u16) -> Vec<u8> {
        let mut ip = vec![0x45, 0, 0, 32, 0, 7, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1];
        ip.extend(to);
        ip.extend(4000u16.to_be_bytes());
        ip.extend(port.to_be_bytes());
        ip.extend([0, 12, 0, 0, 1, 2, 3, 4]);
        let mut frame = [&[0; 12][..], &[8, 0], &ip].concat();
        fill_checksums(&mut frame);
        frame
    }

    #[test]
    fn only_packets_to_this_machine_may_be_translated() {
        let input = datagram([10, 9, 9, 1], 53);
        let given = datagram([10, 0, 2, 1], 5353);
        assert_eq!(classify(&input, &input), Some(Delivery::Unchanged));
        assert_eq!(classify(&input, &given), Some(Delivery::Translated));
        assert_eq!(classify(&input, &datagram([10, 0, 2, 9], 5353)), None, "another machine");
        let mut other = given.clone();
        other[44] ^= 1;
        assert_eq!(classify(&input, &other), None, "other data");
        let mut wrong = given;
        wrong[40] ^= 1;
        assert_eq!(classify(&input, &wrong), None, "a wrong checksum");
    }

    #[test]
    fn the_reply_comes_from_the_translated_destination() {
        let (input, given) = (datagram([10, 9, 9, 1], 53), datagram([10, 0, 2, 1], 5353));
        let mut ip = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 9, 1, 192, 0, 2, 1];
        ip.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        ip.extend(&input[14..]);
        let mut recorded = [&[0; 12][..], &[8, 0], &ip].concat();
        fill_checksums(&mut recorded);
        let frame = reply_of_kernel(&recorded, &input, &given);
        let reply = ip_of_frame(&frame).unwrap();
        assert_eq!(reply.source.to_string(), "10.0.2.1");
        assert!(reply.l4_checksum_is_right() && reply.header_checksum_is_right());
        assert_eq!(reply.quoted().unwrap().bytes, &given[14..]);
        assert_eq!(reply_of_kernel(&recorded, &input, &input), recorded);
    }
}

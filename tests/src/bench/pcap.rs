//! Writes a pcap of UDP flows to one virtual address, a 64-byte frame (60 without its check sequence) each.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

/// Hardware address of `net_pcap0`.
pub const PORT_MAC: [u8; 6] = [0x02, 0x70, 0x63, 0x61, 0x70, 0x00];
const FRAME: usize = 60;
const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const VIP: [u8; 4] = [10, 9, 9, 1];

/// Writes `flows` frames, each of a client and L4 port of its own. Neighbours in the file are far apart in any hash.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, flows: u32) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    // Magic, version 2.4, no time zone, no accuracy, 65535 bytes at most, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.write_all(&word.to_le_bytes())?;
    }
    for flow in 0..flows {
        for word in [0, 0, FRAME as u32, FRAME as u32] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame(flow))?;
    }
    file.flush()
}

/// A frame of one flow: client 16.x.y.z, UDP, to port 80 of the virtual address.
pub fn frame(flow: u32) -> [u8; FRAME] {
    let client = (0x1000_0000 + flow).to_be_bytes();
    let source_port = (1024 + flow % 60_000) as u16;
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&PORT_MAC);
    frame[6..12].copy_from_slice(&CLIENT_MAC);
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = &mut frame[14..34];
    // Version 4, five words; 46 bytes; do not fragment; TTL 64; UDP.
    ip[..10].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17]);
    ip[12..16].copy_from_slice(&client);
    ip[16..20].copy_from_slice(&VIP);
    let sum = checksum(ip, 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame[34..36].copy_from_slice(&source_port.to_be_bytes());
    frame[36..40].copy_from_slice(&[0, 80, 0, 26]);
    // The pseudo header of RFC 768: both addresses, the protocol and the length.
    let pseudo = 17 + 26 + words(&frame[26..34]);
    let sum = checksum(&frame[34..60], pseudo);
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start + words(bytes);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_right_checksums() {
        let frame = frame(123_456);
        assert_eq!(checksum(&frame[14..34], 0), 0);
        assert_eq!(checksum(&frame[34..60], 17 + 26 + words(&frame[26..34])), 0);
    }
}

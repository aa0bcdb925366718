//! Writes capture files for `net_pcap`.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;

/// Writes these frames.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, frames: impl Iterator<Item = Vec<u8>>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    // Magic number, version 2.4, time zone, accuracy, snapshot length, link type Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.write_all(&word.to_le_bytes())?;
    }
    for frame in frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&frame)?;
    }
    file.flush()
}

//! A small SCTP peer (RFC 9260) on a raw socket, for kernels without SCTP: it sends given chunks and checks received ones.

use std::net::Ipv4Addr;

use super::command::{Error, Result};
use super::namespace::Namespace;
use super::raw::Raw;

const PROTOCOL: u8 = 132;
/// Length of the common header: ports, verification tag, checksum.
const COMMON: usize = 12;

/// Chunk types.
pub mod chunk {
    #![allow(missing_docs, reason = "the names are those of RFC 9260, section 3.2")]
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const SACK: u8 = 3;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// One end of an association.
pub struct Peer {
    raw: Raw,
    l4_port: u16,
    /// Address and port of the other end as seen from here; none before the client's first packet.
    pub other: Option<(Ipv4Addr, u16)>,
    /// Verification tag of the other end.
    tag: u32,
}

impl Peer {
    /// An end that sends from this port and receives only packets to it.
    ///
    /// # Errors
    /// If no raw socket can be opened.
    pub fn new(namespace: &Namespace, l4_port: u16) -> Result<Peer> {
        Ok(Peer { raw: Raw::open(namespace, PROTOCOL)?, l4_port, other: None, tag: 0 })
    }

    /// Sends a packet of one chunk.
    ///
    /// # Errors
    /// If the other end is not known yet, or the system call fails.
    pub fn send(&self, kind: u8, value: &[u8]) -> Result<()> {
        let (address, l4_port) =
            self.other.ok_or_else(|| Error("the other end is not known yet".to_owned()))?;
        let mut packet = Vec::new();
        packet.extend(self.l4_port.to_be_bytes());
        packet.extend(l4_port.to_be_bytes());
        packet.extend(if kind == chunk::INIT { 0 } else { self.tag }.to_be_bytes());
        packet.extend([0; 4]);
        let flags = if kind == chunk::DATA { 3 } else { 0 }; // first and last fragment of a message
        packet.extend([kind, flags]);
        packet.extend((value.len() as u16 + 4).to_be_bytes());
        packet.extend(value);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let sum = crc32c::crc32c(&packet);
        packet[8..12].copy_from_slice(&sum.to_le_bytes());
        self.raw.send(address, &packet)
    }

    /// Waits for a chunk and returns its value; its sender is the other end from now on.
    ///
    /// # Errors
    /// If it does not arrive, its checksum is wrong, or it is not from the same sender as before.
    pub fn receive(&mut self, kind: u8) -> Result<Vec<u8>> {
        let ours = self.l4_port.to_be_bytes();
        let received = self.raw.receive(&format!("SCTP chunk {kind}"), |datagram| {
            let packet = datagram.payload();
            packet.len() >= COMMON + 4 && packet[2..4] == ours && packet[COMMON] == kind
        })?;
        let mut packet = received.payload().to_vec();
        let from = (received.source, u16::from_be_bytes([packet[0], packet[1]]));
        let sum = u32::from_le_bytes([packet[8], packet[9], packet[10], packet[11]]);
        packet[8..12].fill(0);
        if crc32c::crc32c(&packet) != sum {
            return Err(Error(format!("the CRC32c of chunk {kind} from {from:?} is wrong")));
        }
        if self.other.is_some_and(|other| other != from) {
            return Err(Error(format!("chunk {kind} is from {from:?}, not from {:?}", self.other)));
        }
        self.other = Some(from);
        let length = usize::from(u16::from_be_bytes([packet[COMMON + 2], packet[COMMON + 3]]));
        let value = packet[COMMON + 4..COMMON + length].to_vec();
        if matches!(kind, chunk::INIT | chunk::INIT_ACK) {
            self.tag = u32::from_be_bytes([value[0], value[1], value[2], value[3]]);
        }
        Ok(value)
    }
}

/// Returns the value of INIT or INIT ACK: tag, window, one stream per direction, initial TSN, then parameters.
pub fn init(tag: u32, parameters: &[u8]) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend(65536_u32.to_be_bytes());
    value.extend([0, 1, 0, 1]);
    value.extend(1_u32.to_be_bytes());
    value.extend(parameters);
    value
}

//! A small SCTP peer on a raw socket, for kernels without SCTP: it says what it is told to and checks what it hears.
//! RFC 9260.

use std::net::Ipv4Addr;

use super::command::{Result, Trouble};
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
    /// The other end's address and port as seen from here; none before the first packet of a client.
    pub other: Option<(Ipv4Addr, u16)>,
    /// The tag the other end wants to see.
    tag: u32,
}

impl Peer {
    /// An end that sends from this port and hears only what is sent to it.
    ///
    /// # Errors
    /// When there is no raw socket to be had.
    pub fn new(namespace: &Namespace, l4_port: u16) -> Result<Peer> {
        Ok(Peer { raw: Raw::open(namespace, PROTOCOL)?, l4_port, other: None, tag: 0 })
    }

    /// Sends a packet of one chunk.
    ///
    /// # Errors
    /// When it is not known whereto, or the kernel refuses.
    pub fn say(&self, kind: u8, value: &[u8]) -> Result<()> {
        let (address, l4_port) = self.other.ok_or_else(|| Trouble("nobody to speak to yet".to_owned()))?;
        let mut packet = Vec::new();
        packet.extend(self.l4_port.to_be_bytes());
        packet.extend(l4_port.to_be_bytes());
        packet.extend(if kind == chunk::INIT { 0 } else { self.tag }.to_be_bytes());
        packet.extend([0; 4]);
        let flags = if kind == chunk::DATA { 3 } else { 0 }; // the first and the last piece of a message
        packet.extend([kind, flags]);
        packet.extend((value.len() as u16 + 4).to_be_bytes());
        packet.extend(value);
        packet.resize(packet.len().next_multiple_of(4), 0);
        let sum = crc32c::crc32c(&packet);
        packet[8..12].copy_from_slice(&sum.to_le_bytes());
        self.raw.send(address, &packet)
    }

    /// Waits for a chunk and gives its value; whoever sent it is the other end from now on.
    ///
    /// # Errors
    /// When it does not come, its checksum is wrong, or it comes from somebody else than before.
    pub fn hear(&mut self, kind: u8) -> Result<Vec<u8>> {
        let ours = self.l4_port.to_be_bytes();
        let came = self.raw.receive(&format!("SCTP chunk {kind}"), |datagram| {
            let packet = datagram.payload();
            packet.len() >= COMMON + 4 && packet[2..4] == ours && packet[COMMON] == kind
        })?;
        let mut packet = came.payload().to_vec();
        let from = (came.source, u16::from_be_bytes([packet[0], packet[1]]));
        let sum = u32::from_le_bytes([packet[8], packet[9], packet[10], packet[11]]);
        packet[8..12].fill(0);
        if crc32c::crc32c(&packet) != sum {
            return Err(Trouble(format!("the CRC32c of chunk {kind} from {from:?} is wrong")));
        }
        if self.other.is_some_and(|other| other != from) {
            return Err(Trouble(format!("chunk {kind} came from {from:?}, not from {:?}", self.other)));
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

/// The value of INIT or INIT ACK: the sender's tag, its window, one stream each way, its first number; then parameters.
pub fn greeting(tag: u32, parameters: &[u8]) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend(65536_u32.to_be_bytes());
    value.extend([0, 1, 0, 1]);
    value.extend(1_u32.to_be_bytes());
    value.extend(parameters);
    value
}

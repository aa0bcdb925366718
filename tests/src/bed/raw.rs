//! Raw IPv4 sockets in a namespace, for packets that no available program sends.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, sendto, socket};

use super::command::{Error, Result};
use super::namespace::Namespace;

/// Time limit of a receive.
const LIMIT: Duration = Duration::from_secs(5);

/// A socket for one protocol; the kernel creates and checks IP headers.
pub struct Raw(OwnedFd);

/// A received packet.
#[derive(Debug)]
pub struct Datagram {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// The whole packet with its IP header.
    pub packet: Vec<u8>,
}

impl Datagram {
    /// Returns the payload of the IP packet.
    pub fn payload(&self) -> &[u8] {
        &self.packet[usize::from(self.packet[0] & 15) * 4..]
    }
}

impl Raw {
    /// Opens a socket for an IANA protocol number.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn open(namespace: &Namespace, protocol: u8) -> Result<Raw> {
        namespace.inside(|| {
            let number = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
            let open = socket(AddressFamily::INET, SocketType::RAW, number).map_err(std::io::Error::from)?;
            set_socket_timeout(&open, Timeout::Recv, Some(LIMIT)).map_err(std::io::Error::from)?;
            Ok(Raw(open))
        })
    }

    /// Sends an IP payload.
    ///
    /// # Errors
    /// If the system call fails.
    pub fn send(&self, to: Ipv4Addr, payload: &[u8]) -> Result<()> {
        let sent = sendto(&self.0, payload, SendFlags::empty(), &SocketAddrV4::new(to, 0));
        sent.map(|_| ()).map_err(|error| Error(format!("cannot send to {to}: {error}")))
    }

    /// Waits for the next matching packet.
    ///
    /// # Errors
    /// If none arrives in time.
    pub fn receive(&self, what: &str, fits: impl Fn(&Datagram) -> bool) -> Result<Datagram> {
        let mut buffer = vec![0; 65536];
        loop {
            let length = rustix::io::read(&self.0, &mut buffer[..])
                .map_err(|error| Error(format!("no {what} arrived within {} s: {error}", LIMIT.as_secs())))?;
            let Some(datagram) = datagram(&buffer[..length]) else { continue };
            if fits(&datagram) {
                return Ok(datagram);
            }
        }
    }
}

fn datagram(packet: &[u8]) -> Option<Datagram> {
    let address =
        |at: usize| -> Option<Ipv4Addr> { Some(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?.into()) };
    Some(Datagram { source: address(12)?, destination: address(16)?, packet: packet.to_vec() })
}

/// Returns the Internet checksum (RFC 1071) of these parts, of which all except the last have even lengths. Over data that contains a correct checksum it is 0.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 =
        words.map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |b| u32::from(*b))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// Returns a TCP SYN of 20 bytes, with its checksum.
pub fn syn(from: SocketAddrV4, to: SocketAddrV4) -> [u8; 20] {
    let mut syn = [0; 20];
    syn[..2].copy_from_slice(&from.port().to_be_bytes());
    syn[2..4].copy_from_slice(&to.port().to_be_bytes());
    syn[12..16].copy_from_slice(&[5 << 4, 2, 0xff, 0xff]);
    let sum = checksum(&[&from.ip().octets(), &to.ip().octets(), &[0, 6, 0, 20], &syn]);
    syn[16..18].copy_from_slice(&sum.to_be_bytes());
    syn
}

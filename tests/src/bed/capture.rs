//! A packet capture: an independent count of what a namespace's interfaces carried.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_recv_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, SocketType, socket};

use super::command::Result;
use super::namespace::Namespace;

/// `ETH_P_ALL` in network byte order; no other protocol shows outgoing packets.
const EVERYTHING: u32 = 3_u16.to_be() as u32;
/// Protocol number of the IPv6 fragment header.
const FRAGMENT: u8 = 44;
/// Receive buffer: large enough not to lose bursts while this thread waits for a CPU.
const BUFFER: usize = 64 << 20;

/// Packets to and from a virtual address.
#[derive(Clone, Copy)]
pub struct Flow {
    /// IANA protocol number.
    pub protocol: u8,
    /// The virtual address.
    pub vip: IpAddr,
    /// The virtual L4 port; 0 for all, including fragments.
    pub l4_port: u16,
}

/// Counts with the names of `stats`; a fragmented datagram is one packet with its original length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different client endpoints.
    pub connections: u64,
    /// Packets to the virtual address.
    pub in_packets: u64,
    /// Packets from the virtual address.
    pub out_packets: u64,
    /// IP bytes to the virtual address.
    pub in_bytes: u64,
    /// IP bytes from the virtual address.
    pub out_bytes: u64,
}

impl Counts {
    /// Returns the sum.
    #[must_use]
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            connections: self.connections + other.connections,
            in_packets: self.in_packets + other.in_packets,
            out_packets: self.out_packets + other.out_packets,
            in_bytes: self.in_bytes + other.in_bytes,
            out_bytes: self.out_bytes + other.out_bytes,
        }
    }
}

type Packets = Arc<Mutex<Vec<Vec<u8>>>>;

/// The capture; it runs until this is dropped.
pub struct Capture {
    packets: Packets,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts to capture on all interfaces of a namespace.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn new(namespace: &Namespace) -> Result<Capture> {
        let tap = namespace.inside(|| {
            let everything = NonZeroU32::new(EVERYTHING).map(Protocol::from_raw);
            let tap =
                socket(AddressFamily::PACKET, SocketType::DGRAM, everything).map_err(std::io::Error::from)?;
            set_socket_recv_buffer_size_force(&tap, BUFFER).map_err(std::io::Error::from)?;
            set_socket_timeout(&tap, Timeout::Recv, Some(Duration::from_millis(50)))
                .map_err(std::io::Error::from)?;
            Ok(tap)
        })?;
        let (packets, stop) = (Packets::default(), Arc::new(AtomicBool::new(false)));
        let (seen, end) = (Arc::clone(&packets), Arc::clone(&stop));
        let thread = std::thread::spawn(move || capture(&tap, &seen, &end));
        Ok(Capture { packets, stop, thread: Some(thread) })
    }

    /// Returns the packets of a flow in both directions.
    pub fn packets(&self, flow: Flow) -> Vec<Vec<u8>> {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        packets.iter().filter(|packet| flow.direction(packet).is_some()).cloned().collect()
    }

    /// Returns the counts of a flow so far.
    pub fn count(&self, flow: Flow) -> Counts {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        let mut clients = BTreeSet::new();
        for (seen, from_client) in packets.iter().filter_map(|packet| flow.direction(packet)) {
            if from_client {
                counts.in_packets += u64::from(seen.first);
                counts.in_bytes += seen.bytes;
                if seen.first {
                    clients.insert((seen.source, seen.l4_port(0)));
                }
            } else {
                counts.out_packets += u64::from(seen.first);
                counts.out_bytes += seen.bytes;
            }
        }
        counts.connections = clients.len() as u64;
        counts
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of that thread has already been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Flow {
    /// Parses a packet if it belongs to this flow; true if it is from the client to the virtual address.
    fn direction<'a>(&self, packet: &'a [u8]) -> Option<(Seen<'a>, bool)> {
        let seen = Seen::of(packet)?;
        let from_client = seen.destination == self.vip;
        let port = seen.l4_port(if from_client { 2 } else { 0 });
        let ours = (from_client || seen.source == self.vip) && (self.l4_port == 0 || self.l4_port == port);
        (ours && seen.protocol == self.protocol).then_some((seen, from_client))
    }
}

/// Fields of a packet.
struct Seen<'a> {
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    /// It is unfragmented or the first fragment.
    first: bool,
    /// Its contribution to the length of the original packet.
    bytes: u64,
    l4: &'a [u8],
}

impl Seen<'_> {
    fn of(packet: &[u8]) -> Option<Seen<'_>> {
        let word = |at: usize| packet.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let v4 = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
        let v6 = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
        if packet.first()? >> 4 == 4 {
            let header = u16::from(packet[0] & 15) * 4;
            let (first, length) = (word(6)? & 0x1fff == 0, word(2)?);
            let bytes = u64::from(if first { length } else { length - header });
            let l4 = packet.get(header.into()..)?;
            return Some(Seen {
                protocol: packet[9],
                source: v4(12)?,
                destination: v4(16)?,
                first,
                bytes,
                l4,
            });
        }
        let fragment = *packet.get(6)? == FRAGMENT;
        let (at, more) = if fragment { (40, 8) } else { (6, 0) };
        let first = !fragment || word(42)? >> 3 == 0;
        let bytes = u64::from(word(4)?) - more as u64 + if first { 40 } else { 0 };
        let l4 = packet.get(40 + more..)?;
        Some(Seen { protocol: packet[at], source: v6(8)?, destination: v6(24)?, first, bytes, l4 })
    }

    fn l4_port(&self, at: usize) -> u16 {
        self.l4.get(at..at + 2).map_or(0, |port| u16::from_be_bytes([port[0], port[1]]))
    }
}

fn capture(tap: &OwnedFd, packets: &Packets, stop: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    while !stop.load(Ordering::Relaxed) {
        // A timeout: check whether to stop.
        let Ok(length) = rustix::io::read(tap, &mut buffer[..]) else { continue };
        if length >= 20 && matches!(buffer[0] >> 4, 4 | 6) {
            packets.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
        }
    }
}

//! An independent count: what a namespace's wires carried, taken from a packet socket beside whatever runs there.

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

/// `ETH_P_ALL`, the only protocol that shows packets which leave, as the kernel wants it: in network byte order.
const EVERYTHING: u32 = 3_u16.to_be() as u32;
/// The fragment header's number, where IPv6 has one.
const FRAGMENT: u8 = 44;
/// A burst must not be missed while this thread waits for a CPU.
const BUFFER: usize = 64 << 20;

/// Which packets: those to and from a virtual address.
#[derive(Clone, Copy)]
pub struct Flow {
    /// IANA protocol number.
    pub protocol: u8,
    /// The virtual address.
    pub vip: IpAddr,
    /// The virtual port; 0 for all, fragments among them.
    pub l4_port: u16,
}

/// What was counted, in the words of `stats`: a datagram in fragments is one packet with its length before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// Different client endpoints.
    pub connections: u64,
    /// Packets to the virtual address.
    pub in_packets: u64,
    /// Packets from it.
    pub out_packets: u64,
    /// IP bytes to it.
    pub in_bytes: u64,
    /// IP bytes from it.
    pub out_bytes: u64,
}

impl Wire {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Wire) -> Wire {
        Wire {
            connections: self.connections + other.connections,
            in_packets: self.in_packets + other.in_packets,
            out_packets: self.out_packets + other.out_packets,
            in_bytes: self.in_bytes + other.in_bytes,
            out_bytes: self.out_bytes + other.out_bytes,
        }
    }
}

type Packets = Arc<Mutex<Vec<Vec<u8>>>>;

/// The count; it goes on until this is dropped.
pub struct Capture {
    packets: Packets,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts to look at all interfaces of a namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
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
        let thread = std::thread::spawn(move || look(&tap, &seen, &end));
        Ok(Capture { packets, stop, thread: Some(thread) })
    }

    /// The packets of a flow, either way, as they were on the wire.
    pub fn packets(&self, flow: Flow) -> Vec<Vec<u8>> {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        packets.iter().filter(|packet| flow.inwards(packet).is_some()).cloned().collect()
    }

    /// What a flow came to so far.
    pub fn count(&self, flow: Flow) -> Wire {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wire = Wire::default();
        let mut clients = BTreeSet::new();
        for (seen, inwards) in packets.iter().filter_map(|packet| flow.inwards(packet)) {
            if inwards {
                wire.in_packets += u64::from(seen.first);
                wire.in_bytes += seen.bytes;
                if seen.first {
                    clients.insert((seen.source, seen.l4_port(0)));
                }
            } else {
                wire.out_packets += u64::from(seen.first);
                wire.out_bytes += seen.bytes;
            }
        }
        wire.connections = clients.len() as u64;
        wire
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of that thread has been printed already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Flow {
    /// A packet of this flow, and whether it goes to the virtual address or else comes from it.
    fn inwards<'a>(&self, packet: &'a [u8]) -> Option<(Seen<'a>, bool)> {
        let seen = Seen::of(packet)?;
        let inwards = seen.destination == self.vip;
        let port = seen.l4_port(if inwards { 2 } else { 0 });
        let ours = (inwards || seen.source == self.vip) && (self.l4_port == 0 || self.l4_port == port);
        (ours && seen.protocol == self.protocol).then_some((seen, inwards))
    }
}

/// What a packet says of itself.
struct Seen<'a> {
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    /// It is a whole packet, or the first of its fragments.
    first: bool,
    /// What it adds to the length of the packet it is, or is a fragment of.
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

fn look(tap: &OwnedFd, packets: &Packets, stop: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    while !stop.load(Ordering::Relaxed) {
        // Nothing came for a while: time to see whether to stop.
        let Ok(length) = rustix::io::read(tap, &mut buffer[..]) else { continue };
        if length >= 20 && matches!(buffer[0] >> 4, 4 | 6) {
            packets.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
        }
    }
}

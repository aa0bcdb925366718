//! An independent count: what a namespace's wires carried, taken from a packet socket beside whatever runs there.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
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
/// A burst must not be missed while this thread waits for a CPU.
const BUFFER: usize = 64 << 20;

/// Which packets: those to and from a virtual address.
#[derive(Clone, Copy)]
pub struct Flow {
    /// IANA protocol number.
    pub protocol: u8,
    /// The virtual address.
    pub vip: Ipv4Addr,
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
pub struct Witness {
    packets: Packets,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    /// Starts to look at all interfaces of a namespace.
    ///
    /// # Errors
    /// When the kernel refuses the socket.
    pub fn new(namespace: &Namespace) -> Result<Witness> {
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
        Ok(Witness { packets, stop, thread: Some(thread) })
    }

    /// The packets of a flow, either way, as they were on the wire.
    pub fn packets(&self, flow: Flow) -> Vec<Vec<u8>> {
        let packets = self.packets.lock().unwrap_or_else(PoisonError::into_inner);
        packets.iter().filter(|packet| flow.inwards(packet).is_some()).cloned().collect()
    }

    /// What a flow came to so far.
    pub fn count(&self, flow: Flow) -> Wire {
        let mut wire = Wire::default();
        let mut clients = BTreeSet::new();
        for packet in self.packets(flow) {
            let first = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0;
            let length = u64::from(u16::from_be_bytes([packet[2], packet[3]]));
            let bytes = if first { length } else { length - header(&packet) as u64 };
            if flow.inwards(&packet) == Some(true) {
                wire.in_packets += u64::from(first);
                wire.in_bytes += bytes;
                if first {
                    clients.insert((packet[12..16].to_vec(), l4_port(&packet, 0)));
                }
            } else {
                wire.out_packets += u64::from(first);
                wire.out_bytes += bytes;
            }
        }
        wire.connections = clients.len() as u64;
        wire
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic of that thread has been printed already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Flow {
    /// Whether a packet goes to the virtual address, or else comes from it; none when it is of another flow.
    fn inwards(&self, packet: &[u8]) -> Option<bool> {
        (packet.len() > header(packet) + 4 && packet[9] == self.protocol).then_some(())?;
        let vip = self.vip.octets();
        let inwards = packet[16..20] == vip;
        let port = l4_port(packet, if inwards { 2 } else { 0 });
        let ours = (inwards || packet[12..16] == vip) && (self.l4_port == 0 || self.l4_port == port);
        ours.then_some(inwards)
    }
}

fn header(packet: &[u8]) -> usize {
    usize::from(packet[0] & 15) * 4
}

fn l4_port(packet: &[u8], at: usize) -> u16 {
    let at = header(packet) + at;
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

fn look(tap: &OwnedFd, packets: &Packets, stop: &AtomicBool) {
    let mut buffer = vec![0; 65536];
    while !stop.load(Ordering::Relaxed) {
        // Nothing came for a while: time to see whether to stop.
        let Ok(length) = rustix::io::read(tap, &mut buffer[..]) else { continue };
        if length >= 20 && buffer[0] >> 4 == 4 {
            packets.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..length].to_vec());
        }
    }
}

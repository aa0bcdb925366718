//! What a real server of a bed does beside HTTP: it takes packets out of IP-in-IP tunnels and echoes UDP.
//!
//! Many kernels come without tunnel drivers, so packets are unwrapped here: raw sockets receive them and a TUN
//! device gives the inner packet back to the kernel.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{io, thread};

use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// IANA protocol numbers of an IPv4 and an IPv6 packet in another packet.
const INNER: [u32; 2] = [4, 41];

fn main() -> io::Result<()> {
    let tun = Arc::new(DeviceBuilder::new().name("unwrap0").layer(Layer::L3).enable(true).build_sync()?);
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        for inner in INNER {
            let protocol = std::num::NonZeroU32::new(inner).map(Protocol::from_raw);
            let raw = socket(family, SocketType::RAW, protocol)?;
            let tun = Arc::clone(&tun);
            thread::spawn(move || unwrap(&raw, family == AddressFamily::INET, &tun));
        }
    }
    let echo = UdpSocket::bind("[::]:7")?;
    println!("serving");
    let mut buffer = vec![0; 65536];
    loop {
        let (length, from) = echo.recv_from(&mut buffer)?;
        // An answer that cannot be sent is lost, as on any network.
        let _ = echo.send_to(&buffer[..length], from);
    }
}

/// Gives the packets inside those of a raw socket to the kernel. Only IPv4 raw sockets show the outer header.
fn unwrap(raw: &OwnedFd, outer_shown: bool, tun: &SyncDevice) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok(length) = rustix::io::read(raw, &mut buffer[..]) else { continue };
        let header = if outer_shown { usize::from(buffer[0] & 15) * 4 } else { 0 };
        if length > header {
            // A packet the kernel refuses is lost, as on any network.
            let _ = tun.send(&buffer[header..length]);
        }
    }
}

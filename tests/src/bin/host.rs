//! What a real server of a bed does beside HTTP: it takes packets out of IP-in-IP tunnels and echoes UDP; with
//! `--gre-and-gue` it takes them out of GRE and of GUE on UDP port 6080 instead.
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

/// GRE's protocol number.
const GRE: u32 = 47;
const GUE_L4_PORT: u16 = 6080;

fn main() -> io::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--gre-and-gue") {
        return gre_and_gue();
    }
    let tun = device("unwrap0")?;
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        for inner in INNER {
            let protocol = std::num::NonZeroU32::new(inner).map(Protocol::from_raw);
            let raw = socket(family, SocketType::RAW, protocol)?;
            let tun = Arc::clone(&tun);
            thread::spawn(move || unwrap(&raw, family == AddressFamily::INET, &tun, |_| Some(0)));
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

fn device(name: &str) -> io::Result<Arc<SyncDevice>> {
    Ok(Arc::new(DeviceBuilder::new().name(name).layer(Layer::L3).enable(true).build_sync()?))
}

/// Over IPv4 only, and without keys, which IPVS never sends.
fn gre_and_gue() -> io::Result<()> {
    let tun = device("unwrap1")?;
    let protocol = std::num::NonZeroU32::new(GRE).map(Protocol::from_raw);
    let raw = socket(AddressFamily::INET, SocketType::RAW, protocol)?;
    let of_gre = Arc::clone(&tun);
    // The checksum, if there is one, takes four bytes more. RFC 2784.
    thread::spawn(move || {
        unwrap(&raw, true, &of_gre, |gre| Some(if gre.first()? & 0x80 == 0 { 4 } else { 8 }))
    });
    let gue: OwnedFd = UdpSocket::bind(("0.0.0.0", GUE_L4_PORT))?.into();
    println!("serving");
    // The low five bits of the first byte count the words of options.
    unwrap(&gue, false, &tun, |gue| Some(4 + usize::from(gue.first()? & 0x1f) * 4));
    Ok(())
}

/// Gives the packets inside those of a raw socket to the kernel. Only IPv4 raw sockets show the outer header.
/// `wrapping` says how long the headers are that follow it.
fn unwrap(raw: &OwnedFd, outer_shown: bool, tun: &SyncDevice, wrapping: impl Fn(&[u8]) -> Option<usize>) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok(length) = rustix::io::read(raw, &mut buffer[..]) else { continue };
        let header = if outer_shown { usize::from(buffer[0] & 15) * 4 } else { 0 };
        let header = header + wrapping(buffer.get(header..length).unwrap_or_default()).unwrap_or(length);
        if length > header {
            // A packet the kernel refuses is lost, as on any network.
            let _ = tun.send(&buffer[header..length]);
        }
    }
}

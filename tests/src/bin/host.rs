//! Runs on each real server of the test network, beside nginx: decapsulates IP-in-IP packets and echoes UDP. With
//! `--gre-and-gue` it decapsulates GRE, and GUE on UDP port 6080, instead. `--group PROTOCOL GROUP ADDRESS` joins an IPv4
//! multicast group on the interface with this address, as daemons of VRRP and OSPF do, and prints who sends to it.
//!
//! Many kernels have no tunnel drivers, so packets are decapsulated here: raw sockets receive them, and a TUN device
//! delivers the inner packet to the kernel.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{io, thread};

use rustix::net::sockopt::set_ip_add_membership;
use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// IANA protocol numbers of encapsulated IPv4 and IPv6.
const INNER: [u32; 2] = [4, 41];

/// IANA protocol number of GRE.
const GRE: u32 = 47;
const GUE_L4_PORT: u16 = 6080;

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--gre-and-gue"] => return gre_and_gue(),
        ["--group", protocol, group, address] => return listen(protocol, group, address),
        _ => {}
    }
    let tun = device("decap0")?;
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        for inner in INNER {
            let protocol = std::num::NonZeroU32::new(inner).map(Protocol::from_raw);
            let raw = socket(family, SocketType::RAW, protocol)?;
            let tun = Arc::clone(&tun);
            thread::spawn(move || decapsulate(&raw, family == AddressFamily::INET, &tun, |_| Some(0)));
        }
    }
    let echo = UdpSocket::bind("[::]:7")?;
    println!("ready");
    let mut buffer = vec![0; 65536];
    loop {
        let (length, from) = echo.recv_from(&mut buffer)?;
        // A reply that cannot be sent is lost, as on any network.
        let _ = echo.send_to(&buffer[..length], from);
    }
}

fn device(name: &str) -> io::Result<Arc<SyncDevice>> {
    Ok(Arc::new(DeviceBuilder::new().name(name).layer(Layer::L3).enable(true).build_sync()?))
}

/// Decapsulates GRE and GUE, over IPv4 only and without GRE keys, which IPVS never sends.
fn gre_and_gue() -> io::Result<()> {
    let tun = device("decap1")?;
    let protocol = std::num::NonZeroU32::new(GRE).map(Protocol::from_raw);
    let raw = socket(AddressFamily::INET, SocketType::RAW, protocol)?;
    let gre_tun = Arc::clone(&tun);
    // An optional checksum takes four more bytes (RFC 2784).
    thread::spawn(move || {
        decapsulate(&raw, true, &gre_tun, |gre| Some(if gre.first()? & 0x80 == 0 { 4 } else { 8 }))
    });
    let gue: OwnedFd = UdpSocket::bind(("0.0.0.0", GUE_L4_PORT))?.into();
    println!("ready");
    // The low five bits of the first byte are the length of the options in words.
    decapsulate(&gue, false, &tun, |gue| Some(4 + usize::from(gue.first()? & 0x1f) * 4));
    Ok(())
}

fn listen(protocol: &str, group: &str, address: &str) -> io::Result<()> {
    let [group, address] = [group, address].map(|text| text.parse::<Ipv4Addr>().map_err(io::Error::other));
    let (group, address) = (group?, address?);
    let protocol = protocol.parse().ok().and_then(std::num::NonZeroU32::new).map(Protocol::from_raw);
    let raw = socket(AddressFamily::INET, SocketType::RAW, protocol)?;
    set_ip_add_membership(&raw, &group, &address)?;
    println!("ready");
    let mut buffer = [0; 2048];
    loop {
        let length = rustix::io::read(&raw, &mut buffer)?;
        if length >= 20 && buffer[16..20] == group.octets() {
            let source: [u8; 4] = std::array::from_fn(|at| buffer[12 + at]);
            println!("{group} from {}", Ipv4Addr::from(source));
        }
    }
}

/// Delivers the inner packets of those from a raw socket to the kernel. Only IPv4 raw sockets show the outer header.
/// `inner_offset` returns the length of the headers that follow it.
fn decapsulate(
    raw: &OwnedFd,
    has_outer: bool,
    tun: &SyncDevice,
    inner_offset: impl Fn(&[u8]) -> Option<usize>,
) {
    let mut buffer = vec![0; 65536];
    loop {
        let Ok(length) = rustix::io::read(raw, &mut buffer[..]) else { continue };
        let header = if has_outer { usize::from(buffer[0] & 15) * 4 } else { 0 };
        let header = header + inner_offset(buffer.get(header..length).unwrap_or_default()).unwrap_or(length);
        if length > header {
            // A packet that the kernel rejects is lost, as on any network.
            let _ = tun.send(&buffer[header..length]);
        }
    }
}

//! Stories of GRE and GUE: servers that decapsulate, and the encapsulation byte for byte.

use std::net::{Ipv4Addr, UdpSocket};

use pollux_tests::bed::capture::{Capture, Flow};
use pollux_tests::bed::command::{Result, program};
use pollux_tests::bed::process::Process;
use pollux_tests::bed::raw::{Raw, checksum};
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::server::Server;
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 3);
const GUE: u16 = 6080;
const GRE_PROTOCOL: u8 = 47;
const UDP: u8 = 17;

fn service(protocol: &str, l4_port: u16, tunnel: &str, servers: usize) -> String {
    let head = format!("protocol = \"{protocol}\"\naddress = \"10.9.9.3\"\nl4_port = {l4_port}");
    let tail = format!("l4_port = {l4_port}\nmethod = \"tunnel\"\ntunnel = {{ {tunnel} }}");
    rules::service(&head, &tail, servers)
}

/// Decapsulates tunnel packets at a server: by the kernel if it can, else by the host program.
fn decapsulate(bed: &Bed, server: &Server) -> Result<Option<Process>> {
    let place = &server.namespace;
    let gre = place.ip("link add pollux-gre type gre local any remote any ttl 64");
    let gue = place.ip(&format!("fou add port {GUE} gue"));
    if gre.is_ok() && gue.is_ok() {
        place.ip("link set pollux-gre up")?;
        place.ip("link add pollux-gue type ipip encap gue encap-sport auto local any remote any")?;
        place.ip("link set pollux-gue up")?;
        return Ok(None);
    }
    let mut command = place.command(program("host")?);
    let mut host = bed.process(&format!("{}-decapsulate", server.name), command.arg("--gre-and-gue"))?;
    host.until("the host program decapsulates", |log| Ok(log.contains("ready").then_some(())))?;
    Ok(Some(host))
}

pub fn http() -> Result<()> {
    let bed = Bed::new(2)?;
    let _hosts = bed.servers.iter().map(|server| decapsulate(&bed, server)).collect::<Result<Vec<_>>>()?;
    let text = config(&[rules::HTTP[0]], 2)
        + &service("tcp", 80, "type = \"gre\", checksum = \"full\"", 2)
        + &service("tcp", 8080, "type = \"gue\", l4_port = 6080", 2);
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    for l4_port in [80, 8080] {
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..6 {
            names.insert(bed.client.get(&format!("http://10.9.9.3:{l4_port}/"))?);
        }
        assert_eq!(names.len(), 2, "port {l4_port}: {names:?}");
        let flow = Flow { protocol: 6, vip: VIP.into(), l4_port };
        let key = json!({ "address": "10.9.9.3", "l4_port": l4_port });
        counters::agree(&daemon, &key, || capture.count(flow), false)?;
    }
    daemon.accounts_for_all_packets()
}

/// Virtual ports and tunnels of the services that are compared byte by byte.
const KINDS: [(u16, &str); 5] = [
    (1001, "type = \"gre\""),
    (1002, "type = \"gre\", checksum = \"full\""),
    (1003, "type = \"gue\", l4_port = 6080"),
    (1004, "type = \"gue\", l4_port = 6080, checksum = \"full\""),
    (1005, "type = \"gue\", l4_port = 6080, checksum = \"remote\""),
];

/// Packets of a flow. The capture reads in its own thread, which may lag behind the tunnel's other end.
fn captured(capture: &Capture, flow: Flow) -> Result<Vec<Vec<u8>>> {
    wait::until("the capture has the flow's packets", || {
        Ok(Some(capture.packets(flow)).filter(|packets| !packets.is_empty()))
    })
}

pub fn bytes() -> Result<()> {
    let bed = Bed::new(1)?;
    let services = KINDS.map(|(l4_port, tunnel)| service("udp", l4_port, tunnel, 1));
    let daemon = bed.daemon(&(config(&[rules::HTTP[0]], 1) + &services.concat()), 1)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let [gre, gue] = [GRE_PROTOCOL, UDP].map(|protocol| Raw::open(&bed.servers[0].namespace, protocol));
    let (gre, gue) = (gre?, gue?);
    // A socket receives GUE packets; otherwise the server would send ICMP errors.
    let _taker = bed.servers[0].namespace.inside(|| Ok(UdpSocket::bind(("0.0.0.0", GUE))?))?;
    let client = bed.client.namespace.inside(|| Ok(UdpSocket::bind("10.1.0.2:4000")?))?;
    for (l4_port, _) in KINDS {
        client.send_to(b"encapsulated", (VIP, l4_port))?;
        let reader = if l4_port < 1003 { &gre } else { &gue };
        let outer =
            reader.receive("tunnel packet", |packet| packet.destination == Ipv4Addr::new(10, 2, 0, 11))?;
        let sent = captured(&capture, Flow { protocol: UDP, vip: VIP.into(), l4_port })?;
        let inner = one_hop_on(&sent[0]);
        let header = match l4_port {
            1001 => vec![0, 0, 8, 0],
            1002 => {
                let gre = [&[0x80, 0, 8, 0, 0, 0, 0, 0], &inner[..]].concat();
                [&[0x80, 0, 8, 0], &checksum(&[&gre]).to_be_bytes()[..], &[0, 0]].concat()
            }
            _ => udp_and_gue(&outer.packet, &inner, l4_port > 1003),
        };
        let carried = [&header[..], &inner].concat();
        assert_eq!(hex(outer.payload()), hex(&carried), "service {l4_port}");
        assert_eq!(hex(&outer.packet[..20]), hex(&outer_header(&outer.packet, &sent[0], carried.len())));
        assert_eq!(checksum(&[&outer.packet[..20]]), 0, "service {l4_port}: checksum of the outer header");
        let key = json!({ "address": "10.9.9.3", "l4_port": l4_port });
        counters::agree(
            &daemon,
            &key,
            || capture.count(Flow { protocol: UDP, vip: VIP.into(), l4_port }),
            false,
        )?;
    }
    daemon.accounts_for_all_packets()
}

/// Returns the packet with its TTL decremented.
fn one_hop_on(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet[8] -= 1;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..20]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Returns the UDP header, with a source port from the flow hash, and the GUE header without options; spec 6.6.
fn udp_and_gue(outer: &[u8], inner: &[u8], summed: bool) -> Vec<u8> {
    let from = [outer[20], outer[21]];
    assert!((32768..61000).contains(&u16::from_be_bytes(from)), "source port of GUE: {from:?}");
    let length = (8 + 4 + inner.len() as u16).to_be_bytes();
    let mut header = [&from[..], &GUE.to_be_bytes(), &length, &[0, 0], &[0, 4, 0, 0]].concat();
    if summed {
        let pseudo = [&outer[12..20], &[0, UDP], &length[..]].concat();
        let sum = checksum(&[&pseudo, &header, inner]);
        header[6..8].copy_from_slice(&sum.to_be_bytes());
    }
    header
}

/// Returns the expected outer IPv4 header. Identification and checksum are copied: the first is arbitrary, the second is
/// checked separately.
fn outer_header(outer: &[u8], inner: &[u8], carried: usize) -> Vec<u8> {
    let mut header = vec![0x45, inner[1]];
    header.extend((20 + carried as u16).to_be_bytes());
    header.extend(&outer[4..6]);
    header.extend([inner[6] & 0x40, 0, inner[8] - 1, outer[9]]);
    header.extend(&outer[10..12]);
    header.extend([10, 2, 0, 254, 10, 2, 0, 11]);
    header
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

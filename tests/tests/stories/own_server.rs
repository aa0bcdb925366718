//! A real server on the balancer itself: its kernel fragments replies that exceed the MTU, and the balancer translates the
//! fragments.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use pollux_tests::bed::capture::{Capture, Flow};
use pollux_tests::bed::command::Result;
use pollux_tests::bed::namespace::Namespace;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const L4_PORT: u16 = 7007;
/// Length of a reply: six fragments.
const LONG: usize = 8000;
/// Number of clients; enough for both workers to own some.
const CLIENTS: usize = 16;

fn socket(place: &Namespace, at: SocketAddr) -> Result<UdpSocket> {
    let socket = place.inside(|| Ok(UdpSocket::bind(at)?))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(socket)
}

/// Sends a request and receives the long reply; `None` if a datagram was lost.
fn ask(client: &UdpSocket, server: &UdpSocket, vip: SocketAddr) -> Result<Option<()>> {
    let mut buffer = vec![0; 65536];
    client.send_to(b"query", vip)?;
    let Ok((_, from)) = server.recv_from(&mut buffer) else { return Ok(None) };
    let answer: Vec<u8> = (0..LONG).map(|at| ((at * 31) >> 3) as u8).collect();
    server.send_to(&answer, from)?;
    let Ok((len, who)) = client.recv_from(&mut buffer) else { return Ok(None) };
    assert_eq!(who, vip, "the reply is from the address of the request");
    assert!(buffer[..len] == answer, "the reply is unchanged");
    Ok(Some(()))
}

pub fn fragmented_replies() -> Result<()> {
    let bed = Bed::new(1)?;
    let families = [("10.9.9.1", "10.2.0.254", "10.1.0.2"), ("fd00:9::1", "fd00:2::254", "fd00:1::2")];
    let services = families.map(|(vip, server, _)| {
        let head = format!("protocol = \"udp\"\naddress = \"{vip}\"\nl4_port = 53");
        let tail = format!("l4_port = {L4_PORT}\nmethod = \"nat\"");
        rules::service(&head, &tail, 1).replace("10.2.0.11", server)
    });
    let daemon = bed.daemon(&(config(&[rules::HTTP[0]], 1) + &services.concat()), 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let at = |address: &str, port: u16| SocketAddr::new(address.parse().expect("an address"), port);
    for (vip, server, client) in families {
        let server = socket(&bed.balancer, at(server, L4_PORT))?;
        let to = at(vip, 53);
        for _ in 0..CLIENTS {
            let client = socket(&bed.client.namespace, at(client, 0))?;
            wait::until("a long reply", || ask(&client, &server, to))?;
        }
        let flow = Flow { protocol: 17, vip: to.ip(), l4_port: 0 };
        let key = json!({ "protocol": "udp", "address": vip });
        counters::agree(&daemon, &key, || capture.count(flow), true)?;
        assert_eq!(counters::service(&daemon, &key)?["live"]["out_packets"], CLIENTS);
    }
    daemon.accounts_for_all_packets()
}

//! IPsec: ESP has no ports and is sent to the server of the key exchange.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use pollux_tests::bed::capture::{Capture, Flow};
use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::raw::Raw;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 2);
const ESP: u8 = 50;

/// Returns an ESP payload with this security parameter index; the rest is arbitrary.
fn esp(spi: u32) -> Vec<u8> {
    [&spi.to_be_bytes()[..], &[0, 0, 0, 1], &[0xab; 40]].concat()
}

pub fn follows_isakmp() -> Result<()> {
    let bed = Bed::new(2)?;
    let head = "protocol = \"udp\"\naddress = \"10.9.9.2\"\nl4_port = 500";
    let text = config(&[rules::HTTP[0]], 2) + &rules::service(head, "l4_port = 500\nmethod = \"dr\"", 2);
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let on = |at: &'static str| {
        move || {
            let socket = UdpSocket::bind(at)?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(socket)
        }
    };
    let ike = bed.client.namespace.inside(on("10.1.0.2:500"))?;
    let client = Raw::open(&bed.client.namespace, ESP)?;
    let places: Vec<_> = bed.servers.iter().map(|server| &server.namespace).collect();
    let keys = places.iter().map(|place| place.inside(on("10.9.9.2:500"))).collect::<Result<Vec<_>>>()?;
    let ends = places.iter().map(|place| Raw::open(place, ESP)).collect::<Result<Vec<_>>>()?;

    // A socket receives it; otherwise the kernel would send ICMP errors, perhaps when their connection exists.
    let kernel = Raw::open(&bed.balancer, ESP)?;
    client.send(VIP, &esp(1))?;
    kernel.receive("ESP without a connection", |packet| packet.destination == VIP)?;
    let key = json!({ "protocol": "udp", "address": "10.9.9.2" });
    assert_eq!(counters::service(&daemon, &key)?["live"]["in_packets"], 0);

    ike.send_to(b"phase one", (VIP, 500))?;
    let mut buffer = [0; 100];
    let chosen = wait::until("a server received the key exchange", || {
        keys.iter().for_each(|socket| _ = socket.set_read_timeout(Some(Duration::from_millis(100))));
        Ok(keys.iter().position(|socket| socket.peek_from(&mut buffer).is_ok()))
    })?;
    let (_, from) = keys[chosen].recv_from(&mut buffer)?;
    keys[chosen].send_to(b"phase two", from)?;
    ike.recv_from(&mut buffer).map_err(|error| Error(format!("no reply to the key exchange: {error}")))?;

    for spi in 2..6 {
        client.send(VIP, &esp(spi))?;
        let came = ends[chosen].receive("ESP", |packet| packet.destination == VIP)?;
        assert_eq!(came.payload(), esp(spi), "ESP was changed or reordered");
        ends[chosen].send(came.source, &esp(spi + 100))?;
        client.receive("ESP reply", |packet| packet.payload() == esp(spi + 100))?;
    }
    // The key exchange and the ESP after it are one connection; the ESP before it was not balanced.
    let count = || {
        let count = |protocol, l4_port| capture.count(Flow { protocol, vip: VIP.into(), l4_port });
        let mut sum = count(17, 500).plus(count(ESP, 0));
        sum.connections = 1;
        sum.in_packets -= 1;
        sum.in_bytes -= 20 + esp(1).len() as u64;
        sum
    };
    counters::agree(&daemon, &key, count, false)?;
    daemon.accounts_for_all_packets()
}

//! Stories of SCTP through NAT with port translation.

use std::net::Ipv4Addr;

use pollux_tests::bed::capture::{Capture, Flow};
use pollux_tests::bed::command::{Error, Result, output};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::sctp::{Peer, chunk, init};
use pollux_tests::bed::{Bed, wait};
use rustix::net::{AddressFamily, SocketType, ipproto, socket};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);

/// Returns why a story cannot run on this kernel.
pub fn missing_requirement(story: &str) -> Option<String> {
    if !story.contains("sctp_test") && !story.contains("SCTP chunk") {
        return None;
    }
    // Opening a socket loads the module, if there is one.
    let kernel = socket(AddressFamily::INET, SocketType::SEQPACKET, Some(ipproto::SCTP)).is_ok();
    if story.contains("sctp_test") && !kernel {
        return Some("this kernel has no SCTP".to_owned());
    }
    (story.contains("SCTP chunk") && kernel)
        .then(|| "this kernel's own SCTP would reply to the raw sockets' packets".to_owned())
}

fn start(bed: &Bed) -> Result<Daemon> {
    let head = "protocol = \"sctp\"\naddress = \"10.9.9.1\"\nl4_port = 5000";
    let text = config(&[rules::HTTP[0]], 1) + &rules::service(head, "l4_port = 6000\nmethod = \"nat\"", 1);
    let daemon = bed.daemon(&text, 1)?;
    warm_up(bed)?;
    Ok(daemon)
}

/// Waits until the one SCTP connection is in a state.
fn state(daemon: &Daemon, state: &str) -> Result<()> {
    let mut last = Vec::new();
    wait::until(&format!("the connection is in state {state}"), || {
        last = counters::connections(daemon, false)?;
        Ok(last
            .iter()
            .any(|connection| connection["protocol"] == "sctp" && connection["state"] == state)
            .then_some(()))
    })
    .map_err(|error| Error(format!("{error}; connections: {last:?}")))
}

pub fn chunks() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = start(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let mut client = Peer::new(&bed.client.namespace, 4000)?;
    client.other = Some((VIP, 5000));
    let mut server = Peer::new(&bed.servers[0].namespace, 6000)?;
    let cookie = b"a cookie of odd length.";
    let parameter = [&[0, 7, 0, 4 + cookie.len() as u8], &cookie[..], &[0]].concat();
    client.send(chunk::INIT, &init(0x1111, &[]))?;
    server.receive(chunk::INIT)?;
    state(&daemon, "INIT1")?;
    server.send(chunk::INIT_ACK, &init(0x2222, &parameter))?;
    client.receive(chunk::INIT_ACK)?;
    state(&daemon, "C-SENT")?;
    // Sender, chunk, and the state of the connection afterwards; spec 5.4.
    let message = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &b"seventeen letters"[..]].concat();
    let received = [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0];
    let said: [(bool, u8, &[u8], &str); 7] = [
        (true, chunk::COOKIE_ECHO, cookie, "C-REPLIED"),
        (false, chunk::COOKIE_ACK, &[], "ESTABLISHED"),
        (true, chunk::DATA, &message, "ESTABLISHED"),
        (false, chunk::SACK, &received, "ESTABLISHED"),
        (true, chunk::SHUTDOWN, &[0, 0, 0, 1], "S-RECEIVED"),
        (false, chunk::SHUTDOWN_ACK, &[], "S-ACK-SENT"),
        (true, chunk::SHUTDOWN_COMPLETE, &[], "CLOSED"),
    ];
    for (by_client, kind, value, then) in said {
        let (from, to) = if by_client { (&client, &mut server) } else { (&server, &mut client) };
        from.send(kind, value)?;
        assert_eq!(to.receive(kind)?, value, "chunk {kind} was changed in transit");
        state(&daemon, then)?;
    }
    assert_eq!(server.other, Some((Ipv4Addr::new(10, 1, 0, 1), 4000)));
    let flow = Flow { protocol: 132, vip: VIP.into(), l4_port: 5000 };
    let key = json!({ "protocol": "sctp", "address": "10.9.9.1" });
    counters::agree(&daemon, &key, || capture.count(flow), true)?;
    daemon.accounts_for_all_packets()
}

pub fn programs() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = start(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let mut listen = bed.servers[0].namespace.command("sctp_test");
    let mut server = bed.process("sctp_test", listen.args(["-H", "10.2.0.11", "-P", "6000", "-l"]))?;
    server.until("sctp_test listens", |log| Ok(log.contains("Listening").then_some(())))?;
    let mut speak = bed.client.namespace.command("sctp_test");
    output(
        speak.args([
            "-H", "10.1.0.1", "-P", "4000", "-h", "10.9.9.1", "-p", "5000", "-s", "-x", "1", "-X", "1",
        ]),
    )?;
    let flow = Flow { protocol: 132, vip: VIP.into(), l4_port: 5000 };
    let key = json!({ "protocol": "sctp", "address": "10.9.9.1" });
    counters::agree(&daemon, &key, || capture.count(flow), true)?;
    daemon.accounts_for_all_packets()
}

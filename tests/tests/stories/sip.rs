//! Stories of SIP: all messages of a call reach one server, from any port and in both call directions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use pollux_tests::bed::capture::{Capture, Counts, Flow};
use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::process::Process;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::server::Server;
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const CALLS: usize = 8;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 2);
const NAT_VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 2, 0, 11), Ipv4Addr::new(10, 2, 0, 12)];

/// Starts `sipp` as a server that logs every message.
fn answerer(bed: &Bed, server: &Server) -> Result<Process> {
    let mut command = server.namespace.command("sipp");
    command.args(["-sn", "uas", "-i", "10.9.9.2", "-p", "5060", "-nostdin", "-trace_msg", "-message_file"]);
    command.arg(messages(bed, server));
    let mut process = bed.process(&format!("{}-sip", server.name), &mut command)?;
    let socket = || output(server.namespace.command("ss").args(["-Hlun", "sport", "=", "5060"]));
    process.until("sipp listens", |_| Ok((!socket()?.is_empty()).then_some(())))?;
    Ok(process)
}

fn messages(bed: &Bed, server: &Server) -> std::path::PathBuf {
    bed.directory().join(format!("{}-messages", server.name))
}

/// Returns the Call-IDs of each server's messages with this method.
fn calls(bed: &Bed, method: &str) -> BTreeMap<String, BTreeSet<String>> {
    let calls_of = |server: &Server| {
        let text = std::fs::read_to_string(messages(bed, server)).unwrap_or_default();
        let got = text.split("message received").skip(1).filter_map(|rest| {
            let message = rest.trim_start_matches(|c| c != '\n').trim_start();
            let id = message.lines().find_map(|line| line.strip_prefix("Call-ID:"))?;
            message.starts_with(method).then(|| id.trim().to_owned())
        });
        (server.name.clone(), got.collect())
    };
    bed.servers.iter().map(calls_of).collect()
}

/// Sends a message within a call from this socket.
fn info(call: &str, socket: &UdpSocket) -> Result<Vec<u8>> {
    let from = socket.local_addr()?;
    let message = format!(
        "INFO sip:service@10.9.9.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK-1\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: {call}\r\nCSeq: 9 INFO\r\nContent-Length: 0\r\n\r\n",
    );
    Ok(message.into_bytes())
}

pub fn calls_stick() -> Result<()> {
    let bed = Bed::new(2)?;
    let _answerers = bed.servers.iter().map(|server| answerer(&bed, server)).collect::<Result<Vec<_>>>()?;
    let head = "protocol = \"udp\"\naddress = \"10.9.9.2\"\nl4_port = 5060\nops = true\n\
                persistence = { timeout = 60, engine = \"sip\" }";
    let text = config(&[rules::HTTP[0]], 2) + &rules::service(head, "l4_port = 5060\nmethod = \"dr\"", 2);
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let mut caller = bed.client.namespace.command("sipp");
    caller.args(["-sn", "uac", "10.9.9.2:5060", "-i", "10.1.0.2", "-p", "6060", "-nostdin", "-r", "20"]);
    caller.args(["-m", &CALLS.to_string(), "-timeout", "15s", "-timeout_error"]);
    output(&mut caller)?;
    let invited = calls(&bed, "INVITE");
    assert_eq!(invited.values().map(BTreeSet::len).sum::<usize>(), CALLS, "{invited:?}");
    assert!(invited.values().all(|calls| !calls.is_empty()), "one server received all calls: {invited:?}");
    assert_eq!(invited, calls(&bed, "BYE"), "a BYE reached another server than its INVITE");
    assert_eq!(counters::connections(&daemon, true)?.len(), CALLS);

    // Each call continues from a port of its own.
    for call in invited.values().flatten() {
        let socket = bed.client.namespace.inside(|| Ok(UdpSocket::bind("10.1.0.2:0")?))?;
        socket.send_to(&info(call, &socket)?, (VIP, 5060))?;
    }
    wait::until("messages from other ports reach the servers of their calls", || {
        Ok((calls(&bed, "INFO") == invited).then_some(()))
    })
    .inspect_err(|_| eprintln!("invited {invited:?}, later {:?}", calls(&bed, "INFO")))?;
    let templates = counters::connections(&daemon, true)?;
    let listed: BTreeSet<_> = templates
        .iter()
        .filter_map(|template| template["engine"]["data"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(listed, invited.into_values().flatten().collect());
    let key = json!({ "protocol": "udp", "address": "10.9.9.2" });
    let count = || {
        let wire = capture.count(Flow { protocol: 17, vip: VIP.into(), l4_port: 5060 });
        Counts { connections: wire.in_packets, ..wire }
    };
    counters::agree(&daemon, &key, count, false)?;
    daemon.accounts_for_all_packets()
}

/// Starts `sipp` at the client, as a phone that accepts calls on this port.
fn phone(bed: &Bed, l4_port: u16) -> Result<Process> {
    let port = l4_port.to_string();
    let mut command = bed.client.namespace.command("sipp");
    command.args(["-sn", "uas", "-i", "10.1.0.1", "-p", &port, "-nostdin"]);
    let mut process = bed.process(&format!("phone-{port}"), &mut command)?;
    let socket = || output(bed.client.namespace.command("ss").args(["-Hlun", "sport", "=", &port]));
    process.until("the phone listens", |_| Ok((!socket()?.is_empty()).then_some(())))?;
    Ok(process)
}

pub fn servers_call() -> Result<()> {
    let bed = Bed::new(2)?;
    let head = "protocol = \"udp\"\naddress = \"10.9.9.1\"\nl4_port = 5060\n\
                persistence = { timeout = 60, engine = \"sip\" }";
    let text = config(&[rules::HTTP[0]], 2) + &rules::service(head, "l4_port = 5060\nmethod = \"nat\"", 2);
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let capture = Capture::new(&bed.client.namespace)?;
    let _phones = [phone(&bed, 5060)?, phone(&bed, 5062)?];
    for (number, to) in ["10.1.0.1:5060", "10.1.0.1:5062"].into_iter().enumerate() {
        let server = &bed.servers[number];
        // Each call is completed: messages of the phone to the virtual address return to the caller.
        let mut caller = server.namespace.command("sipp");
        caller.args([
            "-sn",
            "uac",
            to,
            "-i",
            &ADDRESSES[number].to_string(),
            "-p",
            "5060",
            "-nostdin",
            "-r",
            "20",
        ]);
        caller.args(["-m", &CALLS.to_string(), "-timeout", "15s", "-timeout_error"]);
        output(&mut caller)?;
        let own = capture.count(Flow { protocol: 17, vip: ADDRESSES[number].into(), l4_port: 0 });
        assert_eq!(own, Counts::default(), "{}'s own address was seen at the client", server.name);
    }

    // Each call continues from a port of its own.
    let templates = counters::connections(&daemon, true)?;
    let calls: Vec<&str> =
        templates.iter().filter_map(|template| template["engine"]["data"].as_str()).collect();
    for (server, address) in bed.servers.iter().zip(ADDRESSES) {
        let socket = server.namespace.inside(|| Ok(UdpSocket::bind((address, 5060))?))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let own: Vec<&&str> = calls.iter().filter(|call| call.ends_with(&address.to_string())).collect();
        assert!(!own.is_empty(), "no calls of {}: {templates:?}", server.name);
        for call in own {
            let from = bed.client.namespace.inside(|| Ok(UdpSocket::bind("10.1.0.1:0")?))?;
            from.send_to(&info(call, &from)?, (NAT_VIP, 5060))?;
            let mut got = [0; 1500];
            let (length, sender) = socket.recv_from(&mut got)?;
            assert_eq!(sender, from.local_addr()?);
            assert!(String::from_utf8_lossy(&got[..length]).contains(*call));
        }
    }
    let key = json!({ "protocol": "udp", "address": "10.9.9.1" });
    let count = || capture.count(Flow { protocol: 17, vip: NAT_VIP.into(), l4_port: 5060 });
    counters::agree(&daemon, &key, count, true)?;
    daemon.accounts_for_all_packets()
}

//! A story of SIP: messages of one call meet one server, whatever port they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, UdpSocket};

use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::process::Process;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::server::Server;
use pollux_tests::bed::witness::{Flow, Wire, Witness};
use pollux_tests::bed::{Bed, wait};
use serde_json::json;

use super::counters;
use super::http::warm_up;

const CALLS: usize = 8;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 2);

/// `sipp` as a server that writes down every message it gets.
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

/// The Call-IDs of the messages with this method that each server got.
fn calls(bed: &Bed, method: &str) -> BTreeMap<String, BTreeSet<String>> {
    let of = |server: &Server| {
        let text = std::fs::read_to_string(messages(bed, server)).unwrap_or_default();
        let got = text.split("message received").skip(1).filter_map(|rest| {
            let message = rest.trim_start_matches(|c| c != '\n').trim_start();
            let id = message.lines().find_map(|line| line.strip_prefix("Call-ID:"))?;
            message.starts_with(method).then(|| id.trim().to_owned())
        });
        (server.name.clone(), got.collect())
    };
    bed.servers.iter().map(of).collect()
}

pub fn calls_stick() -> Result<()> {
    let bed = Bed::new(2)?;
    let _answerers = bed.servers.iter().map(|server| answerer(&bed, server)).collect::<Result<Vec<_>>>()?;
    let head = "protocol = \"udp\"\naddress = \"10.9.9.2\"\nl4_port = 5060\none_packet = true\n\
                persistence = { timeout = 60, engine = \"sip\" }";
    let text = config(&[rules::HTTP[0]], 2) + &rules::service(head, "l4_port = 5060\nmethod = \"dr\"", 2);
    let daemon = bed.daemon(&text, 2)?;
    warm_up(&bed)?;
    let witness = Witness::new(&bed.client.namespace)?;
    let mut caller = bed.client.namespace.command("sipp");
    caller.args(["-sn", "uac", "10.9.9.2:5060", "-i", "10.1.0.2", "-p", "6060", "-nostdin", "-r", "20"]);
    caller.args(["-m", &CALLS.to_string(), "-timeout", "15s", "-timeout_error"]);
    output(&mut caller)?;
    let invited = calls(&bed, "INVITE");
    assert_eq!(invited.values().map(BTreeSet::len).sum::<usize>(), CALLS, "{invited:?}");
    assert!(invited.values().all(|calls| !calls.is_empty()), "one server got all: {invited:?}");
    assert_eq!(invited, calls(&bed, "BYE"), "a BYE went elsewhere than its INVITE");
    assert_eq!(counters::connections(&daemon, true)?.len(), CALLS);

    // Each call goes on from a port of its own.
    for call in invited.values().flatten() {
        let socket = bed.client.namespace.inside(|| Ok(UdpSocket::bind("10.1.0.2:0")?))?;
        let message = format!(
            "INFO sip:service@10.9.9.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-1\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: {call}\r\nCSeq: 9 INFO\r\nContent-Length: 0\r\n\r\n",
            socket.local_addr()?,
        );
        socket.send_to(message.as_bytes(), (VIP, 5060))?;
    }
    wait::until("messages from other ports meet the servers of their calls", || {
        Ok((calls(&bed, "INFO") == invited).then_some(()))
    })
    .inspect_err(|_| eprintln!("invited {invited:?}, later {:?}", calls(&bed, "INFO")))?;
    let templates = counters::connections(&daemon, true)?;
    let listed: BTreeSet<_> =
        templates.iter().filter_map(|of| of["engine"]["data"].as_str().map(str::to_owned)).collect();
    assert_eq!(listed, invited.into_values().flatten().collect());
    let key = json!({ "protocol": "udp", "address": "10.9.9.2" });
    let count = || {
        let wire = witness.count(Flow { protocol: 17, vip: VIP.into(), l4_port: 5060 });
        Wire { connections: wire.in_packets, ..wire }
    };
    counters::agree(&daemon, &key, count, false)?;
    daemon.balanced()
}

//! Stories of balanced traffic.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use pollux_tests::bed::command::{Error, Result, output};
use pollux_tests::bed::metal::{Metal, Mtu};
use pollux_tests::bed::rules::{ECHO, HTTP, Rule};
use pollux_tests::bed::wait;

/// Bytes of a body.
const BODY: usize = 200_000;
/// Largest UDP payload, and payload of an echo request, at MTU 9000 over IPv4.
const JUMBO_PAYLOAD: usize = 9000 - 28;
/// Time limit of a reply that takes milliseconds on a machine of its own.
const SOON: Duration = Duration::from_secs(8);
/// UDP flows over two workers.
const FLOWS: usize = 100;

pub fn bodies(metal: &mut Metal, rule: &Rule) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    metal.all_answer(rule)?;
    transfers(metal, rule)?;
    metal.accounts_for_all_packets()
}

/// Downloads and uploads a body and compares it.
fn transfers(metal: &Metal, rule: &Rule) -> Result<()> {
    let (bed, url) = (&metal.bed, rule.url());
    let file = bed.directory().join("body");
    let range = format!("0-{}", BODY - 1);
    output(bed.client.curl().args(["--range", &range, "--output"]).arg(&file).arg(format!("{url}big")))?;
    let body = fs::read(&file)?;
    if !bed.servers.iter().any(|server| server.big[..BODY] == body) {
        return Err(Error(format!("{url}: the download of {} bytes differs", body.len())));
    }
    let name = format!("{}-{}", rule.method, rule.vip.replace(':', "-"));
    output(bed.client.curl().arg("--upload-file").arg(&file).arg(format!("{url}put/{name}")))?;
    if !bed.servers.iter().any(|server| server.uploaded(&name).is_some_and(|there| there == body)) {
        return Err(Error(format!("{url}: no server has the uploaded body")));
    }
    Ok(())
}

/// The twin's VLAN interface stays until polluxd starts again, the service as well.
pub fn vlan(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    let (client, server) = (&metal.bed.client, &metal.bed.servers[0]);
    let _vlan = metal.bed.vlan(server, 7)?;
    server.namespace.address("10.7.0.21/24", "vlan7")?;
    metal.guest.run(
        "/usr/sbin/ip link add link pollux1 name vlan7 type vlan id 7 && /usr/sbin/ip link set vlan7 up &&
         /usr/sbin/ip address add 10.7.0.254/24 dev vlan7",
    )?;
    let full = ["-c", "1", "-W", "3", "-M", "do", "-s", "1472", "10.7.0.254"];
    let ping = || Ok(output(server.namespace.command("ping").args(full)).ok());
    wait::within(SOON, "a ping of 1500 bytes passes the VLAN", ping)?;
    // Otherwise replies take the server's other interface.
    server.namespace.ip("route add 10.1.0.1 via 10.7.0.254")?;
    metal.pollux("service add tcp 10.9.9.1:8080 --scheduler rr")?;
    metal.pollux("destination add tcp 10.9.9.1:8080 10.7.0.21:80 --method nat")?;
    let file = metal.bed.directory().join("body");
    let url = "http://10.9.9.1:8080/big";
    output(client.curl().args(["--range", &format!("0-{}", BODY - 1), "--output"]).arg(&file).arg(url))?;
    if fs::read(&file)? != server.big[..BODY] {
        return Err(Error("the download differs".to_owned()));
    }
    metal.accounts_for_all_packets()
}

/// NAT over IPv4, so that replies too must arrive at the worker that owns their flow.
pub fn no_hand_off(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    metal.all_answer(&HTTP[0])?;
    let before = (metal.sum("handoff_sent")?, metal.sum("connections")?);
    for _ in 0..10 {
        metal.bed.client.get(&HTTP[0].url())?;
    }
    for _ in 0..FLOWS {
        echo(metal, b"hello", wait::LIMIT)?;
    }
    let stats = metal.json("stats")?;
    let workers = stats["workers"].as_array().map_or(&[][..], Vec::as_slice);
    if workers.iter().any(|worker| worker["connections"].as_u64() < Some(10)) {
        return Err(Error(format!("one of {} workers has hardly any connections: {stats:#}", workers.len())));
    }
    let after = (metal.sum("handoff_sent")?, metal.sum("connections")?);
    if after.0 != before.0 {
        let (packets, connections) = (after.0 - before.0, after.1 - before.1);
        return Err(Error(format!("{packets} packets of {connections} connections were handed off")));
    }
    Ok(())
}

/// Sends a datagram over a new flow and expects its echo.
fn echo(metal: &Metal, payload: &[u8], limit: Duration) -> Result<()> {
    let socket = metal.bed.client.namespace.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    socket.connect((ECHO.vip, ECHO.l4_port))?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(payload)?;
    let mut buffer = vec![0; 65536];
    let length = socket
        .recv(&mut buffer)
        .map_err(|error| Error(format!("no echo of {} bytes: {error}", payload.len())))?;
    if buffer[..length] == *payload { Ok(()) } else { Err(Error("the echo differs".to_owned())) }
}

/// Sends an echo request of the largest size to the kernel.
pub fn jumbo_ping(metal: &mut Metal, address: &str) -> Result<()> {
    metal.daemon(Mtu::Jumbo)?;
    metal.bed.client.ping(address)?;
    let payload = if address.contains(':') { JUMBO_PAYLOAD - 20 } else { JUMBO_PAYLOAD };
    let mut ping = metal.bed.client.namespace.command("ping");
    output(ping.args(["-c", "1", "-W", "5", "-M", "do", "-s", &payload.to_string(), address])).map(drop)
}

pub fn jumbo_datagrams(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Jumbo)?;
    // A datagram that arrives before the neighbour is known may be lost.
    wait::until("a short echo", || Ok(echo(metal, b"hello", Duration::from_secs(1)).ok()))?;
    let payload: Vec<u8> = (0..JUMBO_PAYLOAD).map(|at| (at >> 3) as u8).collect();
    (0..4).try_for_each(|_| echo(metal, &payload, Duration::from_secs(5)))
}

pub fn jumbo_bodies(metal: &mut Metal, rule: &Rule) -> Result<()> {
    metal.daemon(Mtu::Jumbo)?;
    metal.all_answer(rule)?;
    transfers(metal, rule)?;
    metal.accounts_for_all_packets()
}

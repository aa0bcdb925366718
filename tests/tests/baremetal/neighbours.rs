//! Stories of what the twins must receive to be a router's interfaces: broadcasts and multicasts of the link.

use std::time::Duration;

use pollux_tests::bed::command::{Error, Result, output};
use pollux_tests::bed::guest::MACS;
use pollux_tests::bed::metal::{Metal, Mtu};
use pollux_tests::bed::raw::Raw;
use pollux_tests::bed::wait;

/// Time limit of a reply that takes milliseconds on a machine of its own.
const SOON: Duration = Duration::from_secs(8);

pub fn arp(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    learns(metal, "10.1.0.254")?;
    metal.bed.client.ping("10.9.9.1")
}

pub fn discovery(metal: &mut Metal) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    learns(metal, "fd00:1::254")?;
    metal.bed.client.ping("fd00:9::1")
}

/// Lets the client forget its neighbours, ping the balancer's address, and checks that it has learnt the card's MAC address.
fn learns(metal: &Metal, address: &str) -> Result<()> {
    let client = &metal.bed.client;
    client.namespace.ip("neighbour flush dev net0")?;
    wait::within(SOON, &format!("{address} answers a ping"), || Ok(client.ping(address).ok()))?;
    let mut show = client.namespace.command("ip");
    let entry = output(show.args(["neighbour", "show", address, "dev", "net0"]))?;
    if entry.contains(MACS[0]) {
        return Ok(());
    }
    Err(Error(format!("the client does not have {address} at {}: {entry}", MACS[0])))
}

pub fn vrrp(metal: &mut Metal) -> Result<()> {
    reaches_twin(metal, 112, "224.0.0.18")
}

pub fn ospf(metal: &mut Metal) -> Result<()> {
    reaches_twin(metal, 89, "224.0.0.5")
}

/// Joins a group on the first twin, and waits until a packet of the client to the group arrives there.
fn reaches_twin(metal: &mut Metal, protocol: u8, group: &str) -> Result<()> {
    metal.daemon(Mtu::Standard)?;
    let (listener, log) =
        (format!("host --group {protocol} {group} 10.1.0.254"), format!("/root/group{protocol}"));
    metal.guest.run(&format!("{listener} </dev/null >{log} 2>&1 & echo $! >{log}.pid"))?;
    let read = |what: &str| {
        let text = metal.guest.run(&format!("cat {log}"))?;
        Ok(text.contains(what).then_some(()))
    };
    wait::until("the group is joined", || read("ready"))?;
    let client = &metal.bed.client.namespace;
    client.ip("route replace 224.0.0.0/24 dev net0")?;
    let (raw, to) = (Raw::open(client, protocol)?, group.parse().map_err(|_| Error(group.to_owned()))?);
    let arrived = wait::within(SOON, &format!("a packet to {group} reaches the twin"), || {
        raw.send(to, &[0; 20])?;
        read(&format!("{group} from 10.1.0."))
    });
    metal.guest.run(&format!("kill $(cat {log}.pid)"))?;
    arrived
}

//! Stories of the network around the balancer.

use pollux_tests::bed::command::{Result, output};
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

/// Returns why a story cannot run on this kernel.
pub fn missing_requirement(story: &str) -> Option<String> {
    let vlan = story.contains("VLAN") && !std::path::Path::new("/proc/net/vlan").exists();
    vlan.then(|| "this kernel has no 802.1Q driver (`modprobe 8021q` loads it if it is available)".to_owned())
}

pub fn udp_echo() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&[rules::ECHO], 1), 1)?;
    let ask = "exec 3<>/dev/udp/10.9.9.1/7; echo hello >&3; timeout 1 dd bs=2048 count=1 status=none <&3";
    // A datagram that arrives before the routes are known is lost, so the sender repeats it.
    let answer =
        wait::until("an echo", || Ok(output(bed.client.namespace.command("bash").args(["-c", ask])).ok()))?;
    assert_eq!(answer.trim(), "hello");
    daemon.accounts_for_all_packets()
}

pub fn ping() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    for vip in ["10.9.9.1", "10.9.9.3", "fd00:9::1", "fd00:9::3", "10.1.0.254", "fd00:1::254"] {
        bed.client.ping(vip)?;
    }
    daemon.accounts_for_all_packets()
}

pub fn neighbour_moves() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    all_answer(&bed, &rules::HTTP)?;
    let server = &bed.servers[0].namespace;
    server.ip("link set eth0 address 02:00:00:00:99:01")?;
    bed.balancer.ip("neighbour flush dev pollux1")?;
    wait::until("the server responds at its new MAC address", || {
        Ok(bed.client.get(&rules::HTTP[1].url()).ok())
    })?;
    // A route to a server through an address that does not forward: requests are not answered.
    bed.balancer.ip("route add 10.2.0.11/32 via 10.2.0.1")?;
    bed.balancer.ip("route delete 10.2.0.11/32")?;
    wait::until("requests are answered through the old route again", || {
        Ok(bed.client.get(&rules::HTTP[0].url()).ok())
    })?;
    daemon.accounts_for_all_packets()
}

pub fn silent_move() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP, 1), 1)?;
    // The kernel's times, shortened: how long an address is taken for right, and when a stale one is probed.
    for family in ["ipv4", "ipv6"] {
        for (key, value) in [("base_reachable_time_ms", 1000), ("delay_first_probe_time", 1)] {
            bed.balancer.sysctl(&format!("net.{family}.neigh.pollux1.{key}"), value)?;
        }
    }
    // Entries that are there already have the old times.
    bed.balancer.ip("neighbour flush dev pollux1")?;
    let services = [rules::HTTP[1], rules::HTTP[4]];
    all_answer(&bed, &services)?;
    let server = &bed.servers[0].namespace;
    // It tells nobody: Linux announces a new address only with arp_notify and ndisc_notify.
    server.ip("link set eth0 address 02:00:00:00:99:02")?;
    for service in services {
        wait::until("the server is found at its new MAC address", || {
            Ok(bed.client.get(&service.url()).ok())
        })?;
    }
    daemon.accounts_for_all_packets()
}

pub fn vlan() -> Result<()> {
    let bed = Bed::new(1)?;
    let daemon = bed.daemon(&config(&rules::HTTP[..1], 1), 1)?;
    for (namespace, parent, last) in
        [(&bed.balancer, "pollux1", 254), (&bed.servers[0].namespace, "eth0", 21)]
    {
        namespace.ip(&format!("link add link {parent} name vlan7 type vlan id 7"))?;
        namespace.ip("link set vlan7 up")?;
        namespace.address(&format!("10.7.0.{last}/24"), "vlan7")?;
    }
    daemon.pollux("destination remove tcp 10.9.9.1:80 10.2.0.11:80")?;
    daemon.pollux("destination add tcp 10.9.9.1:80 10.7.0.21:80 --method nat")?;
    all_answer(&bed, &rules::HTTP[..1])?;
    daemon.accounts_for_all_packets()
}

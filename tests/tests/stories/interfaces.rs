//! Stories of `polluxd --interface` on interfaces with their default offloads.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;

use pollux_tests::bed::command::{Error, Result, output, program};
use pollux_tests::bed::namespace::Namespace;
use pollux_tests::bed::rules::{self, Rule, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

/// Echo over IPv6; [`rules::ECHO`] is over IPv4.
const ECHO_V6: Rule = Rule { vip: "fd00:9::1", network: "fd00:2::", ..rules::ECHO };
/// Bytes of an upload.
const UPLOAD: usize = 3_000_000;
/// Length of a datagram that takes many fragments.
const DATAGRAM: usize = 65_000;

/// What `polluxd` may change on the balancer's interfaces, as the system's programs print it.
fn settings(bed: &Bed) -> Result<String> {
    let mut text = String::new();
    for port in ["fore", "back"] {
        let sysctls = ["ipv6.conf.{}.disable_ipv6", "ipv4.conf.{}.rp_filter"];
        let sysctls = sysctls.map(|key| format!("net.{}", key.replace("{}", port)));
        let link = output(bed.balancer.command("ip").args(["-o", "link", "show", port]))?;
        // The queue discipline and the state after it follow the link, which comes up slowly.
        text += link.split(" qdisc ").next().unwrap_or_default();
        for (program, words) in [
            ("ip", "-4 -o address show dev"),
            ("ip", "-6 -o address show scope global dev"),
            ("ip", "-4 route show dev"),
            ("ip", "-6 route show dev"),
            ("tc", "qdisc show dev"),
            ("tc", "filter show ingress dev"),
            ("ethtool", "-k"),
        ] {
            text += &output(bed.balancer.command(program).args(words.split(' ')).arg(port))?;
        }
        text += &output(bed.balancer.command("sysctl").args(&sysctls))?;
    }
    Ok(text)
}

/// Resets and unreachable messages that the balancer's own stack has sent.
fn refusals(bed: &Bed) -> Result<u64> {
    let snmp = output(bed.balancer.command("cat").args(["/proc/net/snmp", "/proc/net/snmp6"]))?;
    let of = |protocol: &str, name: &str| -> Option<u64> {
        let mut lines = snmp.lines().filter(|line| line.starts_with(protocol));
        let at = lines.next()?.split(' ').position(|word| word == name)?;
        lines.next()?.split(' ').nth(at)?.parse().ok()
    };
    let v6 = snmp.lines().find_map(|line| line.strip_prefix("Icmp6OutDestUnreachs")?.trim().parse().ok());
    let counts = [of("Tcp: ", "OutRsts"), of("Icmp: ", "OutDestUnreachs"), v6];
    counts.into_iter().sum::<Option<u64>>().ok_or_else(|| Error(format!("counters are missing:\n{snmp}")))
}

/// Downloads and uploads through a service, and compares what arrives.
fn transfers(bed: &Bed, rule: &Rule) -> Result<()> {
    let (sent, received) = (bed.directory().join("sent"), bed.directory().join("received"));
    let server = &bed.servers[0];
    let name = format!("{}-{}", rule.method, if rule.vip.contains(':') { 6 } else { 4 });
    fs::write(&sent, &server.big[..UPLOAD])?;
    output(bed.client.curl().arg("--upload-file").arg(&sent).arg(format!("{}put/{name}", rule.url())))?;
    assert!(server.uploaded(&name).as_deref() == Some(&server.big[..UPLOAD]), "{name}: the upload differs");
    output(bed.client.curl().arg("--output").arg(&received).arg(format!("{}big", rule.url())))?;
    assert!(fs::read(&received)? == server.big, "{name}: the download differs");
    Ok(())
}

fn datagrams(bed: &Bed) -> Result<()> {
    for (bind, to) in [("0.0.0.0:0", "10.9.9.1:7"), ("[::]:0", "[fd00:9::1]:7")] {
        let socket = bed.client.namespace.inside(|| Ok(UdpSocket::bind(bind)?))?;
        socket.set_read_timeout(Some(wait::LIMIT))?;
        socket.connect(to)?;
        let sent: Vec<u8> = (0..DATAGRAM).map(|at| (at >> 3) as u8).collect();
        socket.send(&sent)?;
        let mut received = vec![0; DATAGRAM + 1];
        let length = socket.recv(&mut received).map_err(|error| Error(format!("{to}: {error}")))?;
        assert!(received[..length] == sent, "{to}: the echo differs");
    }
    Ok(())
}

pub fn offloads() -> Result<()> {
    let bed = Bed::with_offloads(1)?;
    let before = settings(&bed)?;
    let services = [&rules::HTTP[..], &[rules::ECHO, ECHO_V6]].concat();
    let mut daemon = bed.daemon_on_interfaces("tap", &config(&services, 1), (1, &[]))?;
    let refused = refusals(&bed)?;
    all_answer(&bed, &rules::HTTP)?;
    for rule in &rules::HTTP {
        transfers(&bed, rule)?;
    }
    datagrams(&bed)?;
    assert_eq!(refusals(&bed)?, refused, "the balancer's own stack refuses what it should not see");
    assert!(daemon.pollux("stats")?.contains("net_tap_fore"), "{}", daemon.pollux("stats")?);
    daemon.accounts_for_all_packets()?;
    daemon.pollux("stop")?;
    daemon.wait_exit()?;
    assert_eq!(settings(&bed)?, before, "{}", daemon.log());
    Ok(())
}

/// Frames of a VLAN keep their tag on the way to the port and from it.
pub fn vlan() -> Result<()> {
    let bed = Bed::with_offloads(1)?;
    let server = &bed.servers[0];
    let _vlan = bed.vlan(server, 7)?;
    server.namespace.address("10.7.0.21/24", "vlan7")?;
    server.namespace.ip("route add 10.1.0.0/24 via 10.7.0.254")?;
    let mac = |namespace: &Namespace, name: &str| -> Result<String> {
        let mac = output(namespace.command("cat").arg(format!("/sys/class/net/{name}/address")))?;
        Ok(mac.trim().to_owned())
    };
    let (fore, back) = (mac(&bed.balancer, "fore")?, mac(&bed.balancer, "back")?);
    let (client, web) = (mac(&bed.client.namespace, "net0")?, mac(&server.namespace, "vlan7")?);
    // Linux has no VLANs on every machine, so the network is configured here.
    let network = format!(
        r#"
[network]
links = [
    {{ name = "fore", port = "net_tap_fore", mac = "{fore}", mtu = 1500 }},
    {{ name = "vlan7", port = "net_tap_back", vlan = 7, mac = "{back}", mtu = 1500 }},
]
addresses = [{{ address = "10.9.9.1", prefix_len = 32, link = "fore" }}]
routes = [
    {{ destination = "10.9.9.1/32", kind = "local" }},
    {{ destination = "10.1.0.0/24", link = "fore" }},
    {{ destination = "10.7.0.0/24", link = "vlan7" }},
]
neighbours = [
    {{ link = "fore", address = "10.1.0.1", mac = "{client}" }},
    {{ link = "vlan7", address = "10.7.0.21", mac = "{web}" }},
]
"#
    );
    let nat = Rule { network: "10.7.0.", ..rules::HTTP[0] };
    let config = config(&[nat], 1).replace("10.7.0.11", "10.7.0.21") + &network;
    let daemon = bed.daemon_on_interfaces("tap", &config, (1, &[]))?;
    server.namespace.ip(&format!("neighbour replace 10.7.0.254 dev vlan7 lladdr {back} nud permanent"))?;
    all_answer(&bed, &[nat])?;
    transfers(&bed, &nat)?;
    daemon.accounts_for_all_packets()
}

/// Modes that read frames as the driver hands them over; peers must send complete checksums.
fn raw(mode: &'static str, driver: &str) -> Result<()> {
    let bed = Bed::with_offloads(1)?;
    bed.finish_checksums()?;
    let before = settings(&bed)?;
    let mut daemon = bed.daemon_on_interfaces(mode, &config(&rules::HTTP, 1), (1, &[]))?;
    let refused = refusals(&bed)?;
    all_answer(&bed, &rules::HTTP)?;
    for rule in [&rules::HTTP[0], &rules::HTTP[3]] {
        transfers(&bed, rule)?;
    }
    assert_eq!(refusals(&bed)?, refused, "the balancer's own stack refuses what it should not see");
    assert!(daemon.pollux("stats")?.contains(driver), "{}", daemon.pollux("stats")?);
    daemon.pollux("stop")?;
    daemon.wait_exit()?;
    assert_eq!(settings(&bed)?, before, "{}", daemon.log());
    Ok(())
}

pub fn packet() -> Result<()> {
    raw("packet", "net_af_packet_fore")
}

pub fn xdp() -> Result<()> {
    raw("xdp", "net_af_xdp_fore")
}

/// Returns why a story cannot run on this machine.
pub fn missing_requirement(story: &str) -> Option<String> {
    let has_driver = || {
        let found = output(Command::new("find").args([
            "/usr/lib",
            "/usr/local/lib",
            "-name",
            "librte_net_af_xdp.so*",
        ]));
        found.is_ok_and(|paths| !paths.is_empty())
    };
    let lacks = story.contains("AF_XDP") && !has_driver();
    lacks.then(|| "DPDK's driver net_af_xdp is not installed".to_owned())
}

/// When a cable is unplugged, the twin and the routes by it notice; when the twin has other hardware addresses, the interface
/// receives their frames.
pub fn follows() -> Result<()> {
    let bed = Bed::with_offloads(1)?;
    let daemon = bed.daemon_on_interfaces("auto", &config(&rules::HTTP, 1), (1, &[]))?;
    all_answer(&bed, &rules::HTTP)?;
    let carrier = |want: &str| {
        wait::until("the twin has the interface's carrier", || {
            let carrier = output(bed.balancer.command("cat").arg("/sys/class/net/pollux0/carrier"))?;
            Ok((carrier.trim() == want).then_some(()))
        })
    };
    carrier("1")?;
    bed.client.namespace.ip("link set net0 down")?;
    carrier("0")?;
    bed.client.namespace.ip("link set net0 up")?;
    carrier("1")?;
    // As keepalived does with use_vmac.
    bed.balancer.ip("link add vrrp.51 link pollux0 address 00:00:5e:00:01:33 type macvlan mode private")?;
    bed.balancer.ip("link set vrrp.51 up")?;
    wait::until("the interface receives frames for the virtual router", || {
        let link = output(bed.balancer.command("ip").args(["link", "show", "fore"]))?;
        Ok(link.contains("PROMISC").then_some(()))
    })?;
    daemon.accounts_for_all_packets()
}

/// The addresses and routes of an interface move to the twin and back.
pub fn taken_over() -> Result<()> {
    let bed = Bed::with_offloads(1)?;
    for address in ["10.1.0.251/24", "fd00:1::251/64"] {
        bed.balancer.address(address, "fore")?;
    }
    bed.balancer.ip("route add 10.66.0.0/16 via 10.1.0.2 metric 7")?;
    bed.balancer.ip("route add fd00:66::/32 via fd00:1::2")?;
    let before = settings(&bed)?;
    let config = config(&rules::HTTP, 1);
    let refused = bed.daemon_on_interfaces("auto", &config, (1, &[])).err().map(|error| error.to_string());
    let refused = refused.expect("an interface with addresses is taken");
    assert!(
        refused.contains("--interface fore: its addresses 10.1.0.251/24, fd00:1::251/64 would stop working")
    );
    assert_eq!(settings(&bed)?, before, "after a refusal");
    let mut daemon = bed.daemon_on_interfaces("auto", &config, (1, &["--take-over"]))?;
    all_answer(&bed, &rules::HTTP)?;
    for address in ["10.1.0.251", "fd00:1::251"] {
        bed.client.ping(address)?;
    }
    let routes = output(bed.balancer.command("ip").args(["route", "show", "10.66.0.0/16"]))?;
    assert!(routes.contains("dev pollux0 metric 7"), "{routes}");
    daemon.kill()?;
    drop(daemon);
    let mut daemon = bed.daemon_on_interfaces("auto", &config, (1, &["--take-over"]))?;
    bed.client.ping("10.1.0.251")?;
    daemon.pollux("stop")?;
    daemon.wait_exit()?;
    assert_eq!(settings(&bed)?, before, "{}", daemon.log());
    Ok(())
}

/// After a kill the interfaces stay taken, so that connections are not reset; the next start uses them, and its stop
/// restores what was there before the first.
pub fn killed() -> Result<()> {
    let bed = Bed::with_offloads(1)?;
    let before = settings(&bed)?;
    let config = config(&rules::HTTP, 1);
    let mut daemon = bed.daemon_on_interfaces("auto", &config, (1, &[]))?;
    all_answer(&bed, &rules::HTTP)?;
    let refused = refusals(&bed)?;
    daemon.kill()?;
    assert!(
        bed.client.get(&rules::HTTP[0].url()).is_err(),
        "a request is answered although the balancer is dead"
    );
    assert_eq!(refusals(&bed)?, refused, "the balancer's own stack answers while no daemon runs");
    drop(daemon);
    let mut daemon = bed.daemon_on_interfaces("auto", &config, (1, &[]))?;
    all_answer(&bed, &rules::HTTP)?;
    daemon.pollux("stop")?;
    daemon.wait_exit()?;
    assert_eq!(settings(&bed)?, before, "{}", daemon.log());
    drop(daemon);
    let mut daemon = bed.daemon_on_interfaces("auto", &config, (1, &[]))?;
    daemon.kill()?;
    assert_ne!(settings(&bed)?, before);
    let mut restore = bed.balancer.command(program("polluxd")?);
    output(restore.arg("--restore-interfaces").arg("--socket").arg(daemon.socket()))?;
    assert_eq!(settings(&bed)?, before, "--restore-interfaces");
    Ok(())
}

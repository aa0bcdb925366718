//! Compares listings with the recorded ones.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::rows::*;
use super::*;
use crate::api::view::{Rates, Stats};
use crate::model::{Config, Method, Settings};

mod parsing;
mod recorded;

#[derive(serde::Deserialize)]
struct Recorded {
    cmds: Vec<RecordedCommand>,
    ipvsadm: BTreeMap<String, Vec<String>>,
}

#[derive(serde::Deserialize)]
struct RecordedCommand {
    cmd: String,
    rc: u8,
    out: String,
}

fn recorded(name: &str) -> Recorded {
    let path = format!("{}/../tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn destination(at: &str, forward: Forward, weight: u32) -> DestinationRow {
    DestinationRow {
        socket: socket(at),
        forward,
        weight,
        upper: 0,
        lower: 0,
        active: 0,
        inactive: 0,
        persistent: 0,
        counters: Stats::default(),
        rates: Rates::default(),
    }
}

fn service(name: ServiceName, scheduler: &str, flags: &[&str]) -> ServiceRow {
    ServiceRow {
        name,
        scheduler: scheduler.to_owned(),
        flags: flags.iter().map(|f| (*f).to_owned()).collect(),
        persistence: None,
        ops: false,
        counters: Stats::default(),
        rates: Rates::default(),
        destinations: Vec::new(),
    }
}

fn persistent(timeout: u32, mask: Option<&str>) -> Option<Persistence> {
    Some(Persistence { timeout, mask: mask.map(str::to_owned), engine: None })
}

fn tcp(at: &str) -> ServiceName {
    ServiceName::Address(Transport::Tcp, socket(at))
}

/// The services of the recorded case `listing`, unsorted.
fn recorded_services() -> Vec<ServiceRow> {
    let mut web = service(tcp("10.9.9.1:80"), "wlc", &[]);
    web.destinations = vec![
        destination("10.0.2.12:8080", Forward::Masq, 5),
        destination("10.0.2.11:80", Forward::Tunnel(Tunnel::Gue(6080, Checksum::No)), 65536),
        destination("10.0.2.14:80", Forward::Tunnel(Tunnel::Gre(Checksum::Yes)), 1),
        destination("10.0.2.13:80", Forward::Tunnel(Tunnel::Gue(6081, Checksum::Remote)), 1),
        destination("10.0.2.15:80", Forward::Tunnel(Tunnel::Ipip), 1),
        destination("10.3.0.1:80", Forward::Route, 0),
    ];
    web.destinations[0].upper = 70000;
    web.destinations[0].lower = 10;
    let mut dns = service(ServiceName::Address(Transport::Udp, socket("10.9.9.1:53")), "rr", &[]);
    dns.persistence = persistent(60, Some("255.255.255.0"));
    dns.ops = true;
    let mut any = service(tcp("10.9.9.1:0"), "rr", &[]);
    any.persistence = persistent(360, None);
    let mut v6 = service(tcp("[fd00:9::1]:80"), "sh", &["sh-fallback", "sh-port"]);
    v6.persistence = persistent(10, Some("64"));
    v6.destinations = vec![destination("[fd00:2::b]:80", Forward::Route, 1)];
    vec![
        service(ServiceName::Fwmark { fwmark: 7, ipv6: true }, "rr", &["flag-3"]),
        service(ServiceName::Fwmark { fwmark: 7, ipv6: false }, "mh", &["mh-fallback"]),
        service(ServiceName::Fwmark { fwmark: 6, ipv6: false }, "rr", &["flag-1"]),
        v6,
        web,
        dns,
        service(ServiceName::Address(Transport::Sctp, socket("10.9.9.1:90")), "lc", &[]),
        any,
    ]
}

#[test]
fn listings_are_those_recorded() {
    let rows = recorded_services();
    let table = |table, exact| services(&rows, Layout { table, exact, ..Layout::default() }, &names::Numeric);
    let web = [rows[4].clone()];
    let ours = [
        ("ipvsadm -Ln", table(command::Table::Plain, false)),
        ("ipvsadm -Ln --thresholds", table(command::Table::Thresholds, false)),
        ("ipvsadm -Ln --persistent-conn", table(command::Table::Persistent, false)),
        ("ipvsadm -Ln --stats", table(command::Table::Stats, false)),
        ("ipvsadm -Ln --stats --exact", table(command::Table::Stats, true)),
        ("ipvsadm -Ln --rate", table(command::Table::Rate, false)),
        ("ipvsadm -Ln --rate --exact", table(command::Table::Rate, true)),
        ("ipvsadm -Ln --tun-info", table(command::Table::TunnelInfo, false)),
        ("ipvsadm -Ln --timeout", timeouts(&Settings::default())),
        ("ipvsadm -Sn", save(&rows, &names::Numeric)),
        ("ipvsadm -Lnc", connections(&[], false, &names::Numeric)),
        ("ipvsadm -Lnc --persistent-conn", connections(&[], true, &names::Numeric)),
        (
            "ipvsadm -Ln -t 10.9.9.1:80",
            services(&web, Layout { single: true, ..Layout::default() }, &names::Numeric),
        ),
    ];
    let recorded = recorded("listing");
    for (command, text) in ours {
        let theirs = recorded.cmds.iter().find(|c| c.cmd == command).unwrap();
        assert_eq!(text, theirs.out, "{command}");
    }
}

#[test]
fn counters_are_printed_as_recorded() {
    let recorded = recorded("nat-tcp-rr");
    let mut web = service(tcp("10.9.9.1:80"), "rr", &[]);
    let counters = |connections, in_packets, out_packets, in_bytes, out_bytes| Stats {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    };
    web.counters = counters(4, 8, 3, 342, 139);
    web.destinations = ["10.0.2.13:80", "10.0.2.12:80", "10.0.2.11:80"]
        .map(|at| DestinationRow { active: 1, ..destination(at, Forward::Masq, 1) })
        .into();
    web.destinations[0].inactive = 1;
    web.destinations[0].counters = counters(2, 6, 3, 262, 139);
    web.destinations[1].counters = counters(1, 1, 0, 40, 0);
    web.destinations[2].counters = counters(1, 1, 0, 40, 0);
    let rows = [web];
    for (option, table) in [
        ("-Ln", command::Table::Plain),
        ("-Ln --stats --exact", command::Table::Stats),
        ("-Ln --persistent-conn", command::Table::Persistent),
    ] {
        let text = services(&rows, Layout { table, exact: true, ..Layout::default() }, &names::Numeric);
        assert_eq!(text.lines().collect::<Vec<_>>(), recorded.ipvsadm[option], "{option}");
    }
}

#[test]
fn connections_are_printed_as_recorded() {
    let row = |state: &str, expires, client, service, destination| ConnectionRow {
        protocol: "TCP".to_owned(),
        expires,
        state: state.to_owned(),
        client: socket(client),
        service: socket(service),
        destination: socket(destination),
        engine: None,
    };
    let rows = [
        row("SYN_RECV", 59, "[2001:db8::10]:40000", "[fd00:9::1]:80", "10.0.2.11:80"),
        row("SYN_RECV", 59, "192.0.2.10:40000", "10.9.9.1:80", "[fd00:2::c]:80"),
    ];
    let text = connections(&rows, false, &names::Numeric);
    assert_eq!(text.lines().collect::<Vec<_>>(), recorded("v6-tun-4").ipvsadm["-Lnc"]);
    let long = [row("ESTABLISHED", 7199, "192.0.2.10:1", "10.9.9.1:80", "10.0.2.11:80")];
    assert!(connections(&long, false, &names::Numeric).contains("TCP 119:59 ESTABLISHED 192.0.2.10:1 "));
}

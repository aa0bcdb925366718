//! Compares listings with the recorded ones.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::api::view::{ConnectionProtocol, ConnectionView, DestinationView, Rates, ServiceView, Stats};
use crate::model::{
    Checksum, Config, Family, Method, Persistence, Protocol, Scheduler, SchedulerFlags, ServiceKey, Settings,
    Tunnel,
};

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

fn destination(at: &str, method: Method, weight: u32) -> DestinationView {
    DestinationView {
        address: socket(at).ip(),
        l4_port: socket(at).port(),
        method,
        tunnel: None,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
        overloaded: false,
        active: 0,
        inactive: 0,
        persistent: 0,
        stats: Stats::default(),
        live: Stats::default(),
        rates: Rates::default(),
    }
}

fn tunnel(at: &str, tunnel: Tunnel, weight: u32) -> DestinationView {
    DestinationView { tunnel: Some(tunnel), ..destination(at, Method::Tunnel, weight) }
}

fn service(key: ServiceKey, scheduler: Scheduler) -> ServiceView {
    ServiceView {
        key,
        scheduler,
        flags: SchedulerFlags::default(),
        persistence: None,
        ops: false,
        destinations: Vec::new(),
        stats: Stats::default(),
        live: Stats::default(),
        rates: Rates::default(),
    }
}

fn fwmark(fwmark: u32, family: Family, scheduler: Scheduler, flags: SchedulerFlags) -> ServiceView {
    ServiceView { flags, ..service(ServiceKey::Fwmark { fwmark, family }, scheduler) }
}

fn key(protocol: Protocol, at: &str) -> ServiceKey {
    ServiceKey::Address { protocol, address: socket(at).ip(), l4_port: socket(at).port() }
}

/// The services of the recorded case `listing`, unsorted.
fn recorded_services() -> Vec<ServiceView> {
    let mut web = service(key(Protocol::Tcp, "10.9.9.1:80"), Scheduler::Wlc);
    web.destinations = vec![
        destination("10.0.2.12:8080", Method::Nat, 5),
        tunnel("10.0.2.11:80", Tunnel::Gue { l4_port: 6080, checksum: Checksum::No }, 65536),
        tunnel("10.0.2.14:80", Tunnel::Gre { checksum: Checksum::Full }, 1),
        tunnel("10.0.2.13:80", Tunnel::Gue { l4_port: 6081, checksum: Checksum::Remote }, 1),
        tunnel("10.0.2.15:80", Tunnel::Ipip, 1),
        destination("10.3.0.1:80", Method::Dr, 0),
    ];
    web.destinations[0].upper_threshold = 70000;
    web.destinations[0].lower_threshold = 10;
    let mut dns = service(key(Protocol::Udp, "10.9.9.1:53"), Scheduler::Rr);
    let netmask = Some(Ipv4Addr::new(255, 255, 255, 0));
    dns.persistence = Some(Persistence { timeout: 60, netmask, ..Persistence::default() });
    dns.ops = true;
    let mut any = service(key(Protocol::Tcp, "10.9.9.1:0"), Scheduler::Rr);
    any.persistence = Some(Persistence::default());
    let mut v6 = service(key(Protocol::Tcp, "[fd00:9::1]:80"), Scheduler::Sh);
    v6.flags = SchedulerFlags { fallback: true, hash_l4_port: true, flag_3: false };
    v6.persistence = Some(Persistence { timeout: 10, prefix_len: Some(64), ..Persistence::default() });
    v6.destinations = vec![destination("[fd00:2::b]:80", Method::Dr, 1)];
    let flag_3 = SchedulerFlags { flag_3: true, ..SchedulerFlags::default() };
    let fallback = SchedulerFlags { fallback: true, ..SchedulerFlags::default() };
    vec![
        fwmark(7, Family::Ipv6, Scheduler::Rr, flag_3),
        fwmark(7, Family::Ipv4, Scheduler::Mh, fallback),
        fwmark(6, Family::Ipv4, Scheduler::Rr, fallback),
        v6,
        web,
        dns,
        service(key(Protocol::Sctp, "10.9.9.1:90"), Scheduler::Lc),
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
    let mut web = service(key(Protocol::Tcp, "10.9.9.1:80"), Scheduler::Rr);
    let counters = |connections, in_packets, out_packets, in_bytes, out_bytes| Stats {
        connections,
        in_packets,
        out_packets,
        in_bytes,
        out_bytes,
    };
    web.stats = counters(4, 8, 3, 342, 139);
    web.destinations = ["10.0.2.13:80", "10.0.2.12:80", "10.0.2.11:80"]
        .map(|at| DestinationView { active: 1, ..destination(at, Method::Nat, 1) })
        .into();
    web.destinations[0].inactive = 1;
    web.destinations[0].stats = counters(2, 6, 3, 262, 139);
    web.destinations[1].stats = counters(1, 1, 0, 40, 0);
    web.destinations[2].stats = counters(1, 1, 0, 40, 0);
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
    let row = |state: &str, expires_secs, client, r#virtual, destination| ConnectionView {
        protocol: ConnectionProtocol::Tcp,
        expires_secs,
        state: state.to_owned(),
        client: socket(client),
        r#virtual: socket(r#virtual),
        destination: socket(destination),
        method: None,
        in_packets: 0,
        flags: Vec::new(),
        engine: None,
        worker: None,
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

//! Tests of the TAP twin, the exception path and the netlink mirror, each in a network namespace of its own.
//!
//! They create interfaces and need root; without it they print that they were skipped.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bed::{Bed, FOREIGN, OURS, PEER, Sent, alone, ip, until};
use pollux_control::kernel::exception::ExceptionPath;
use pollux_control::kernel::netlink::Mirror;
use pollux_control::kernel::tap::{TapDevice, TapError};
use pollux_control::model::network::{NetworkState, Route, RouteKind};

#[path = "kernel/bed.rs"]
mod bed;
#[path = "kernel/frames.rs"]
mod frames;
#[path = "kernel/namespaces.rs"]
mod namespaces;

#[test]
fn a_twin_resembles_its_port_and_is_removed_with_it() {
    alone("a_twin_resembles_its_port_and_is_removed_with_it", || {
        let twin = TapDevice::create("krn0", OURS, 1400).unwrap();
        let shown = ip("-o link show krn0");
        assert!(shown.contains("mtu 1400") && shown.contains(&OURS.to_string()), "{shown}");
        assert!(shown.contains("UP") && shown.contains("LOWER_UP"), "{shown}");

        assert!(matches!(TapDevice::create("krn0", OURS, 1500), Err(TapError::NameTaken { .. })));
        assert!(matches!(TapDevice::create("a-name-too-long-", OURS, 1500), Err(TapError::BadName { .. })));
        drop(twin);
        assert!(!ip("-o link show").contains("krn0"));
    });
}

#[test]
fn the_kernel_answers_a_ping() {
    alone("the_kernel_answers_a_ping", || {
        let bed = Bed::carrying();
        ip("neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev krn0");
        bed.arrives(&frames::ping(OURS, PEER));
        let reply = bed.leaves("an echo reply", frames::is_echo_reply);
        assert_eq!(reply[..6], PEER.0);
        assert_eq!(bed.counters.to_kernel.load(Relaxed), 1);
        until("the reply is counted", || (bed.counters.from_kernel.load(Relaxed) >= 1).then_some(()));

        bed.arrives_at(9, &frames::ping(OURS, PEER));
        bed.drops_one("a frame for a port without a twin");
    });
}

#[test]
fn a_vlan_tag_is_kept_in_both_directions() {
    alone("a_vlan_tag_is_kept_in_both_directions", || {
        let bed = Bed::carrying();
        if !bed::add_vlan("a_vlan_tag_is_kept_in_both_directions") {
            return;
        }
        ip("addr add 10.78.0.1/24 dev krn0.7");
        ip("link set krn0.7 up");
        bed.arrives(&frames::arp_request(PEER, [10, 78, 0, 2], [10, 78, 0, 1], Some(7)));
        let is_reply = |frame: &[u8]| frame[12..18] == [0x81, 0, 0, 7, 0x08, 0x06] && frame[25] == 2;
        let reply = bed.leaves("a tagged ARP reply", is_reply);
        assert_eq!((&reply[..6], &reply[6..12]), (&PEER.0[..], &OURS.0[..]));
    });
}

#[test]
fn a_frame_to_another_host_reaches_the_twin_and_is_not_answered() {
    alone("a_frame_to_another_host_reaches_the_twin_and_is_not_answered", || {
        let bed = Bed::carrying();
        let received = || std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
        bed.arrives(&frames::ping(FOREIGN, PEER));
        let wanted = frames::ping(FOREIGN, PEER).len().to_string();
        until("the twin has received its bytes", || {
            let text = received();
            let twin = text.lines().find(|l| l.trim_start().starts_with("krn0:"))?;
            (twin.split_whitespace().nth(1) == Some(&wanted)).then_some(())
        });
        assert!(
            !bed.left().iter().any(|frame| frames::is_echo_reply(frame)),
            "there is no reply for another host"
        );
    });
}

#[test]
fn frames_of_the_kernel_have_complete_checksums() {
    alone("frames_of_the_kernel_have_complete_checksums", || {
        let bed = Bed::carrying();
        ip("neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev krn0");
        let socket = UdpSocket::bind("10.77.0.1:0").unwrap();
        socket.send_to(b"checksums are not left to a NIC", "10.77.0.2:9999").unwrap();
        let frame = bed.leaves("the datagram", |frame| frame[12..14] == [8, 0] && frame[23] == 17);
        assert!(frames::udp_checksum_is_right(&frame), "{frame:02x?}");
    });
}

#[test]
fn the_exception_path_uses_little_cpu_while_idle() {
    alone("the_exception_path_uses_little_cpu_while_idle", || {
        let twins = ["krn0", "krn1"].map(|n| Some(TapDevice::create(n, OURS, 1500).unwrap()));
        let ring = Arc::new(crossbeam::queue::ArrayQueue::<(usize, bed::Frame)>::new(8));
        let (path, _switch) = ExceptionPath::start(Vec::from(twins), ring, Sent::default()).unwrap();
        let share = bed::cpu_share("pollux-kernel", Duration::from_secs(3));
        println!("idle exception path: {:.1} % of a core", share * 100.0);
        assert!(share < 0.05, "{share}");
        drop(path);
    });
}

#[test]
fn removal_of_a_twin_is_noticed_once() {
    alone("removal_of_a_twin_is_noticed_once", || {
        let bed = Bed::carrying();
        ip("link delete krn0");
        until("the loss is counted", || (bed.counters.twins_lost.load(Relaxed) == 1).then_some(()));
        bed.arrives(&frames::ping(OURS, PEER));
        bed.drops_one("a frame for the lost twin");
    });
}

#[test]
fn a_vlan_on_a_twin_is_a_link_of_its_port() {
    alone("a_vlan_on_a_twin_is_a_link_of_its_port", || {
        let (_twin, _mirror, updates) = bed::mirrored();
        if !bed::add_vlan("a_vlan_on_a_twin_is_a_link_of_its_port") {
            return;
        }
        let tagged =
            |state: &NetworkState| state.links.iter().any(|l| (l.vlan, l.port.as_str()) == (Some(7), "net0"));
        bed::see(&updates, "a VLAN", &tagged);
        ip("link delete krn0.7");
        bed::see(&updates, "its end", &|state| state.links.len() == 1);
    });
}

fn route_to<'a>(network_state: &'a NetworkState, destination: &str) -> Option<&'a Route> {
    network_state.routes.iter().find(|r| r.destination.to_string() == destination)
}

#[test]
fn links_and_neighbours_are_mirrored() {
    alone("links_and_neighbours_are_mirrored", || {
        let (_twin, mirror, updates) = bed::mirrored();
        let first = bed::see(&updates, "the first network state", &|_| true);
        assert_eq!((first.links.len(), first.links[0].port.as_str()), (1, "net0"));
        assert_eq!((first.links[0].mac, first.links[0].mtu), (OURS, 1500));

        let see = |what: &str, there: &dyn Fn(&NetworkState) -> bool| bed::see(&updates, what, there);
        ip("addr add 10.77.0.1/24 dev krn0");
        let address: IpAddr = "10.77.0.1".parse().unwrap();
        see("the address", &|state| {
            state.addresses.iter().any(|a| a.address == address && a.prefix_len == 24)
        });
        ip("neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev krn0");
        see("a neighbour", &|state| state.neighbours.iter().any(|n| n.mac == PEER && n.link == "krn0"));
        ip("neigh del 10.77.0.2 dev krn0");
        see("its end", &|state| !state.neighbours.iter().any(|n| n.mac == PEER));
        ip("link set krn0 mtu 1400");
        see("an MTU", &|state| state.links[0].mtu == 1400);
        assert_eq!(mirror.counters().full_dumps.load(Relaxed), 1, "every change was followed");
        assert_eq!(mirror.counters().unreadable.load(Relaxed), 0);
    });
}

#[test]
fn routes_are_mirrored() {
    alone("routes_are_mirrored", || {
        let (_twin, mirror, updates) = bed::mirrored();
        ip("addr add 10.77.0.1/24 dev krn0");
        let see = |destination: &str, is_so: &dyn Fn(&Route) -> bool| {
            bed::see(&updates, destination, &|state| route_to(state, destination).is_some_and(is_so));
        };
        let via = |text: &str| text.parse::<IpAddr>().ok();
        ip("route add 10.80.0.0/16 via 10.77.0.2 mtu 1300 metric 5");
        see("10.80.0.0/16", &|r| (r.via, r.mtu, r.metric) == (via("10.77.0.2"), Some(1300), 5));
        ip("route replace 10.80.0.0/16 via 10.77.0.3 metric 5");
        see("10.80.0.0/16", &|r| r.via == via("10.77.0.3") && r.link.as_deref() == Some("krn0"));
        ip("route add 10.81.0.0/16 via inet6 fe80::9 dev krn0");
        see("10.81.0.0/16", &|r| r.via == via("fe80::9"));
        ip("route add local 10.9.9.0/24 dev lo");
        see("10.9.9.0/24", &|r| r.kind == RouteKind::Local && r.link.as_deref() == Some("lo"));
        ip("route add blackhole 10.82.0.0/16");
        see("10.82.0.0/16", &|r| r.kind == RouteKind::Blackhole && r.link.is_none());
        ip("-6 route add default via fe80::9 dev krn0");
        see("::/0", &|r| r.via == via("fe80::9"));
        ip("route del 10.80.0.0/16");
        bed::see(&updates, "the end of a route", &|state| route_to(state, "10.80.0.0/16").is_none());
        ip("route add 10.83.0.0/16 nexthop via 10.77.0.4 nexthop via 10.77.0.5");
        see("10.83.0.0/16", &|r| r.via == via("10.77.0.4"));
        assert_eq!(mirror.counters().full_dumps.load(Relaxed), 1, "every change was followed");

        // When a link goes down the kernel removes its IPv4 routes without a notification.
        ip("link set krn0 down");
        bed::see(&updates, "routes gone with their link", &|state| route_to(state, "10.81.0.0/16").is_none());
        assert!(mirror.counters().route_dumps.load(Relaxed) > 0);
    });
}

#[test]
fn rules_are_mirrored() {
    alone("rules_are_mirrored", || {
        let (_twin, mirror, updates) = bed::mirrored();
        ip("addr add 10.77.0.1/24 dev krn0");
        ip("route add default via 10.77.0.9 dev krn0 table 55");
        let known = bed::see(&updates, "the address", &|state| !state.addresses.is_empty());
        assert_eq!(known.rules, [], "no rule that every machine has");
        ip("rule add from 10.9.9.0/24 lookup 55 pref 100");
        let ruled =
            |state: &NetworkState| state.rules.iter().any(|rule| rule.table == 55 && rule.priority == 100);
        let network_state = bed::see(&updates, "a rule and its table", &ruled);
        assert!(network_state.routes.iter().any(|route| route.table == 55), "{network_state:?}");
        ip("-6 rule add fwmark 7 lookup 1000");
        bed::see(&updates, "a rule of IPv6", &|state| {
            state.rules.iter().any(|r| r.fwmark == Some(7) && r.is_ipv6())
        });
        ip("rule del from 10.9.9.0/24 lookup 55");
        let network_state = bed::see(&updates, "the end of a rule", &|state| !ruled(state));
        assert!(network_state.routes.iter().all(|route| route.table != 55), "{network_state:?}");
        assert_eq!(mirror.counters().full_dumps.load(Relaxed), 1, "every change was followed");
    });
}

#[test]
fn the_kernel_resolves_neighbours_for_the_data_plane() {
    alone("the_kernel_resolves_neighbours_for_the_data_plane", || {
        let bed = Bed::carrying();
        let (mirror, updates) = Mirror::start(bed::twins()).unwrap();
        let peer: IpAddr = "10.77.0.2".parse().unwrap();
        mirror.resolve("krn0", peer).unwrap();
        bed.leaves("an ARP request", |frame| {
            frame[12..14] == [8, 6] && frame[21] == 1 && frame[38..42] == [10, 77, 0, 2]
        });
        bed.arrives(&frames::arp_reply(PEER, [10, 77, 0, 2], OURS, [10, 77, 0, 1]));
        let known =
            |state: &NetworkState| state.neighbours.iter().any(|n| n.address == peer && n.mac == PEER);
        bed::see(&updates, "the neighbour", &known);

        mirror.resolve("krn0", "2001:db8::2".parse().unwrap()).unwrap();
        bed.leaves("a neighbour solicitation", |frame| {
            frame[12..14] == [0x86, 0xdd] && frame[54] == 135 && frame[77] == 2
        });
        assert!(mirror.resolve("nowhere", peer).unwrap_err().to_string().contains("nowhere"));
    });
}

#[test]
fn many_changes_cause_few_updates() {
    alone("many_changes_cause_few_updates", || {
        let (_twin, mirror, updates) = bed::mirrored();
        ip("addr add 10.77.0.1/16 dev krn0");
        bed::see(&updates, "the address", &|state| state.addresses.iter().any(|a| a.prefix_len == 16));
        // Permanent entries are never garbage-collected; each round changes all their MAC addresses.
        let row = |round: u32, n: u32| {
            format!("neigh replace 10.77.1.{n} lladdr 02:00:00:00:01:{round:02x} nud permanent dev krn0")
        };
        let sent = || mirror.counters().published.load(Relaxed);
        let (before, started) = (sent(), Instant::now());
        let dumps = mirror.counters().route_dumps.load(Relaxed);
        bed::batch((0..100).flat_map(|round| (0..200).map(move |n| row(round, n))));
        let settled = |state: &NetworkState| {
            state.neighbours.iter().filter(|n| n.mac.0 == [2, 0, 0, 0, 1, 99]).count() == 200
        };
        bed::see(&updates, "the last round", &settled);
        let (sent, took) = (sent() - before, started.elapsed());
        println!("20,000 neighbour changes in {took:?}: {sent} updates");
        assert!(u128::from(sent) <= 2 + took.as_millis() / 20, "{sent} updates in {took:?}");
        let counters = mirror.counters();
        println!("{} received, {} times lost", counters.received.load(Relaxed), counters.lost.load(Relaxed));
        assert!(counters.full_dumps.load(Relaxed) <= 1 + counters.lost.load(Relaxed));
        assert_eq!(counters.route_dumps.load(Relaxed), dumps, "a neighbour costs no dump");
    });
}

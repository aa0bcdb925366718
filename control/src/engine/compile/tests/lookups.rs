//! Tests of the compiled lookup tables and settings.

use std::net::IpAddr;

use pollux_dataplane::config::{NextHop, Policy};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::proto::tcp;
use pollux_dataplane::service::{self, Method, Persistence, Tunnel};
use pollux_dataplane::time::Millis;

use super::*;
use crate::model::network::NetworkState;

fn endpoint(address: &str, l4_port: u16) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), l4_port }
}

fn services(text: &str) -> Services {
    compile(&mut compiler(), &config(text)).0
}

const ALL: &str = "
[[services]]
fwmark = 7
destinations = [{ address = '10.0.2.1', l4_port = 0, method = 'nat' }]
[[services]]
fwmark = 7
family = 'ipv6'
persistence = { prefix_len = 64, timeout = 5 }
destinations = [{ address = '2001:db8::1', l4_port = 8080, method = 'nat' }]
[[services]]
protocol = 'sctp'
address = '10.9.9.1'
l4_port = 0
persistence = { netmask = '255.255.255.0' }
[[services]]
protocol = 'tcp'
address = '10.9.9.2'
l4_port = 21
destinations = [{ address = '10.0.2.2', l4_port = 21, method = 'nat' }]
[[services]]
protocol = 'udp'
address = '2001:db8::9'
l4_port = 53
ops = true
scheduler = 'sh'
flags = { fallback = true, hash_l4_port = true }
destinations = [{ address = '2001:db8::2', l4_port = 53, method = 'nat' }]
";

#[test]
fn services_are_found_by_endpoint_and_by_fwmark() {
    let services = services(ALL);
    let named = |key: service::ServiceKey| {
        services.services.iter().flatten().find(|service| service.key == key).unwrap()
    };
    assert_eq!(services.lookup(endpoint("192.0.2.1", 99), 17, 7), Some(ServiceId(0)));
    assert_eq!(services.lookup(endpoint("2001:db8::77", 99), 17, 7), Some(ServiceId(1)));
    assert_eq!(services.lookup(endpoint("10.9.9.1", 99), 132, 0), Some(ServiceId(2)));
    assert_eq!(services.lookup(endpoint("10.9.9.2", 5000), 6, 0), Some(ServiceId(3)));
    assert_eq!(services.lookup(endpoint("10.9.9.2", 5000), 6, 8), Some(ServiceId(3)));
    assert_eq!(services.lookup(endpoint("2001:db8::9", 54), 17, 0), None);
    assert_eq!((services.any_port, services.ftp), ([true, false], [true, false]));
    let dns = named(service::ServiceKey::Address(endpoint("2001:db8::9", 53), 17));
    assert!(dns.ops && dns.fallback && dns.hash_l4_port && !dns.slots.is_empty());
}

#[test]
fn replies_are_recognized_by_their_source() {
    let services = services(ALL);
    for protocol in [6, 17, 132] {
        assert!(services.nat_sources.contains_key(&(endpoint("2001:db8::1", 8080), protocol)));
    }
    assert!(services.nat_sources.contains_key(&(endpoint("2001:db8::2", 53), 17)));
    assert!(!services.nat_sources.contains_key(&(endpoint("2001:db8::2", 53), 6)));
    let mut any: Vec<String> = services.nat_addresses.iter().map(IpAddr::to_string).collect();
    any.sort();
    assert_eq!(any, ["10.0.2.1", "10.0.2.2", "2001:db8::1"], "fwmarks and FTP take more than one port");
    let local: IpAddr = "10.9.9.2".parse().unwrap();
    assert!(services.addresses.contains(&local));
}

#[test]
fn sip_servers_may_open_calls() {
    let service = |head: &str, destinations: &str| {
        format!(
            "[[services]]\nscheduler = 'rr'\npersistence = {{ timeout = 60, engine = 'sip' }}\n{head}\n\
             destinations = [{destinations}]\n"
        )
    };
    let at = |address: &str, l4_port: u16, method: &str| {
        format!("{{ address = '{address}', l4_port = {l4_port}, method = '{method}' }},")
    };
    let udp =
        |address: &str, l4_port: u16| format!("protocol = 'udp'\naddress = '{address}'\nl4_port = {l4_port}");
    let text = service(&udp("10.9.9.1", 5060), &(at("10.0.2.1", 5060, "nat") + &at("10.0.2.2", 5060, "nat")))
        + &service(&udp("10.9.9.2", 5060), &(at("10.0.2.1", 5060, "nat") + &at("10.0.2.3", 5060, "nat")))
        + &service(&udp("10.9.9.3", 5060), &at("10.0.2.4", 5060, "dr"))
        + &service(&udp("10.9.9.4", 0), &at("10.0.2.5", 5060, "nat"))
        + &service("fwmark = 7", &at("10.0.2.6", 5060, "nat"))
        + &service(&udp("2001:db8::9", 5060), &at("2001:db8::1", 5062, "nat"))
        + &service(&udp("10.9.9.5", 5060), &at("10.0.2.7", 5060, "nat")).replace(", engine = 'sip'", "");
    let mut compiler = compiler();
    let callers = |services: &Services| {
        let mut callers: Vec<_> =
            services.call_openers.iter().map(|(at, id)| (at.address.to_string(), *id)).collect();
        callers.sort();
        let service = |id| services.destination(id).map(|destination| destination.service.0);
        callers.into_iter().map(|(address, id)| (address, service(id).unwrap())).collect::<Vec<_>>()
    };
    let owned =
        |list: &[(&str, u32)]| list.iter().map(|(at, id)| ((*at).to_owned(), *id)).collect::<Vec<_>>();
    let services = compile(&mut compiler, &config(&text)).0;
    let all = [("10.0.2.1", 0), ("10.0.2.2", 0), ("10.0.2.3", 1), ("2001:db8::1", 5)];
    assert_eq!(callers(&services), owned(&all));
    let fewer = text.replace(&at("10.0.2.2", 5060, "nat"), "");
    let services = compile(&mut compiler, &config(&fewer)).0;
    assert_eq!(callers(&services), owned(&[all[0], all[2], all[3]]), "a removed destination opens none");
}

#[test]
fn persistence_is_a_mask_in_both_families() {
    let services = services(ALL);
    let persistence = |id| services.service(ServiceId(id)).unwrap().persistence;
    assert_eq!(persistence(0), None);
    let sixty_four = u128::from(u64::MAX) << 64;
    assert_eq!(
        persistence(1),
        Some(Persistence { timeout: Millis::from_secs(5), mask: sixty_four, sip: false })
    );
    assert_eq!(
        persistence(2),
        Some(Persistence { timeout: Millis::from_secs(360), mask: 0xffff_ff00, sip: false })
    );
}

#[test]
fn tunnel_types_are_converted() {
    let services = services(
        "[[services]]
        fwmark = 1
        destinations = [
            { address = '10.0.2.1', l4_port = 0, method = 'tunnel' },
            { address = '10.0.2.2', l4_port = 0, method = 'tunnel', tunnel = { type = 'gue', l4_port = 6080, checksum = 'remote' } },
            { address = '10.0.2.3', l4_port = 0, method = 'tunnel', tunnel = { type = 'gre', checksum = 'no' } },
            { address = '10.0.2.4', l4_port = 0, method = 'dr', lower_threshold = 3, upper_threshold = 4 },
        ]",
    );
    let methods: Vec<Method> = services.destinations.iter().flatten().map(|d| d.method).collect();
    let tunnels =
        [Tunnel::Ipip, Tunnel::Gue { l4_port: 6080, checksum: true }, Tunnel::Gre { checksum: false }];
    assert_eq!(methods[..3], tunnels.map(Method::Tunnel));
    assert_eq!(methods[3], Method::Dr);
    let limits = services.destination(DestinationId(3)).unwrap();
    assert_eq!((limits.lower, limits.upper), (3, 4));
    assert!(services.nat_addresses.is_empty() && services.nat_sources.is_empty());
}

#[test]
fn settings_are_read_as_the_kernel_reads_them() {
    let wanted = config(
        "[settings]
        snat_reroute = 0
        cache_bypass = -1
        sloppy_sctp = true
        expire_quiescent_template = 2
        schedule_icmp = 1
        lblc_expiration = 60
        timeouts = { 'tcp.SYN_RECV' = 9, 'sctp.COOKIE_WAIT' = 3 }
        drop_packet = 3",
    );
    let (snapshot, _) = compiler().configure(&wanted, seconds(0)).unwrap();
    let s = snapshot.settings;
    assert!(!s.snat_reroute && s.cache_bypass && s.sloppy_sctp && s.schedule_icmp);
    assert!(s.expire_quiescent_template && s.pmtu_disc && !s.sloppy_tcp);
    assert_eq!((s.lblc_expiration, s.drop_rate), (Millis::from_secs(60), 10));
    assert_eq!(s.timeouts.tcp[tcp::State::SynRecv as usize], Millis::from_secs(9));
    assert_eq!(s.timeouts.sctp[5], Millis::from_secs(3));
    assert_eq!(s.timeouts.tcp[tcp::State::Established as usize], Millis::from_secs(900));
}

#[test]
fn names_in_fwmark_rules_become_numbers() {
    let mut compiler = compiler();
    let rules = config(
        "fwmarks = [
            { fwmark = 5, mask = 15, port = 'server', vlan = 0, protocol = 'udp', l4_ports = ['53', '5000-6000'] },
            { fwmark = 1, destination = '2001:db8::/32' },
        ]",
    );
    let (snapshot, _) = compiler.configure(&rules, seconds(0)).unwrap();
    let [first, second] = &*snapshot.fwmarks else { panic!("two rules") };
    assert_eq!((first.port, first.vlan, first.protocol), (Some(1), Some(0), Some(17)));
    assert_eq!((first.fwmark, first.keep, first.ipv6), (5, !15, None));
    assert_eq!(first.l4_ports, [53..=53, 5000..=6000]);
    assert_eq!((second.fwmark, second.keep, second.ipv6), (1, 0, Some(true)));
    let unknown = config("fwmarks = [{ fwmark = 1 }, { fwmark = 2, port = 'eth9' }]");
    let why = compiler.configure(&unknown, seconds(0)).unwrap_err().to_string();
    assert_eq!(
        why,
        "fwmarks[1].port: there is no port \"eth9\"; use one of client, server, or leave it out for all ports"
    );
    assert_eq!(compiler.config().fwmarks, rules.fwmarks, "nothing has changed");
}

/// Only the kernel can send to a management network.
#[test]
fn a_route_out_of_a_foreign_interface_belongs_to_the_kernel() {
    let network_state: NetworkState = toml::from_str(
        "links = [{ name = 'pollux0', port = 'client', mac = '02:00:00:00:00:01', mtu = 1500 }]
         routes = [{ destination = '0.0.0.0/0', link = 'eth0', via = '192.0.2.1' }]
         addresses = [{ address = '10.9.9.1', prefix_len = 32, link = 'lo' }]",
    )
    .unwrap();
    let network =
        network::compile(&network_state, &hashbrown::HashMap::from([("client".to_owned(), 0)]), 1).unwrap();
    let beyond = "203.0.113.9".parse().unwrap();
    assert!(!network.is_local(beyond, Policy::default()));
    assert_eq!(network.target(beyond).next, NextHop::Kernel);
    assert_eq!(network.target("10.9.9.1".parse().unwrap()).next, NextHop::Local);
}

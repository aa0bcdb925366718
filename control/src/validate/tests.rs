//! A row for each fault: a sentence, what is written, and what is said about it.

use super::*;

const SERVICE: &str = "[[services]]\nprotocol = 'tcp'\naddress = '10.9.9.1'\nl4_port = 80\n";
const SERVICE6: &str = "[[services]]\nprotocol = 'tcp'\naddress = '2001:db8::1'\nl4_port = 80\n";

fn said(text: &str) -> String {
    let config = toml::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    validate(&config).map_or_else(|faults| faults.to_string(), |()| String::new())
}

#[track_caller]
fn row(sentence: &str, text: &str, expected: &str) {
    let said = said(text);
    assert!(said.starts_with(expected) && !said.contains('\n'), "{sentence}: {said:?}");
}

#[track_caller]
fn destination_row(sentence: &str, service: &str, fields: &str, expected: &str) {
    row(sentence, &format!("{service}destinations = [{{ {fields} }}]"), expected);
}

#[test]
fn what_makes_sense_passes() {
    let tunnel = "destinations = [{ address = '10.0.2.11', l4_port = 80, method = 'tunnel' }]\n";
    let nat =
        "destinations = [{ address = '10.0.2.11', l4_port = 8080, method = 'nat', weight = 2147483647 }]\n";
    assert_eq!(said(""), "");
    assert_eq!(said(&format!("{SERVICE}{nat}{SERVICE6}{tunnel}")), "");
}

#[test]
fn sizes_and_settings() {
    row(
        "a table can be too large",
        "start.connections_ipv4 = 2000000000",
        "start.connections_ipv4: 2000000000 is above",
    );
    row("no room for services", "start.services = 0", "start.services: 0 leaves no room");
    row(
        "no room for this family",
        &format!("start.connections_ipv6 = 0\n{SERVICE6}"),
        "services[0].address: is IPv6 and start.connections_ipv6 is 0",
    );
    row(
        "more services than start allows",
        &format!("start.services = 1\n{SERVICE}{SERVICE6}"),
        "services: there are 2 services and start.services allows 1",
    );
    row("a time-out of nothing", "settings.udp_timeout = 0", "settings.udp_timeout: 0 seconds is outside");
    row(
        "a time-out beyond the timer",
        "settings.tcp_timeout = 2147484",
        "settings.tcp_timeout: 2147484 seconds",
    );
    row("unknown bits", "settings.conn_reuse_mode = 4", "settings.conn_reuse_mode: 4 has bits");
}

#[test]
fn ports_and_twins() {
    let port = |fields: &str| format!("ports = [{{ name = 'net_tap0', twin = 'p0' }}, {{ {fields} }}]");
    row(
        "a port twice",
        &port("name = 'net_tap0'"),
        "ports[1].name: \"net_tap0\" is the port of ports[0] again",
    );
    row("a twin twice", &port("name = 'b', twin = 'p0'"), "ports[1].twin: \"p0\" is the twin of ports[0]");
    row("a nameless port", &port("name = ''"), "ports[1].name: \"\" is not the name of a DPDK device");
    row(
        "a twin's name too long for Linux",
        &port("name = 'b', twin = 'sixteen-letters-'"),
        "ports[1].twin: \"sixteen-letters-\" cannot",
    );
    row("packets below IPv4's least", &port("name = 'b', mtu = 67"), "ports[1].mtu: 67 bytes is outside");
}

#[test]
fn services_and_destinations() {
    row("a service twice", &format!("{SERVICE}{SERVICE}"), "services[1]: tcp 10.9.9.1:80 is the service of");
    row(
        "port 0 waits for persistence",
        &SERVICE.replace("80", "0"),
        "services[0].l4_port: 0 means every port, which needs persistence",
    );
    row(
        "a destination twice",
        &format!(
            "{SERVICE}{}",
            "destinations = [{ address = '10.0.2.11', l4_port = 80, method = 'nat' }, { address = '10.0.2.11', l4_port = 80, method = 'dr' }]"
        ),
        "services[0].destinations[1]: 10.0.2.11:80 is the destination of destinations[0] again",
    );
    destination_row(
        "a weight of more than 31 bits",
        SERVICE,
        "address = '10.0.2.11', l4_port = 80, method = 'nat', weight = 2147483648",
        "services[0].destinations[0].weight: 2147483648 is above 2147483647; use a smaller number",
    );
    destination_row(
        "only nat changes the port",
        SERVICE,
        "address = '10.0.2.11', l4_port = 81, method = 'dr'",
        "services[0].destinations[0].l4_port: 81 is not the service's 80",
    );
    destination_row(
        "no server listens on 0",
        SERVICE,
        "address = '10.0.2.11', l4_port = 0, method = 'nat'",
        "services[0].destinations[0].l4_port: 0 is no port",
    );
    destination_row(
        "families mix in tunnels only",
        SERVICE,
        "address = '2001:db8::2', l4_port = 80, method = 'nat'",
        "services[0].destinations[0].address: 2001:db8::2 and the service tcp 10.9.9.1:80 are of different",
    );
}

#[test]
fn only_one_server_has_a_unicast_address() {
    for (service, address, kind) in [
        (SERVICE, "0.1.2.3", "of 0.0.0.0/8, this network"),
        (SERVICE, "224.0.0.1", "a multicast address"),
        (SERVICE, "255.255.255.255", "the broadcast address"),
        (SERVICE6, "::", "the unspecified address"),
        (SERVICE6, "ff02::1", "a multicast address"),
        (SERVICE6, "fe80::1", "link-local"),
        (SERVICE6, "::ffff:10.0.0.1", "an IPv4 address in disguise"),
    ] {
        let fields = format!("address = '{address}', l4_port = 80, method = 'nat'");
        let expected = format!("services[0].destinations[0].address: {address} is {kind}; use");
        destination_row(address, service, &fields, &expected);
    }
}

#[test]
fn a_link_local_address_of_our_own_is_a_destination() {
    let local = "[facts]\naddresses = [{ address = 'fe80::1', prefix_len = 64, link = 'p0' }]";
    let own = "destinations = [{ address = 'fe80::1', l4_port = 80, method = 'nat' }]\n";
    assert_eq!(said(&format!("{SERVICE6}{own}{local}")), "");
}

#[test]
fn static_facts() {
    let link = |fields: &str| {
        format!(
            "facts.links = [{{ name = 'p0', port = 'a', mac = '02:00:00:00:00:01', mtu = 1500 }}, {{ {fields} }}]"
        )
    };
    let rest = "mac = '02:00:00:00:00:02', mtu = 1500";
    row(
        "a tag of all ones",
        &link(&format!("name = 'v', port = 'a', vlan = 4095, {rest}")),
        "facts.links[1].vlan: 4095",
    );
    row(
        "a link twice",
        &link(&format!("name = 'p0', port = 'b', {rest}")),
        "facts.links[1].name: \"p0\" is there",
    );
    row(
        "two links a frame could be of",
        &link(&format!("name = 'v', port = 'a', {rest}")),
        "facts.links[1]: port \"a\"",
    );
    row(
        "a group's hardware address",
        &link("name = 'v', port = 'b', mac = '01:00:5e:00:00:01', mtu = 1500"),
        "facts.links[1].mac: 01:00:5e:00:00:01 is no station's address",
    );
    row(
        "a prefix longer than an address",
        "facts.addresses = [{ address = '10.0.0.1', prefix_len = 33, link = 'lo' }]",
        "facts.addresses[0].prefix_len: 33 is above 32",
    );
    row(
        "a route to nowhere",
        "facts.routes = [{ destination = '0.0.0.0/0' }]",
        "facts.routes[0]: 0.0.0.0/0 leads",
    );
    row(
        "a neighbour on no link of ours",
        "facts.neighbours = [{ link = 'x', address = '10.0.0.2', mac = '02:00:00:00:00:01' }]",
        "facts.neighbours[0].link: \"x\" is none of facts.links",
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let text = format!("settings = {{ tcp_timeout = 0, udp_timeout = 0 }}\n{}", SERVICE.replace("80", "0"));
    assert_eq!(said(&text).lines().count(), 3);
}

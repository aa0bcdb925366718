//! One row for each error: a description, the configuration and the expected message.

use super::*;

const SERVICE: &str = "[[services]]\nprotocol = 'tcp'\naddress = '10.9.9.1'\nl4_port = 80\n";
const SERVICE6: &str = "[[services]]\nprotocol = 'tcp'\naddress = '2001:db8::1'\nl4_port = 80\n";

fn messages(text: &str) -> String {
    let config = toml::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    validate(&config).map_or_else(|errors| errors.to_string(), |()| String::new())
}

#[track_caller]
fn row(sentence: &str, text: &str, expected: &str) {
    let message = messages(text);
    assert!(message.starts_with(expected) && !message.contains('\n'), "{sentence}: {message:?}");
}

#[track_caller]
fn destination_row(sentence: &str, service: &str, fields: &str, expected: &str) {
    row(sentence, &format!("{service}destinations = [{{ {fields} }}]"), expected);
}

#[test]
fn valid_configurations_pass() {
    let tunnel = "destinations = [{ address = '10.0.2.11', l4_port = 80, method = 'tunnel' }]\n";
    let nat =
        "destinations = [{ address = '10.0.2.11', l4_port = 8080, method = 'nat', weight = 2147483647 }]\n";
    assert_eq!(messages(""), "");
    assert_eq!(messages(&format!("{SERVICE}{nat}{SERVICE6}{tunnel}")), "");
}

#[test]
fn namespaces() {
    let blue = "[[namespaces]]\nname = 'blue'\n";
    let bound =
        |name: &str, binding: &str| format!("[[namespaces]]\nname = '{name}'\nbindings = [{binding}]\n");
    let (port, vlan) = ("{ port = 'net_tap0' }", "{ port = 'net_tap0', vlan = 7 }");
    assert_eq!(messages(&(bound("blue", vlan) + &bound("green", port))), "");
    row(
        "two of one name",
        &format!("{blue}{blue}"),
        "namespaces[1].name: \"blue\" is already the name of namespaces[0]; give each",
    );
    row(
        "the reserved name",
        "[[namespaces]]\nname = 'default'\n",
        "namespaces[0].name: \"default\" is reserved for the default namespace; use another name",
    );
    row(
        "bound twice",
        &(bound("blue", vlan) + &bound("green", vlan)),
        "namespaces[1].bindings[0]: net_tap0 VLAN 7 is already bound to namespace \"blue\"; bind each port",
    );
    row(
        "no VLAN",
        &bound("blue", "{ port = 'p', vlan = 0 }"),
        "namespaces[0].bindings[0].vlan: 0 is outside 1 to 4094",
    );
    row(
        "an error in the content of a namespace",
        &format!("{blue}[[namespaces.services]]\nfwmark = 0\n"),
        "namespaces[0].services[0].fwmark: 0",
    );
    row(
        "two namespaces with the same network namespace",
        &format!("{blue}[[namespaces]]\nname = 'green'\nnetns = 'blue'\n"),
        "namespaces[1].netns: \"blue\" is already the network namespace of namespaces[0]",
    );
    row(
        "a name that is not a file name",
        "[[namespaces]]\nname = 'green'\nnetns = '../x'\n",
        "namespaces[0].netns: \"../x\" is not a valid name of a network namespace",
    );
    let many: String = (0..256).map(|n| format!("[[namespaces]]\nname = 'n{n}'\n")).collect();
    row("too many", &many, "namespaces: 256 namespaces are too many, the maximum is 255");
}

#[test]
fn sizes_and_settings() {
    row(
        "a table can be too large",
        "start.connections_ipv4 = 2000000000",
        "start.connections_ipv4: 2000000000 is above",
    );
    row("too many templates", "start.templates = 300000000", "start.templates: 300000000 is above 268435456");
    row("too many services", "start.services = 4294967295", "start.services: 4294967295 is above 1048576");
    row(
        "too many destinations",
        "start.destinations = 4294967295",
        "start.destinations: 4294967295 is above 4194304",
    );
    row(
        "a sleep too long",
        "start.max_sleep_us = 10001",
        "start.max_sleep_us: 10001 microseconds is outside 10 to 10000",
    );
    row(
        "a sleep of zero",
        "start.max_sleep_us = 0",
        "start.max_sleep_us: 0 microseconds is outside 10 to 10000",
    );
    row("no room for templates", "start.templates = 0", "start.templates: 0 leaves no room for templates");
    row("no room for services", "start.services = 0", "start.services: 0 leaves no room for services");
    row(
        "no room for this family",
        &format!("start.connections_ipv6 = 0\n{SERVICE6}"),
        "services[0].address: tcp [2001:db8::1]:80 is IPv6, but start.connections_ipv6 is 0",
    );
    row(
        "more services than start.services",
        &format!("start.services = 1\n{SERVICE}{SERVICE6}"),
        "services: the limit of 1 services is reached, and there are 2",
    );
    row("a timeout of zero", "settings.udp_timeout = 0", "settings.udp_timeout: 0 seconds is outside");
    row(
        "a timeout beyond the range of timers",
        "settings.tcp_timeout = 4000001",
        "settings.tcp_timeout: 4000001 seconds",
    );
    row("an unknown mode", "settings.drop_entry = 4", "settings.drop_entry: 4 is not a mode; use 0 (off), 1");
    row(
        "an unknown state",
        "settings.timeouts.'tcp.SYN' = 4",
        "settings.timeouts.tcp.SYN: \"tcp.SYN\" is not a protocol and state; use",
    );
    row(
        "a state with its own setting",
        "settings.timeouts.'tcp.FIN_WAIT' = 4",
        "settings.timeouts.tcp.FIN_WAIT: tcp.FIN_WAIT has its own setting; use settings.tcp_fin_timeout",
    );
    row(
        "a state's timeout of zero",
        "settings.timeouts.'sctp.INIT' = 0",
        "settings.timeouts.sctp.INIT: 0 seconds is outside 1 to",
    );
    assert_eq!(
        messages("settings.conn_reuse_mode = 7\nsettings.am_droprate = -1\nsettings.lblc_expiration = 0"),
        ""
    );
}

#[test]
fn ports_and_twins() {
    let port = |fields: &str| format!("ports = [{{ name = 'net_tap0', twin = 'p0' }}, {{ {fields} }}]");
    row(
        "a port twice",
        &port("name = 'net_tap0'"),
        "ports[1].name: \"net_tap0\" is already the name of ports[0]",
    );
    row(
        "a twin twice",
        &port("name = 'b', twin = 'p0'"),
        "ports[1].twin: \"p0\" is already the twin of ports[0]",
    );
    row("a nameless port", &port("name = ''"), "ports[1].name: \"\" is not a valid DPDK device name");
    row(
        "a twin's name too long for Linux",
        &port("name = 'b', twin = 'sixteen-letters-'"),
        "ports[1].twin: \"sixteen-letters-\" is not a valid interface name",
    );
    row(
        "an MTU below the minimum of IPv4",
        &port("name = 'b', mtu = 67"),
        "ports[1].mtu: 67 bytes is outside",
    );
}

#[test]
fn services_and_destinations() {
    row(
        "a service twice",
        &format!("{SERVICE}{SERVICE}"),
        "services[1]: tcp 10.9.9.1:80 is already services[0]",
    );
    row(
        "port 0 needs persistence",
        &SERVICE.replace("80", "0"),
        "services[0].l4_port: 0 matches any port, which needs persistence",
    );
    row(
        "a destination twice",
        &format!(
            "{SERVICE}{}",
            "destinations = [{ address = '10.0.2.11', l4_port = 80, method = 'nat' }, { address = '10.0.2.11', l4_port = 80, method = 'dr' }]"
        ),
        "services[0].destinations[1]: 10.0.2.11:80 is already destinations[0]",
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
        "services[0].destinations[0].l4_port: 81 differs from the service's 80",
    );
    destination_row(
        "families mix in tunnels only",
        SERVICE,
        "address = '2001:db8::2', l4_port = 80, method = 'nat'",
        "services[0].destinations[0].address: 2001:db8::2 and service tcp 10.9.9.1:80 have different",
    );
}

#[test]
fn a_destination_needs_a_unicast_address() {
    for (service, address, kind) in [
        (SERVICE, "0.0.0.0", "the unspecified address"),
        (SERVICE, "127.255.255.255", "the broadcast address of a directly connected network"),
        (SERVICE, "224.0.0.1", "a multicast address"),
        (SERVICE, "255.255.255.255", "the broadcast address"),
        (SERVICE6, "::", "the unspecified address"),
        (SERVICE6, "ff02::1", "a multicast address"),
        (SERVICE6, "fe80::1", "a link-local address"),
        (SERVICE6, "::ffff:10.0.0.1", "an IPv4-mapped address"),
    ] {
        let fields = format!("address = '{address}', l4_port = 80, method = 'nat'");
        let expected = format!("services[0].destinations[0].address: {address} is {kind}; use");
        destination_row(address, service, &fields, &expected);
    }
}

#[test]
fn a_local_link_local_address_is_a_valid_destination() {
    let local = "[network]\naddresses = [{ address = 'fe80::1', prefix_len = 64, link = 'p0' }]";
    let own = "destinations = [{ address = 'fe80::1', l4_port = 80, method = 'nat' }]\n";
    assert_eq!(messages(&format!("{SERVICE6}{own}{local}")), "");
}

#[test]
fn static_network_configuration() {
    let link = |fields: &str| {
        format!(
            "network.links = [{{ name = 'p0', port = 'a', mac = '02:00:00:00:00:01', mtu = 1500 }}, {{ {fields} }}]"
        )
    };
    let rest = "mac = '02:00:00:00:00:02', mtu = 1500";
    row(
        "a tag of all ones",
        &link(&format!("name = 'v', port = 'a', vlan = 4095, {rest}")),
        "network.links[1].vlan: 4095",
    );
    row(
        "a link twice",
        &link(&format!("name = 'p0', port = 'b', {rest}")),
        "network.links[1].name: \"p0\" is already the name of another link",
    );
    row(
        "two links a frame could be of",
        &link(&format!("name = 'v', port = 'a', {rest}")),
        "network.links[1]: port \"a\"",
    );
    row(
        "a group's hardware address",
        &link("name = 'v', port = 'b', mac = '01:00:5e:00:00:01', mtu = 1500"),
        "network.links[1].mac: 01:00:5e:00:00:01 is not a unicast MAC address",
    );
    row(
        "a prefix longer than an address",
        "network.addresses = [{ address = '10.0.0.1', prefix_len = 33, link = 'lo' }]",
        "network.addresses[0].prefix_len: 33 is above 32",
    );
    row(
        "a route to nowhere",
        "network.routes = [{ destination = '0.0.0.0/0' }]",
        "network.routes[0]: the route to 0.0.0.0/0 has no link",
    );
    row(
        "a neighbour on no link of ours",
        "network.neighbours = [{ link = 'x', address = '10.0.0.2', mac = '02:00:00:00:00:01' }]",
        "network.neighbours[0].link: \"x\" is not in network.links",
    );
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = format!("settings = {{ tcp_timeout = 0, udp_timeout = 0 }}\n{}", SERVICE.replace("80", "0"));
    assert_eq!(messages(&text).lines().count(), 3);
}

const UDP: &str = "[[services]]\nprotocol = 'udp'\naddress = '10.9.9.1'\nl4_port = 53\n";
const MARK: &str = "[[services]]\nfwmark = 7\n";
const MARK6: &str = "[[services]]\nfwmark = 7\nfamily = 'ipv6'\n";

#[test]
fn everything_ipvs_accepts_passes() {
    let server = |fields: &str| format!("destinations = [{{ address = '10.0.2.11', {fields} }}]\n");
    for text in [
        format!("{UDP}ops = true\npersistence = {{ engine = 'sip', netmask = '255.255.0.255' }}\n"),
        format!("{MARK}ops = true\n{}", server("l4_port = 0, method = 'dr'")),
        format!("{MARK}{}", server("l4_port = 8080, method = 'nat'")),
        format!("{MARK6}persistence = {{ prefix_len = 64 }}\n"),
        format!("{SERVICE6}scheduler = 'sh'\nflags = {{ hash_l4_port = true, fallback = true }}\n"),
        format!("{}scheduler = 'rr'\nflags = {{ flag_3 = true }}\n", SERVICE.replace("tcp", "sctp")),
        format!(
            "{}persistence = {{}}\n{}",
            SERVICE.replace("80", "0"),
            server("l4_port = 0, method = 'nat', upper_threshold = 70000, lower_threshold = 10")
        ),
        format!(
            "{SERVICE6}{}",
            server(
                "l4_port = 80, method = 'tunnel', tunnel = { type = 'gue', l4_port = 6080, checksum = 'remote' }"
            )
        ),
        format!("{SERVICE}{}", server("l4_port = 80, method = 'tunnel', tunnel = { type = 'gre' }")),
        format!("{SERVICE}scheduler = 'none'\n{MARK}{MARK6}"),
    ] {
        assert_eq!(messages(&text), "", "{text}");
    }
}

#[test]
fn persistence_and_ops() {
    let sticky = |service: &str, fields: &str| format!("{service}persistence = {{ {fields} }}\n");
    row(
        "no time",
        &sticky(SERVICE, "timeout = 0"),
        "services[0].persistence.timeout: 0 seconds is outside 1",
    );
    row("32 days", &sticky(SERVICE, "timeout = 2678401"), "services[0].persistence.timeout: 2678401 seconds");
    row(
        "a mask of IPv6",
        &sticky(SERVICE6, "netmask = '255.0.0.0'"),
        "services[0].persistence.netmask: 255.0.0.0 is an IPv4 mask, and the service is IPv6",
    );
    row(
        "a prefix of IPv4",
        &sticky(MARK, "prefix_len = 24"),
        "services[0].persistence.prefix_len: 24 is an IPv6 prefix length, and the service is IPv4",
    );
    row(
        "all clients as one",
        &sticky(MARK6, "prefix_len = 0"),
        "services[0].persistence.prefix_len: 0 is outside",
    );
    row(
        "sip over tcp",
        &sticky(SERVICE, "engine = 'sip'"),
        "services[0].persistence.engine: engine sip is only for UDP, and the service is tcp",
    );
    row(
        "one packet of tcp",
        &format!("{SERVICE}ops = true"),
        "services[0].ops: OPS is only for UDP, and the service is tcp",
    );
    row("no fwmark", &MARK.replace('7', "0"), "services[0].fwmark: 0 is the mark of unmarked packets");
}

#[test]
fn tunnels_and_thresholds() {
    let rows = [
        (
            "method = 'dr', tunnel = { type = 'gre' }",
            "tunnel: a tunnel type needs method tunnel, and the method is dr",
        ),
        (
            "method = 'tunnel', tunnel = { type = 'gue', l4_port = 0 }",
            "tunnel.l4_port: 0 is not a valid UDP port",
        ),
        (
            "method = 'tunnel', tunnel = { type = 'gre', checksum = 'remote' }",
            "tunnel.checksum: remote checksum",
        ),
        (
            "method = 'nat', upper_threshold = 5, lower_threshold = 6",
            "lower_threshold: 6 is above the upper_thre",
        ),
        ("method = 'nat', lower_threshold = 6", "lower_threshold: 6 is above the upper_threshold, 0"),
    ];
    for (fields, expected) in rows {
        let fields = format!("address = '10.0.2.11', l4_port = 80, {fields}");
        destination_row(expected, SERVICE, &fields, &format!("services[0].destinations[0].{expected}"));
    }
    let any = SERVICE.replace("80", "0") + "persistence = {}\n";
    destination_row(
        "direct routing keeps the port",
        &any,
        "address = '10.0.2.11', l4_port = 80, method = 'dr'",
        "services[0].destinations[0].l4_port: 80 differs from the service's 0",
    );
    destination_row(
        "families of fwmarks",
        MARK6,
        "address = '10.0.2.11', l4_port = 80, method = 'dr'",
        "services[0].destinations[0].address: 10.0.2.11 and service fwmark 7 ipv6 have different",
    );
}

#[test]
fn mh_limits_the_number_of_destinations() {
    let mut config = crate::model::Config::default();
    let key = crate::model::ServiceKey::Fwmark { fwmark: 1, family: crate::model::Family::Ipv4 };
    let mut service = crate::model::Service::new(key);
    service.scheduler = crate::model::Scheduler::Mh;
    let server = |n: u32| (std::net::Ipv4Addr::from(0x0a00_0000 + n)).into();
    let method = crate::model::Method::Nat;
    service.destinations = (1..=4094).map(|n| crate::model::Destination::new(server(n), 0, method)).collect();
    config.services.push(service);
    let message = validate(&config).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "services[0].destinations: 4094 destinations are too many for mh, the maximum is 4093"
        ),
        "{message}"
    );
    config.services[0].destinations.pop();
    assert_eq!(validate(&config), Ok(()));
}

#[test]
fn fwmark_rules() {
    let rule = |fields: &str| format!("fwmarks = [{{ fwmark = 1 }}, {{ fwmark = 7, {fields} }}]");
    assert_eq!(messages(&rule("protocol = 'tcp', l4_ports = ['80', '8000-8080', '0-65535'], vlan = 0")), "");
    assert_eq!(messages(&rule("protocol = '47', source = '2001:db8::/32', family = 'ipv6'")), "");
    row(
        "no such protocol",
        &rule("protocol = 'tpc'"),
        "fwmarks[1].protocol: \"tpc\" is not a protocol; use one of tcp",
    );
    row("beyond 8 bits", &rule("protocol = '256'"), "fwmarks[1].protocol: \"256\" is not a protocol");
    row(
        "a range backwards",
        &rule("l4_ports = ['80', '90-80']"),
        "fwmarks[1].l4_ports[1]: \"90-80\" is not a port",
    );
    for text in ["", "-", "80-", "+80", "65536", "80 - 90", "http"] {
        let rule = rule(&format!("source_l4_ports = ['{text}']"));
        row("no port", &rule, &format!("fwmarks[1].source_l4_ports[0]: {text:?} is not a port"));
    }
    row(
        "ports without ports",
        &rule("protocol = 'icmp', l4_ports = ['80']"),
        "fwmarks[1].l4_ports: packets of protocol",
    );
    row(
        "two families",
        &rule("source = '10.0.0.0/8', destination = '2001:db8::/32'"),
        "fwmarks[1].destination: 2001:db8::/32 does not match the rest of the rule, which is for IPv4",
    );
    row(
        "another family",
        &rule("source = '10.0.0.0/8', family = 'ipv6'"),
        "fwmarks[1].source: 10.0.0.0/8 does not match the rest of the rule, which is for IPv6",
    );
    row("no bits", "fwmarks = [{ fwmark = 0, mask = 0 }]", "fwmarks[0].mask: 0 sets no bit of the mark");
    row(
        "bits outside",
        "fwmarks = [{ fwmark = 3, mask = 1 }]",
        "fwmarks[0].fwmark: 0x3 has bits outside the mask 0x1",
    );
    row("no such vlan", &rule("vlan = 4095"), "fwmarks[1].vlan: 4095 is above 4094");
}

//! Clients, a service and its servers, and the configuration of `polluxd` for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::kinds::{Family, Method};

/// Number of servers.
pub const SERVERS: u8 = 8;
/// MAC address of the clients' router and of the servers.
pub const BEYOND: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0xfe], [2, 0, 0, 0, 2, 2]];
/// L4 port of the service and the servers.
pub const L4_PORT: u16 = 80;

/// Destination network that gets a firewall mark: the one to which testpmd's flowgen sends.
pub const MARKED: &str = "10.253.0.0/16";

/// One of our ports.
pub struct Port {
    /// DPDK device name.
    pub name: &'static str,
    /// MAC address.
    pub mac: [u8; 6],
}

/// Ports of `net_pcap` with the driver's addresses: towards clients, towards servers, and one more.
pub const PORTS: [Port; 3] = [
    Port { name: "net_pcap0", mac: [2, 0x70, 0x63, 0x61, 0x70, 0] },
    Port { name: "net_pcap1", mac: [2, 0x70, 0x63, 0x61, 0x70, 1] },
    Port { name: "net_pcap2", mac: [2, 0x70, 0x63, 0x61, 0x70, 2] },
];

/// Returns the client address of a flow.
pub fn client(family: Family, flow: u32) -> SocketAddr {
    let address: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::from_bits(0x1000_0000 + flow).into(),
        Family::Ipv6 => {
            Ipv6Addr::from_bits(0x2001_0db8_000c_0000_0000_0000_0000_0000 + u128::from(flow)).into()
        }
    };
    SocketAddr::new(address, client_port(flow))
}

/// Returns the client L4 port of a flow.
pub fn client_port(flow: u32) -> u16 {
    1024 + (flow & 0x7fff) as u16
}

/// Returns the virtual address.
pub fn service(family: Family) -> SocketAddr {
    let address: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(10, 9, 9, 1).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(address, L4_PORT)
}

/// Returns the address of the nth server.
pub fn server(family: Family, n: u8) -> SocketAddr {
    let address: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(10, 2, 0, 11 + n).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 11 + u16::from(n)).into(),
    };
    SocketAddr::new(address, L4_PORT)
}

/// Returns the server that source hashing, as IPVS defines it, selects for a flow: the upper 8 bits of a product select
/// one of 256 buckets, to which servers of equal weight are assigned in rotation, newest first.
pub fn server_of(family: Family, flow: u32) -> u8 {
    let number = match client(family, flow).ip() {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address
            .to_bits()
            .to_be_bytes()
            .chunks(4)
            .fold(0, |sum, word| sum ^ u32::from_be_bytes([word[0], word[1], word[2], word[3]])),
    };
    let bucket = number.wrapping_mul(0x61c8_8647) >> 24;
    SERVERS - 1 - (bucket % u32::from(SERVERS)) as u8
}

/// Parameters of the configuration.
pub struct Plan<'a> {
    /// Address family.
    pub family: Family,
    /// Forwarding method of the service.
    pub method: Method,
    /// Protocol of the service.
    pub protocol: &'a str,
    /// Scheduler of the service.
    pub scheduler: &'a str,
    /// Ports: towards clients, towards servers, and others.
    pub ports: &'a [Port],
    /// Number of the port towards the servers.
    pub inside: usize,
    /// Key of the service in place of its address: `fwmark = 7`.
    pub key: Option<&'a str>,
    /// Capacity of the connection table.
    pub connections: u32,
    /// Packet buffers of all ports; 0 for the default of `polluxd`.
    pub buffers: u32,
    /// Lines of `[settings]`.
    pub settings: &'a str,
}

/// Returns a configuration with a static network configuration.
pub fn config(plan: &Plan<'_>) -> String {
    let (ipv4, ipv6) = match plan.family {
        Family::Ipv4 => (plan.connections, 1024),
        Family::Ipv6 => (1024, plan.connections),
    };
    let (method, tunnel) = match plan.method {
        Method::Nat => ("nat", ""),
        Method::Dr => ("dr", ""),
        Method::Ipip => ("tunnel", ""),
        Method::Gue => ("tunnel", ", tunnel = { type = \"gue\", l4_port = 6080 }"),
    };
    let service = service(plan.family);
    let address = format!("address = \"{}\"\nl4_port = {}", service.ip(), service.port());
    let address = format!("protocol = \"{}\"\n{address}", plan.protocol);
    let key = plan.key.unwrap_or(&address);
    let mut text = format!(
        "[start]\nkernel = false\nconnections_ipv4 = {ipv4}\nconnections_ipv6 = {ipv6}\npacket_buffers = {}\n\
         [settings]\n{}\n\
         [[services]]\n{key}\nscheduler = \"{}\"\ndestinations = [\n",
        plan.buffers, plan.settings, plan.scheduler
    );
    for n in 0..SERVERS {
        let server = server(plan.family, n);
        // A service by firewall mark serves any L4 port and does not change it.
        let l4_port = if plan.key.is_some() { 0 } else { server.port() };
        let address = server.ip();
        text +=
            &format!("{{ address = \"{address}\", l4_port = {l4_port}, method = \"{method}\"{tunnel} }},\n");
    }
    text + "]\n" + &network_state(plan)
}

/// Returns the `[network]` section.
fn network_state(plan: &Plan<'_>) -> String {
    let Plan { family, ports, inside, .. } = *plan;
    let (all, net, host, router, ours) = match family {
        Family::Ipv4 => ("0.0.0.0/0", 24, 32, "10.1.0.1", ["10.1.0.254", "10.2.0.254"]),
        Family::Ipv6 => ("::/0", 64, 128, "2001:db8:1::1", ["2001:db8:1::fe", "2001:db8:2::fe"]),
    };
    let (mut links, mut addresses, mut routes) = (String::new(), String::new(), String::new());
    // The MTU leaves room for tunnel headers.
    for (place, port) in ports.iter().enumerate() {
        let mac = mac(port.mac);
        links +=
            &format!("{{ name = \"p{place}\", port = \"{}\", mac = \"{mac}\", mtu = 1600 }},\n", port.name);
    }
    for (place, own) in ours.iter().enumerate() {
        let link = place.min(inside);
        addresses += &format!("{{ address = \"{own}\", prefix_len = {net}, link = \"p{link}\" }},\n");
        routes += &format!(
            "{{ destination = \"{}/{net}\", link = \"p{link}\" }},\n\
             {{ destination = \"{own}/{host}\", kind = \"local\", link = \"p{link}\" }},\n",
            network(own)
        );
    }
    let service = service(family).ip();
    let mut neighbours = neighbour(0, router, BEYOND[0]);
    for n in 0..SERVERS {
        neighbours += &neighbour(inside, &server(family, n).ip().to_string(), BEYOND[1]);
    }
    // Packets with a mark are balanced only if their destination is local.
    if plan.key.is_some() {
        routes += &format!("{{ destination = \"{MARKED}\", kind = \"local\", link = \"lo\" }},\n");
    }
    format!(
        "[network]\nlinks = [\n{links}]\n\
         addresses = [\n{addresses}{{ address = \"{service}\", prefix_len = {host}, link = \"lo\" }}]\n\
         routes = [\n{routes}{{ destination = \"{all}\", via = \"{router}\", link = \"p0\" }},\n\
         {{ destination = \"{service}/{host}\", kind = \"local\", link = \"lo\" }}]\n\
         neighbours = [\n{neighbours}]\n"
    )
}

fn neighbour(link: usize, address: &str, hardware_address: [u8; 6]) -> String {
    format!("{{ link = \"p{link}\", address = \"{address}\", mac = \"{}\" }},\n", mac(hardware_address))
}

/// Returns the network of one of our addresses, which ends in 254.
fn network(address: &str) -> String {
    let end = address.rfind(['.', ':']).map_or(0, |place| place + 1);
    let zero = if address.contains('.') { "0" } else { "" };
    format!("{}{zero}", &address[..end])
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use pollux_control::engine::compile::Compiler;
    use pollux_control::model::{parse, validate};
    use pollux_dataplane::flow::Endpoint;
    use pollux_dataplane::sched::{Load, Loads, PickContext, SchedulerState};
    use pollux_dataplane::service::{DestinationId, ServiceId};
    use pollux_dataplane::time::Tick;

    use super::*;

    /// No destination has connections.
    struct NoLoad;

    impl Loads for NoLoad {
        fn load(&self, _: DestinationId) -> Load {
            Load::default()
        }

        fn is_overloaded(&self, _: DestinationId) -> bool {
            false
        }
    }

    #[test]
    fn every_configuration_is_valid() {
        for family in Family::value_variants() {
            for &method in Method::value_variants() {
                let plan = Plan {
                    family: *family,
                    method,
                    protocol: "udp",
                    scheduler: "sh",
                    ports: &PORTS[..2],
                    inside: 1,
                    key: None,
                    connections: 1000,
                    buffers: 0,
                    settings: "udp_timeout = 1",
                };
                let config = parse::toml(&config(&plan)).map_err(|wrong| wrong.to_string()).unwrap();
                validate::validate(&config).unwrap();
            }
        }
    }

    #[test]
    fn the_balancer_hashes_as_we_do() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let plan = Plan {
                family,
                method: Method::Nat,
                protocol: "udp",
                scheduler: "sh",
                ports: &PORTS[..2],
                inside: 1,
                key: None,
                connections: 1000,
                buffers: 0,
                settings: "",
            };
            let config = parse::toml::<pollux_control::model::Config>(&config(&plan))
                .map_err(|wrong| wrong.to_string());
            let config = config.unwrap();
            let mut compiler = Compiler::new(&config.start, PORTS.map(|port| port.name.to_owned()));
            compiler.set_network(config.network.as_ref().unwrap()).unwrap();
            let (snapshot, _) = compiler.configure(&config, std::time::Duration::ZERO).unwrap();
            let service = snapshot.services.service(ServiceId(0)).unwrap();
            for flow in (0..100_000).step_by(77) {
                let (client, virtual_address) = (client(family, flow), super::service(family).ip());
                let client = Endpoint { address: client.ip(), l4_port: client.port() };
                let (services, settings) = (&*snapshot.services, &snapshot.settings);
                let context = PickContext {
                    service,
                    services,
                    loads: &NoLoad,
                    client,
                    virtual_address,
                    settings,
                    now: Tick(0),
                };
                let chosen =
                    SchedulerState::new(1).pick(&context).and_then(|id| services.destination(id)).unwrap();
                assert_eq!(chosen.endpoint.address, server(family, server_of(family, flow)).ip(), "{flow}");
            }
        }
    }

    #[test]
    fn every_server_has_flows() {
        for family in [Family::Ipv4, Family::Ipv6] {
            let mut seen = [0; SERVERS as usize];
            (0..1000).for_each(|flow| seen[usize::from(server_of(family, flow))] += 1);
            assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
        }
    }
}
